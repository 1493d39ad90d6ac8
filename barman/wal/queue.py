"""Which of the files that wait are archived now, in which order, and which must stay where they are. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from barman.errors import WalError
from barman.postgres.wal_names import WalKind, parse_wal_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Waiting(NamedTuple):
    """A directory entry. name: as it stands there."""

    name: str
    is_file: bool


class Queue(NamedTuple):
    """What to do with the entries of a directory. All names as they stand there.

    names: to be archived now, in this order. staying: the one of names that must stay there after that, if any, since
    pg_receivewal finds from it where to go on. unknown: no WAL files. total: how many entries were looked at.
    """

    names: tuple[str, ...]
    staying: str | None
    unknown: tuple[str, ...]
    total: int


# The directory may be the top of a file system, which has this of its own.
_LOST_AND_FOUND = Waiting("lost+found", is_file=False)


def plan_incoming(entries: Iterable[Waiting], *, limit: int) -> Queue:
    """Plan for a directory that archive_command fills. limit: at most so many files now, 0 for all."""
    found = _select(entries)
    known = [entry.name for entry in found if _kind(entry) is not None]
    return Queue(_cut(known, limit), None, _unknown(found), len(found))


def plan_streaming(entries: Iterable[Waiting], *, limit: int) -> Queue:
    """Plan for a directory that pg_receivewal fills. limit: at most so many files now, 0 for all.

    The highest partial segment is being written, or is where pg_receivewal goes on after a restart: it is left alone.
    Lower ones were left behind by a switch of the timeline and are archived as partial segments, after the rest.
    pg_receivewal goes on from the highest file it finds, and without any from a position that may be too late: a
    complete segment above the highest partial one is archived, for it is complete, but stays.
    Source: PostgreSQL source, pg_receivewal.c (FindStreamingStart).
    """
    found = _select(entries)
    partial = [entry.name for entry in found if _kind(entry) is WalKind.PARTIAL]
    others = [entry.name for entry in found if _kind(entry) not in {None, WalKind.PARTIAL}]
    segments = [entry.name for entry in found if _kind(entry) is WalKind.SEGMENT]
    staying = segments[-1] if segments else None
    if staying is not None and partial and partial[-1][:24] > staying:
        staying = None
    return Queue(_cut(others + partial[:-1], limit), staying, _unknown(found), len(found))


def _select(entries: Iterable[Waiting]) -> list[Waiting]:
    """Return the entries that are not on their way in, in the order of names: by timeline, then by position."""
    return sorted(entry for entry in entries if not (entry == _LOST_AND_FOUND or _is_on_its_way(entry.name)))


def _is_on_its_way(name: str) -> bool:
    return name.startswith(".") or name.endswith(".tmp")


def _kind(entry: Waiting) -> WalKind | None:
    try:
        return parse_wal_name(entry.name).kind if entry.is_file else None
    except WalError:
        return None


def _unknown(found: Sequence[Waiting]) -> tuple[str, ...]:
    return tuple(entry.name for entry in found if _kind(entry) is None)


def _cut(names: Sequence[str], limit: int) -> tuple[str, ...]:
    return tuple(names[:limit] if limit > 0 else names)
