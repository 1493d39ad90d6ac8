"""Which segments there are, as runs of consecutive numbers, and how far they lead along a timeline. Pure.

Archives hold millions of segments and few holes, so a handful of runs says it all.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

from barman.postgres.wal_names import is_segment_name, segment_number, segments_per_log, timeline_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from barman.postgres.timelines import TimelineHistory

    # Per timeline: first and last number of every run of consecutive segments, ascending, apart from each other.
    SegmentRuns = Mapping[int, Sequence[tuple[int, int]]]


class Stretch(NamedTuple):
    """Segments first … last (numbers) of one timeline, all there."""

    timeline: int
    first: int
    last: int


class RunCollector:
    """Takes names of segments piece by piece, in any order and any number of times, and knows their runs."""

    def __init__(self, segment_size: int) -> None:
        """segment_size: of the cluster, which all names fit."""
        self._per_log = segments_per_log(segment_size)
        self._found: dict[int, list[tuple[int, int]]] = {}

    def add(self, names: Sequence[bytes]) -> None:
        """Take names of segments, ascending and each once. A piece without a hole costs as much as one name."""
        rest = [(0, len(names))] if names else []
        while rest:
            start, stop = rest.pop()
            first, last = self._position(names[start]), self._position(names[stop - 1])
            if first[0] == last[0] and last[1] - first[1] == stop - start - 1:
                self._add_run(first[0], first[1], last[1])
            else:
                middle = (start + stop) // 2
                rest += [(middle, stop), (start, middle)]

    def runs(self) -> SegmentRuns:
        """Return the runs of all names so far."""
        return {timeline: _joined(found) for timeline, found in sorted(self._found.items())}

    def _add_run(self, timeline: int, first: int, last: int) -> None:
        found = self._found.setdefault(timeline, [])
        if found and found[-1][0] <= first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))

    def _position(self, name: bytes) -> tuple[int, int]:
        return int(name[:8], 16), int(name[8:16], 16) * self._per_log + int(name[16:], 16)


def collect_runs(names: Iterable[str], segment_size: int) -> SegmentRuns:
    """Return the runs of the segments among names: any order, repeats, and other names allowed."""
    collector = RunCollector(segment_size)
    collector.add(sorted({name.encode() for name in names if is_segment_name(name)}))
    return collector.runs()


def join_runs(runs: SegmentRuns, others: SegmentRuns) -> SegmentRuns:
    """Return the runs of the segments that are in either."""
    timelines = sorted({*runs, *others})
    return {timeline: _joined([*runs.get(timeline, ()), *others.get(timeline, ())]) for timeline in timelines}


def has_segment(runs: SegmentRuns, name: str, segment_size: int) -> bool:
    """Whether segment name is in one of the runs."""
    return _end_of_run(runs.get(timeline_of(name), ()), segment_number(name, segment_size)) is not None


def follow_path(path: TimelineHistory, first: int, segment_size: int, runs: SegmentRuns) -> int:
    """Return the number of the last segment that is there without a hole from first on; first - 1 if none is."""
    number = first
    for timeline, end in path_bounds(path, segment_size):
        if end is not None and number > end:
            continue
        run_end = _end_of_run(runs.get(timeline, ()), number)
        if run_end is None:
            break
        number = (run_end if end is None else min(run_end, end)) + 1
        if end is None or number <= end:
            break
    return number - 1


def is_any_later(path: TimelineHistory, number: int, segment_size: int, runs: SegmentRuns) -> bool:
    """Whether a segment after number that the path leads through is there."""
    return any(stretch.last > number for stretch in stretches(path, segment_size, runs))


def stretches(path: TimelineHistory, segment_size: int, runs: SegmentRuns) -> Iterator[Stretch]:
    """Yield what is there of the segments recovery along path reads, in order."""
    begin = 0
    for timeline, end in path_bounds(path, segment_size):
        for first, last in runs.get(timeline, ()):
            low, high = max(first, begin), last if end is None else min(last, end)
            if low <= high:
                yield Stretch(timeline, low, high)
        begin = begin if end is None else end + 1


def path_bounds(path: TimelineHistory, segment_size: int) -> Iterator[tuple[int, int | None]]:
    """Yield each timeline of the path with the number of the last segment read from it, None for the last one.

    The segment in which a timeline begins is read under the new timeline's name. A timeline may have none.
    """
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
