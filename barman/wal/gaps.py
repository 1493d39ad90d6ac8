"""Holes in the WAL archive, what they cost, and from where to where it can be recovered. Pure.

A hole lies between two archived segments of the way to some timeline. The archive's beginning is none, for retention
removes what is oldest; and of the holes only those count that a backup would have to cross: in front of the first
backup, and behind one that is kept for itself alone, retention leaves them on purpose.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from barman.catalog.record import KeepTarget
from barman.errors import WalError
from barman.postgres.lsn import parse_lsn
from barman.postgres.timelines import TimelineHistory
from barman.postgres.wal_names import segment_name, segment_number
from barman.postgres.wal_runs import follow_path, path_bounds, stretches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from barman.catalog.record import BackupId, BackupRecord
    from barman.postgres.wal_runs import SegmentRuns, Stretch

    # The archived history files, by timeline.
    Histories = Mapping[int, TimelineHistory]

# A segment may overtake another on its way here: by streaming, or sent again after a failure.
PATIENCE = timedelta(minutes=10)

_NAMED = 3


class Gap(NamedTuple):
    """Missing segments between two that are there.

    first, last: the missing ones; files: how many. before, after: the segments that are there. low, high: numbers of
    first and last. timelines: those whose way leads through the hole, ascending.
    """

    first: str
    last: str
    files: int
    before: str
    after: str
    low: int
    high: int
    timelines: tuple[int, ...]

    def __str__(self) -> str:
        """The names missing, for a message."""
        return self.first if self.files == 1 else f"{self.first} to {self.last}"


@dataclass(frozen=True, slots=True)
class Start:
    """Where recovery from a backup begins. first: number of its first segment. end_lsn: the earliest target.

    end: number of the segment it ends in. alone: whether it is kept for itself alone.
    """

    backup_id: BackupId
    timeline: int
    first: int
    end: int
    end_lsn: int
    alone: bool = False


class Finding(NamedTuple):
    """A hole that matters. since: when the segment behind it came, None if unknown.

    backups: those that cannot be recovered beyond it. is_open: whether no backup leads around it to the newest WAL.
    """

    gap: Gap
    since: datetime | None
    backups: tuple[BackupId, ...]
    is_open: bool


class Reach(NamedTuple):
    """How far recovery gets: the last segment (number) that is there. gap: the hole behind it, None at the end."""

    path: TimelineHistory
    last: int
    gap: Gap | None


class Window(NamedTuple):
    """Every position from start_lsn up to end_lsn can be recovered on the way to a timeline.

    It begins with the end of a backup (from_backup), or with the segment in which the timeline branched off. backups:
    the ids of those to begin with, oldest first. last: the last segment. gap: the hole that ends it, None at the end.
    """

    timeline: int
    start_lsn: int
    end_lsn: int
    backups: tuple[BackupId, ...]
    from_backup: bool
    last: str
    gap: Gap | None


def find_gaps(runs: SegmentRuns, histories: Histories, segment_size: int) -> tuple[Gap, ...]:
    """Return all holes on the ways to all timelines that have segments, each once, in order.

    A timeline without a history is taken for one without ancestors.
    """
    found: dict[tuple[str, str], Gap] = {}
    for timeline in sorted(timeline for timeline, each in runs.items() if each):
        path = path_to(timeline, histories)
        for before, after in pairwise(stretches(path, segment_size, runs)):
            if after.first == before.last + 1:
                continue
            gap = _gap(path, before, after, segment_size)
            known = found.get((gap.first, gap.last))
            known_timelines = () if known is None else known.timelines
            found[gap.first, gap.last] = gap._replace(timelines=(*known_timelines, timeline))
    return tuple(found[names] for names in sorted(found))


def missing_runs(gap: Gap, histories: Histories, segment_size: int) -> SegmentRuns:
    """Return the segments that are missing, by the timelines whose files recovery would read."""
    runs: dict[int, list[tuple[int, int]]] = {}
    low = gap.low
    for timeline, end in path_bounds(path_to(gap.timelines[0], histories), segment_size):
        high = gap.high if end is None else min(end, gap.high)
        if low <= high:
            runs[timeline] = [(low, high)]
            low = high + 1
    return runs


def path_to(timeline: int, histories: Histories) -> TimelineHistory:
    """Return the way to timeline."""
    return histories.get(timeline) or TimelineHistory(timeline)


def starts_of(records: Iterable[BackupRecord], keeps: Mapping[BackupId, KeepTarget]) -> list[Start]:
    """Return where recovery can begin, oldest backup first; records that do not say are left out."""
    found = []
    for record in sorted(records, key=lambda one: one.backup_id):
        timeline = record.end_timeline
        if not record.is_copy_done or record.begin_wal is None or record.end_wal is None or timeline is None:
            continue
        size = record.xlog_segment_size
        try:
            first, end = segment_number(record.begin_wal, size), segment_number(record.end_wal, size)
            end_lsn = parse_lsn(record.end_xlog) if record.end_xlog is not None else (end + 1) * size
        except WalError:
            continue
        alone = keeps.get(record.backup_id) is KeepTarget.STANDALONE
        found.append(Start(record.backup_id, timeline, first, end, end_lsn, alone))
    return found


def judge_gaps(
    gaps: Sequence[Gap],
    starts: Sequence[Start],
    histories: Histories,
    *,
    newest_timeline: int,
    came: Mapping[str, datetime],
    now: datetime,
    patience: timedelta = PATIENCE,
) -> list[Finding]:
    """Return the holes that keep a backup from being recovered further, in order.

    newest_timeline: the highest with segments. came: when the segments behind the holes were written. A hole younger
    than patience may still be filled, and is left out.
    """
    findings = []
    for gap in gaps:
        since = came.get(gap.after)
        if since is not None and now - since < patience:
            continue
        paths = [path_to(timeline, histories) for timeline in gap.timelines]
        stopped = [start for start in starts if any(_is_stopped(start, gap, path) for path in paths)]
        if not stopped:
            continue
        newest = path_to(newest_timeline, histories)
        is_open = newest_timeline in gap.timelines and not any(
            start.first > gap.high and not start.alone and newest.contains(start.timeline, start.end_lsn)
            for start in starts
        )
        findings.append(Finding(gap, since, tuple(start.backup_id for start in stopped), is_open))
    return findings


def describe_gaps(findings: Sequence[Finding]) -> str:
    """Return one line that names the holes and what they cost, "" if there are none."""
    if not findings:
        return ""
    holes = [finding.gap for finding in findings]
    files = sum(gap.files for gap in holes)
    named = ", ".join(map(str, holes[:_NAMED])) + (", …" if len(holes) > _NAMED else "")
    since = min((finding.since for finding in findings if finding.since is not None), default=None)
    age = f" since {since.astimezone():%Y-%m-%d %H:%M:%S}" if since is not None else ""
    stopped = sorted({backup_id for finding in findings for backup_id in finding.backups})
    which = f"backup {stopped[0]}" if len(stopped) == 1 else f"{len(stopped)} backups, the last of them {stopped[-1]}"
    return f"{files} WAL file{'s' * (files > 1)} missing{age}: {named}; this stops recovery from {which}"


def reach_of(
    start: Start, runs: SegmentRuns, histories: Histories, gaps: Sequence[Gap], segment_size: int
) -> list[Reach]:
    """Return how far recovery from a backup gets towards each timeline that it can reach, its own first."""
    timelines = {start.timeline, *(timeline for timeline, each in runs.items() if each)}
    found = []
    for timeline in sorted(timelines):
        path = path_to(timeline, histories)
        if path.contains(start.timeline, start.end_lsn):
            last = follow_path(path, start.first, segment_size, runs)
            gap = next((gap for gap in gaps if timeline in gap.timelines and gap.low <= last + 1 <= gap.high), None)
            found.append(Reach(path, last, gap))
    return found


def find_windows(
    starts: Sequence[Start], runs: SegmentRuns, histories: Histories, segment_size: int
) -> tuple[Window, ...]:
    """Return the recoverable windows of each timeline, in order, those of several backups joined where they touch.

    A timeline's windows lie within its own segments. A backup without all of its own WAL has none.
    """
    gaps = find_gaps(runs, histories, segment_size)
    found: dict[int, list[Window]] = {}
    for start in starts:
        for reach in reach_of(start, runs, histories, gaps, segment_size):
            window = _window(start, reach, segment_size)
            if window is not None:
                found.setdefault(window.timeline, []).append(window)
    return tuple(window for timeline in sorted(found) for window in _merged(found[timeline]))


def _gap(path: TimelineHistory, before: Stretch, after: Stretch, segment_size: int) -> Gap:
    low, high = before.last + 1, after.first - 1
    return Gap(
        first=segment_name(path.timeline_of_segment(low, segment_size), low, segment_size),
        last=segment_name(path.timeline_of_segment(high, segment_size), high, segment_size),
        files=high - low + 1,
        before=segment_name(before.timeline, before.last, segment_size),
        after=segment_name(after.timeline, after.first, segment_size),
        low=low,
        high=high,
        timelines=(),
    )


def _is_stopped(start: Start, gap: Gap, path: TimelineHistory) -> bool:
    last = start.end if start.alone else gap.high
    return start.first <= gap.high and gap.low <= last and path.contains(start.timeline, start.end_lsn)


def _window(start: Start, reach: Reach, segment_size: int) -> Window | None:
    path = reach.path
    if reach.last < start.end:
        return None
    begin = path.branches[-1].switch_lsn // segment_size * segment_size if path.branches else 0
    last, gap = (start.end, None) if start.alone else (reach.last, reach.gap)
    start_lsn, end_lsn = max(start.end_lsn, begin), max((last + 1) * segment_size, start.end_lsn)
    if end_lsn <= begin or path.timeline_of_segment(last, segment_size) != path.timeline:
        return None
    name = segment_name(path.timeline, last, segment_size)
    return Window(path.timeline, start_lsn, end_lsn, (start.backup_id,), start_lsn == start.end_lsn, name, gap)


def _merged(windows: Iterable[Window]) -> Iterator[Window]:
    """Yield windows of one timeline in order of their begin, joined where the later begins within the earlier."""
    current: Window | None = None
    for window in sorted(windows, key=lambda one: (one.start_lsn, one.backups)):
        if current is None or window.start_lsn > current.end_lsn:
            if current is not None:
                yield current
            current = window
        else:
            longer = max((current, window), key=lambda one: one.end_lsn)
            backups = tuple(sorted({*current.backups, *window.backups}))
            current = longer._replace(start_lsn=current.start_lsn, from_backup=current.from_backup, backups=backups)
    if current is not None:
        yield current
