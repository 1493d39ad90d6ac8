"""What pg_receivewal finds in its directory, and what it should find. Pure.

pg_receivewal goes on after the newest complete segment, or at the beginning of the newest partial one, which must be
empty or of full size. Source: PostgreSQL source, pg_receivewal.c (FindStreamingStart), receivelog.c (open_walfile).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from barman.errors import Refused
from barman.postgres.wal_names import (
    WalKind,
    is_wal_name,
    next_segment,
    parse_wal_name,
    previous_segment,
    segment_name,
    segment_start,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from barman.postgres.timelines import TimelineHistory
    from barman.postgres.wal_names import WalName


@dataclass(frozen=True, slots=True)
class ResetPlan:
    """What to do so that receiving goes on at the wanted segment. gap: first and last segment nobody will have."""

    remove: str | None = None
    create: str | None = None
    gap: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """Where receiving turns to a new timeline. start: the segment to go on with. beyond: files in its way."""

    start: str
    beyond: tuple[str, ...]


def find_furthest(names: Iterable[str]) -> WalName | None:
    """Return the file pg_receivewal goes on from: of all timelines the one with the highest position."""
    received = [(wal.text[8:24], wal.timeline, wal.kind is WalKind.SEGMENT, wal) for wal in _received(names)]
    return max(received, key=lambda found: found[:3])[3] if received else None


def plan_turn(names: Iterable[str], history: TimelineHistory, segment_size: int) -> Turn | None:
    """Return how to go on along history when more of an older timeline was received than belongs to it.

    None if pg_receivewal finds its way, as it does where the server can still send that timeline up to its end.
    WalError if what was received last is not an ancestor.
    """
    known = list(_received(names))
    furthest = find_furthest(wal.text for wal in known)
    if furthest is None or furthest.segment is None or furthest.timeline == history.timeline:
        return None
    end = history.end_of(furthest.timeline)
    complete = furthest.kind is WalKind.SEGMENT
    begin = segment_start(furthest.segment, segment_size) + (segment_size if complete else 0)
    if end is None or begin <= end:
        return None
    number = end // segment_size
    start = segment_name(history.timeline_of_segment(number, segment_size), number, segment_size)
    beyond = tuple(wal.text for wal in known if wal.text[8:24] >= start[8:] and wal.timeline < int(start[:8], 16))
    return Turn(start, beyond)


def _received(names: Iterable[str]) -> Iterator[WalName]:
    parsed = (parse_wal_name(name) for name in names if is_wal_name(name))
    return (wal for wal in parsed if wal.kind in (WalKind.SEGMENT, WalKind.PARTIAL))


def newest_streamed(names: Iterable[str]) -> WalName | None:
    """Return the newest segment or partial segment among names; other files do not count."""
    # Of a segment and its own partial file the complete one counts.
    return max(_received(names), key=lambda wal: (wal.segment, wal.kind is WalKind.SEGMENT), default=None)


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
