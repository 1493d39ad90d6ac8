"""Holes and windows are what a plain reading of files and histories gives, over random branches, holes and backups."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barman.catalog.record import BackupId
from barman.postgres.timelines import Branch, TimelineHistory
from barman.postgres.wal_names import segment_name, segment_number, timeline_of
from barman.postgres.wal_runs import RunCollector, collect_runs, follow_path, is_any_later, join_runs, stretches
from barman.wal.gaps import Start, find_gaps, find_windows

LAST = 14
SIZES = [1 << 20, 16 << 20, 1 << 30]


@st.composite
def families(draw, size):
    """Histories of timelines 1 … n, each but the first branched off an older one, also at and within a segment."""
    histories = {1: TimelineHistory(1)}
    for timeline in range(2, draw(st.integers(1, 5)) + 1):
        parent = histories[draw(st.integers(1, timeline - 1))]
        lowest = parent.branches[-1].switch_lsn if parent.branches else 0
        switch = draw(st.integers(2 * lowest // size, 2 * LAST).map(lambda halves: halves * size // 2))
        histories[timeline] = TimelineHistory(timeline, (*parent.branches, Branch(parent.timeline, switch, "")))
    return histories


@st.composite
def archives(draw):
    """Segment size, histories of all timelines, and the segments that are there."""
    size = draw(st.sampled_from(SIZES))
    histories = draw(families(size))
    numbers = st.tuples(st.sampled_from(sorted(histories)), st.integers(0, LAST))
    # Mostly whole archives with a few holes, as they are; and any set at all.
    whole = {(timeline, number) for timeline in histories for number in range(LAST + 1)}
    files = draw(st.one_of(st.sets(numbers), st.sets(numbers, max_size=4).map(lambda holes: whole - holes)))
    return size, histories, files


def _known(histories):
    return {timeline: history for timeline, history in histories.items() if timeline > 1}


def _reader(history, number, size):
    """The newest timeline of the way that has begun by segment number."""
    begins = [0, *(branch.switch_lsn // size for branch in history.branches)]
    return max(timeline for timeline, begin in zip(history.path, begins, strict=True) if begin <= number)


def _way(history, size):
    return [(_reader(history, number, size), number) for number in range(LAST + 1)]


def _runs(files, size):
    return collect_runs((segment_name(*file, size) for file in files), size)


@given(archives())
def test_a_hole_is_what_is_missing_between_two_segments_of_the_way_to_a_timeline(archive):
    size, histories, files = archive

    missing = {}
    for timeline in {timeline for timeline, _ in files}:
        way = _way(histories[timeline], size)
        there = [number for reader, number in way if (reader, number) in files]
        for reader, number in way:
            if there and there[0] < number < there[-1] and number not in there:
                missing.setdefault(timeline, set()).add(segment_name(reader, number, size))

    gaps = find_gaps(_runs(files, size), _known(histories), size)

    found = {}
    for gap in gaps:
        assert gap.files == gap.high - gap.low + 1
        assert timeline_of(gap.after) in histories
        assert (timeline_of(gap.before), segment_number(gap.before, size)) in files
        assert (timeline_of(gap.after), segment_number(gap.after, size)) in files
        for timeline in gap.timelines:
            names = {segment_name(_reader(histories[timeline], n, size), n, size) for n in range(gap.low, gap.high + 1)}
            assert {gap.first, gap.last} <= names
            assert not names & found.get(timeline, set())
            found.setdefault(timeline, set()).update(names)
    assert found == missing
    assert len({(gap.first, gap.last) for gap in gaps}) == len(gaps)


@given(archives(), st.data())
def test_a_window_holds_exactly_the_positions_a_backup_leads_to(archive, data):
    size, histories, files = archive
    starts = [_start(data, number, histories, size) for number in range(data.draw(st.integers(0, 4), label="backups"))]

    windows = find_windows(starts, _runs(files, size), _known(histories), size)

    for timeline, history in histories.items():
        mine = [window for window in windows if window.timeline == timeline]
        assert mine == sorted(mine, key=lambda window: window.start_lsn)
        begin = history.branches[-1].switch_lsn if history.branches else 0
        has_segments = any(reader == timeline for reader, _ in files)
        for number in range(begin // size, LAST + 1):
            lsn = (number + 1) * size - 1
            leading = {
                start.backup_id for start in starts if _leads(start, history, number, lsn, files, size, has_segments)
            }
            inside = [window for window in mine if window.start_lsn <= lsn < window.end_lsn]
            assert len(inside) == (1 if leading else 0), (timeline, number)
            assert leading <= {one for window in inside for one in window.backups}


def _start(data, number, histories, size):
    timeline = data.draw(st.sampled_from(sorted(histories)))
    first = data.draw(st.integers(0, LAST))
    end = data.draw(st.integers(first, min(first + 2, LAST)))
    end_lsn = end * size + data.draw(st.sampled_from([1, size // 4, size]))
    return Start(BackupId(f"2026110{number}T000000"), timeline, first, end, end_lsn, data.draw(st.booleans()))


def _leads(start, history, number, lsn, files, size, has_segments):
    if not has_segments and history.timeline != start.timeline:
        return False
    needed = range(start.first, max(number, start.end) + 1)
    return (
        lsn >= start.end_lsn
        and history.contains(start.timeline, start.end_lsn)
        and all((_reader(history, one, size), one) in files for one in needed)
        and _reader(history, number, size) == history.timeline
        and (not start.alone or number <= start.end)
    )


@given(archives())
def test_the_way_through_the_runs_is_the_way_through_the_files(archive):
    size, histories, files = archive
    runs = _runs(files, size)
    for history in histories.values():
        there = [file for file in _way(history, size) if file in files]
        walked = [
            (stretch.timeline, number)
            for stretch in stretches(history, size, runs)
            for number in range(stretch.first, stretch.last + 1)
        ]
        assert walked == there
        for first in range(LAST + 1):
            last = follow_path(history, first, size, runs)
            numbers = [number for _, number in there]
            assert all(number in numbers for number in range(first, last + 1))
            assert last + 1 not in numbers
            assert is_any_later(history, last, size, runs) == any(number > last for number in numbers)


@given(archives(), st.data())
def test_runs_are_the_same_however_the_names_come(archive, data):
    size, _, files = archive
    names = sorted(segment_name(*file, size).encode() for file in files)
    collector = RunCollector(size)
    pieces = data.draw(st.lists(st.sets(st.sampled_from(names)), max_size=5)) if names else []
    for piece in (*pieces, names):
        collector.add(sorted(piece))

    expanded = {
        (timeline, number)
        for timeline, runs in collector.runs().items()
        for first, last in runs
        for number in range(first, last + 1)
    }
    assert expanded == files
    half = len(names) // 2
    parts = [collect_runs((name.decode() for name in part), size) for part in (names[:half], names[half:])]
    assert {**join_runs(*parts)} == {**collector.runs()}


@pytest.mark.parametrize("size", SIZES)
def test_a_run_crosses_the_boundary_of_a_log_number(size):
    last_of_log = 0x100000000 // size - 1
    names = [segment_name(1, number, size) for number in range(last_of_log - 1, last_of_log + 3)]
    assert collect_runs(names, size) == {1: ((last_of_log - 1, last_of_log + 2),)}
