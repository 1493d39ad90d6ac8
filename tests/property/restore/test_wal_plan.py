"""The planned WAL is what a simple model of recovery reads, over random timelines, holes and targets."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from barman.postgres.timelines import TimelineHistory
from barman.postgres.wal_names import segment_name
from barman.postgres.wal_runs import collect_runs
from barman.restore.timelines import choose_timeline
from barman.restore.wal_plan import plan_wal
from tests.property.restore.families import LAST, SIZE, families


def _ancestors(histories, timeline):
    """Return the positions at which the path to timeline leaves its ancestors, by plain reading of the histories."""
    return {branch.timeline: branch.switch_lsn for branch in histories[timeline].branches}


def _model_read(histories, timeline, files, first):
    """Return the files recovery to timeline reads from segment number first on, one after the other.

    For each segment: the newest timeline of the path that has begun by then, if its file is there.
    """
    left = _ancestors(histories, timeline)
    path = [*sorted(left), timeline]
    begins = dict(zip(path, [0, *(left[ancestor] for ancestor in path[:-1])], strict=True))
    read = []
    number = first
    while True:
        reader = max(member for member in path if begins[member] // SIZE <= number)
        if (reader, number) not in files:
            return read
        read.append(segment_name(reader, number, SIZE))
        number += 1


@given(
    histories=families(),
    files=st.sets(st.tuples(st.integers(1, 5), st.integers(0, LAST))),
    origin=st.integers(1, 5),
    begin=st.integers(0, LAST * SIZE),
    length=st.integers(0, 2 * SIZE),
)
def test_recovery_reads_the_planned_files(histories, files, origin, begin, length):
    timeline = min(origin, max(histories))
    end = begin + length
    archived = {number: history for number, history in histories.items() if number > 1}

    path = choose_timeline(None, timeline=timeline, end=end, histories=archived, follows_latest=True)
    plan = plan_wal(
        path,
        first=begin // SIZE,
        consistent_at=end // SIZE,
        segment_size=SIZE,
        runs=collect_runs((segment_name(*file, SIZE) for file in files), SIZE),
    )

    reachable = [
        number for number in histories if number == timeline or _ancestors(histories, number).get(timeline, -1) >= end
    ]
    assert path.timeline == max(reachable)
    read = _model_read(histories, path.timeline, files, begin // SIZE)
    assert [copy.name for copy in plan.copies()] == read
    assert plan.count == len(read)
    assert plan.is_consistent == (begin // SIZE + len(read) > end // SIZE)


@given(
    files=st.sets(st.integers(0, LAST)),
    begin=st.integers(0, LAST - 2),
    until=st.integers(0, LAST + 4),
)
def test_a_limited_plan_is_a_beginning_of_the_whole_one_and_holds_all_that_is_needed(files, begin, until):
    runs = collect_runs((segment_name(1, number, SIZE) for number in files), SIZE)
    common = {"first": begin, "consistent_at": begin + 1, "segment_size": SIZE, "runs": runs}

    whole = plan_wal(TimelineHistory(1), **common)
    limited = plan_wal(TimelineHistory(1), needed_until=until, **common)

    names = [copy.name for copy in whole.copies()]
    assert [copy.name for copy in limited.copies()] == names[: limited.count]
    needed_until = max(begin + 1, until)
    assert limited.reaches_target == (begin + len(names) > needed_until)
    if limited.reaches_target:
        assert [copy.name for copy in limited.copies() if copy.is_needed] == names[: needed_until - begin + 1]


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 40))))
def test_runs_hold_exactly_the_segments_they_are_made_of(files):
    runs = collect_runs((segment_name(*file, SIZE) for file in files), SIZE)
    unrolled = [
        (timeline, number) for timeline in runs for low, high in runs[timeline] for number in range(low, high + 1)
    ]
    assert sorted(unrolled) == sorted(set(files))
    assert len(unrolled) == len(set(files))
    for found in runs.values():
        assert all(high + 1 < low for (_, high), (low, _) in itertools.pairwise(found))
