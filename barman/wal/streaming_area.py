"""What pg_receivewal finds in its directory, and what it should find. Pure.

pg_receivewal goes on after the newest complete segment, or at the beginning of the newest partial one, which must be
empty or of full size. Source: PostgreSQL source, pg_receivewal.c (FindStreamingStart), receivelog.c (open_walfile).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from barman.errors import Refused
from barman.postgres.wal_names import WalKind, is_wal_name, next_segment, parse_wal_name, previous_segment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from barman.postgres.wal_names import WalName


@dataclass(frozen=True, slots=True)
class ResetPlan:
    """What to do so that receiving goes on at the wanted segment. gap: first and last segment nobody will have."""

    remove: str | None = None
    create: str | None = None
    gap: tuple[str, str] | None = None


def newest_streamed(names: Iterable[str]) -> WalName | None:
    """Return the newest segment or partial segment among names; other files do not count."""
    parsed = (parse_wal_name(name) for name in names if is_wal_name(name))
    received = [wal for wal in parsed if wal.kind in (WalKind.SEGMENT, WalKind.PARTIAL)]
    # Of a segment and its own partial file the complete one counts.
    return max(received, key=lambda wal: (wal.segment, wal.kind is WalKind.SEGMENT), default=None)


def misfit_partial(sizes: Mapping[str, int], segment_size: int) -> str | None:
    """Return the newest partial segment if pg_receivewal would refuse its size: a crash or a full disk cut it short.

    sizes: name to bytes of all files. Emptied, it is received again from its beginning.
    """
    partials = [name for name in sizes if is_wal_name(name) and parse_wal_name(name).kind is WalKind.PARTIAL]
    newest = max(partials, default=None)
    return newest if newest is not None and sizes[newest] not in (0, segment_size) else None


def plan_reset(names: Iterable[str], *, wanted: str, current: str, segment_size: int) -> ResetPlan:
    """Return how to make receiving go on at segment wanted; an empty plan if it does already.

    current: segment the server writes. Refused if the directory holds newer WAL than that.
    """
    newest = newest_streamed(names)
    if newest is None or newest.segment is None:
        return ResetPlan(create=f"{wanted}.partial")
    if newest.segment > current:
        raise Refused(
            f"{newest.text} in the streaming directory is newer than the current WAL segment {current} of the server",
            hint="Does the connection lead to the right server?",
        )
    if newest.segment >= wanted:
        return ResetPlan()
    is_partial = newest.kind is WalKind.PARTIAL
    first_missing = newest.segment if is_partial else next_segment(newest.segment, segment_size)
    gap = (first_missing, previous_segment(wanted, segment_size)) if first_missing < wanted else None
    return ResetPlan(remove=newest.text if is_partial else None, create=f"{wanted}.partial", gap=gap)


def is_synchronous(application_name: str, synchronous_standby_names: Iterable[str]) -> bool:
    """Whether the server waits for a client of this name: it must then confirm at once what it has flushed."""
    return any(
        name in ("*", application_name) or name.lower() == application_name.lower()
        for name in synchronous_standby_names
    )
