"""Which WAL files a restore takes from the archive, and what is missing. Pure.

Archives hold millions of segments, so they are known here as runs of consecutive segment numbers.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from barman.postgres.wal_names import DEFAULT_SEGMENT_SIZE, is_segment_name, segment_name, segment_number, timeline_of
from barman.restore.targets import Target, TargetKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from barman.postgres.timelines import TimelineHistory

    # Per timeline: first and last number of every run of consecutive segments, ascending, apart from each other.
    SegmentRuns = Mapping[int, Sequence[tuple[int, int]]]


class WalCopy(NamedTuple):
    """One file to be given to recovery. name: for PostgreSQL. stored: in the archive or the streaming directory.

    is_needed: recovery cannot do without it; the others may help and may be left out when they are damaged.
    """

    name: str
    stored: str
    is_needed: bool


@dataclass(frozen=True, slots=True)
class WalPlan:
    """The segments first … last (numbers) along path are there; last < first: not even the first one.

    consistent_at: number of the segment in which the backup ends. needed_until: number of the last segment recovery
    must have to reach the target, None when it takes what there is. partial: stored name of an unfinished segment that
    follows last. is_gap: whether WAL that comes later on the path is archived, so that the next segment is a hole.
    """

    path: TimelineHistory
    segment_size: int
    first: int
    last: int
    consistent_at: int
    needed_until: int | None
    partial: str | None = None
    is_gap: bool = False

    @property
    def missing(self) -> str:
        """The first segment that is not there, complete."""
        return _name(self.path, self.last + 1, self.segment_size)

    @property
    def reaches(self) -> int:
        """The number of the last segment recovery gets, the unfinished one included."""
        return self.last + (self.partial is not None)

    @property
    def is_consistent(self) -> bool:
        """Whether everything from the begin to the end of the backup is there."""
        return self.reaches >= self.consistent_at

    @property
    def reaches_target(self) -> bool:
        """Whether everything is there that is known to be needed for the target."""
        return self.needed_until is None or self.reaches >= self.needed_until

    @property
    def count(self) -> int:
        """How many files copies() yields."""
        return max(self.reaches - self.first + 1, 0)

    def copies(self) -> Iterator[WalCopy]:
        """Yield the files to be copied, in the order recovery reads them."""
        needed_until = self.last if self.needed_until is None else max(self.needed_until, self.consistent_at)
        for number in range(self.first, self.last + 1):
            name = _name(self.path, number, self.segment_size)
            yield WalCopy(name, name, number <= needed_until)
        if self.partial is not None:
            yield WalCopy(self.missing, self.partial, self.last + 1 <= needed_until)


def collect_runs(names: Iterable[str], segment_size: int) -> SegmentRuns:
    """Return the runs of the segments among names: any order, repeats, and other names allowed."""
    runs: dict[int, list[tuple[int, int]]] = {}
    for name in names:
        if not is_segment_name(name):
            continue
        number = segment_number(name, segment_size)
        found = runs.setdefault(timeline_of(name), [])
        if found and found[-1][0] <= number <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], number))
        else:
            found.append((number, number))
    return {timeline: _joined(found) for timeline, found in runs.items()}


def plan_wal(
    path: TimelineHistory,
    *,
    first: int,
    consistent_at: int,
    segment_size: int,
    runs: SegmentRuns,
    target: Target | None,
    partials: Collection[str] = (),
) -> WalPlan:
    """Return what recovery along path gets, from segment number first on.

    consistent_at: number of the segment the backup ends in. partials: stored names of unfinished segments that may be
    used. The list goes beyond what the target needs by 16 MiB, at least one segment: the record at the target may end
    in a later segment than it begins in.
    """
    needed_until = _needed_until(target, consistent_at, segment_size)
    limit = None
    if needed_until is not None:
        limit = needed_until + max(1, DEFAULT_SEGMENT_SIZE // segment_size)
    available = _follow(path, first, segment_size, runs)
    last = available if limit is None else min(available, limit)
    beyond = last + 1
    partial = _name(path, beyond, segment_size) + ".partial"
    return WalPlan(
        path=path,
        segment_size=segment_size,
        first=first,
        last=last,
        consistent_at=consistent_at,
        needed_until=needed_until,
        partial=partial if partial in partials and (limit is None or beyond <= limit) else None,
        is_gap=last == available and _is_any_later(path, available, segment_size, runs),
    )


def _name(path: TimelineHistory, number: int, segment_size: int) -> str:
    """Return the name of the file PostgreSQL reads for segment number."""
    return segment_name(path.timeline_of_segment(number, segment_size), number, segment_size)


def _needed_until(target: Target | None, consistent_at: int, segment_size: int) -> int | None:
    if target is None:
        return None
    if target.kind is TargetKind.IMMEDIATE:
        return consistent_at
    # PostgreSQL stops at the first record that starts at the target or later, and has to read it to know.
    return None if target.lsn is None else max(target.lsn // segment_size, consistent_at)


def _follow(path: TimelineHistory, first: int, segment_size: int, runs: SegmentRuns) -> int:
    """Return the number of the last segment that is there without a hole from first on; first - 1 if none is."""
    number = first
    for timeline, end in _bounds(path, segment_size):
        if end is not None and number > end:
            continue
        run_end = _end_of_run(runs.get(timeline, ()), number)
        if run_end is None:
            break
        number = (run_end if end is None else min(run_end, end)) + 1
        if end is None or number <= end:
            break
    return number - 1


def _is_any_later(path: TimelineHistory, number: int, segment_size: int, runs: SegmentRuns) -> bool:
    """Whether a segment after number that the path leads through is there."""
    begin = 0
    for timeline, end in _bounds(path, segment_size):
        for first, last in runs.get(timeline, ()):
            if max(first, begin) <= (last if end is None else min(last, end)) > number:
                return True
        begin = begin if end is None else end + 1
    return False


def _bounds(path: TimelineHistory, segment_size: int) -> Iterator[tuple[int, int | None]]:
    """Yield each timeline of the path with the number of the last segment read from it, None for the last one."""
    for branch in path.branches:
        yield branch.timeline, branch.switch_lsn // segment_size - 1
    yield path.timeline, None


def _end_of_run(runs: Sequence[tuple[int, int]], number: int) -> int | None:
    """Return the last number of the run that number is in; None if it is in none."""
    place = bisect_right(runs, number, key=lambda run: run[0]) - 1
    return runs[place][1] if place >= 0 and runs[place][1] >= number else None


def _joined(runs: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    joined: list[tuple[int, int]] = []
    for first, last in sorted(runs):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return tuple(joined)
