"""Finding a target in the WAL that recovery would get, by the rules PostgreSQL stops by.

Pure but for the reading, which is done by whoever calls. Source: PostgreSQL source, xlogrecovery.c
(recoveryStopsBefore, recoveryStopsAfter).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from barman.errors import BarmanError
from barman.postgres.wal_names import segment_name
from barman.restore.targets import TargetKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from barman.postgres.wal_records import SegmentRecords
    from barman.postgres.wal_runs import SegmentRuns
    from barman.restore.targets import Target
    from barman.restore.wal_plan import WalPlan

    # Reads files of the archive, by their stored names, in the order given; BarmanError or OSError if one cannot be.
    Read = Callable[[Iterable[str]], Iterator[SegmentRecords]]


# So many segments at the end of the archive are looked at for a transaction after a target time: clocks are set back.
_OUT_OF_ORDER = 8


class Place(NamedTuple):
    """A position on a timeline."""

    timeline: int
    lsn: int


class Reach(NamedTuple):
    """The last things recovery can stop at: where the last record begins, and when the last transaction ended."""

    lsn: int | None
    time: datetime | None


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the WAL says about a target.

    until: number of the last segment recovery needs to stop there; None: it is not in the WAL. at: the record it stops
    at, where one was looked for. elsewhere: where it is in WAL that recovery does not get. reach: how far recovery
    could go; looked at when the target is not there. unread: why it cannot be told; nothing else counts then.
    """

    until: int | None = None
    at: int | None = None
    elsewhere: Place | None = None
    reach: Reach | None = None
    unread: str | None = None


def look_for(target: Target, wal: WalPlan, read: Read, *, begin: int, runs: SegmentRuns) -> Sighting:
    """Return where recovery stops for target, if it gets the files of wal.

    wal: without a limit. begin: where recovery begins (LSN). runs: all there is in the archive from the begin of the
    backup on, other timelines too. Times and positions are found by looking at a few files; for names and transactions
    all are read until one has it.
    """
    try:
        finder = _FINDERS.get(target.kind)
        found = finder(target, wal, read) if finder else _find_by_reading(target, wal, read, begin)
        if found is not None:
            return found
        return Sighting(elsewhere=_find_elsewhere(target, wal, read, runs), reach=find_reach(wal, read))
    except (BarmanError, OSError) as error:
        return Sighting(unread=str(error))


def find_reach(wal: WalPlan, read: Read) -> Reach:
    """Return how far recovery can go with the files of wal."""
    last = None
    for records in read(_stored(wal, range(wal.reaches, wal.first - 1, -1))):
        last = records.last_start if last is None else last
        times = [end.time for end in records.transaction_ends()]
        if times:
            return Reach(last, max(times))
    return Reach(last, None)


def _find_immediate(_target: Target, wal: WalPlan, _read: Read) -> Sighting | None:
    return Sighting(wal.consistent_at) if wal.is_consistent else None


def _find_lsn(target: Target, wal: WalPlan, read: Read) -> Sighting | None:
    """PostgreSQL stops at the first record that begins at the target or later."""
    lsn = target.lsn or 0
    number = max(lsn // wal.segment_size, wal.consistent_at)
    if number < wal.reaches:
        return Sighting(number)
    for records in read(_stored(wal, range(number, wal.reaches + 1))):
        if records.last_start is not None and records.last_start >= lsn:
            return Sighting(number, lsn)
    return None


def _find_time(target: Target, wal: WalPlan, read: Read) -> Sighting | None:
    """PostgreSQL stops at the first transaction that ended after the target, or with --exclusive at it.

    Any segment with such a transaction has the first one in it or behind it, so the search may go by halves although
    the times of transactions are only nearly in order.
    """

    def newest_end(number: int) -> datetime | None:
        [records] = read(_stored(wal, [number]))
        return max((end.time for end in records.transaction_ends()), default=None)

    moment = target.time

    def is_past(time: datetime) -> bool:
        return moment is not None and (time > moment or (time == moment and not target.inclusive))

    first = min(wal.consistent_at, wal.reaches)
    best, looked_at = wal.reaches, 0
    while best >= first and ((time := newest_end(best)) is None or not is_past(time)):
        looked_at += time is not None
        if looked_at >= _OUT_OF_ORDER:
            return None
        best -= 1
    if best < first:
        return None
    low, high = first, best
    while low < high:
        middle = probe = (low + high) // 2
        while probe < high and (time := newest_end(probe)) is None:
            probe += 1
        if probe < high and time is not None and not is_past(time):
            low = probe + 1
            continue
        best = best if probe == high else probe
        high = middle
    return Sighting(best)


def _find_by_reading(target: Target, wal: WalPlan, read: Read, begin: int) -> Sighting | None:
    numbers = range(wal.first, wal.reaches + 1)
    for number, records in zip(numbers, read(_stored(wal, numbers)), strict=True):
        lsn = _find_in(target, records, begin)
        if lsn is not None:
            return Sighting(number, lsn)
    return None


_FINDERS = {
    TargetKind.IMMEDIATE: _find_immediate,
    TargetKind.LSN: _find_lsn,
    TargetKind.TIME: _find_time,
}


def _find_elsewhere(target: Target, wal: WalPlan, read: Read, runs: SegmentRuns) -> Place | None:
    """Return where the target is in WAL that recovery does not get: behind a hole, or off its path."""
    size = wal.segment_size

    def is_read(timeline: int, number: int) -> bool:
        return number <= wal.reaches and wal.path.timeline_of_segment(number, size) == timeline

    for timeline in sorted(runs):
        for first, last in runs[timeline]:
            numbers = [number for number in range(first, last + 1) if not is_read(timeline, number)]
            place = _find_among(target, timeline, numbers, size, read)
            if place is not None:
                return place
    return None


def _find_among(target: Target, timeline: int, numbers: list[int], size: int, read: Read) -> Place | None:
    if target.lsn is not None:
        return Place(timeline, target.lsn) if target.lsn // size in numbers else None
    if target.kind in (TargetKind.XID, TargetKind.NAME):
        for records in read(segment_name(timeline, number, size) for number in numbers):
            lsn = _find_in(target, records, 0)
            if lsn is not None:
                return Place(timeline, lsn)
    return None


def _find_in(target: Target, records: SegmentRecords, begin: int) -> int | None:
    """Return where the record of the target begins; None if it is not in this segment, from begin on."""
    if target.kind is TargetKind.NAME:
        points = records.restore_points()
        return next((point.lsn for point in points if point.name == target.text and point.lsn >= begin), None)
    xid = int(target.text)
    if not records.mentions(xid):
        return None
    return next((end.lsn for end in records.transaction_ends() if end.ends(xid) and end.lsn >= begin), None)


def _stored(wal: WalPlan, numbers: Iterable[int]) -> Iterator[str]:
    return (wal.copy_of(number).stored for number in numbers)
