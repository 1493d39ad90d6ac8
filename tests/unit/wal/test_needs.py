"""The WAL a backup cannot be restored without."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barman.catalog.record import BackupId, BackupRecord, Status
from barman.errors import CatalogError
from barman.postgres.lsn import format_lsn
from barman.postgres.timelines import Branch, TimelineHistory
from barman.postgres.wal_names import segment_name
from barman.wal.needs import (
    MISSING_WAL,
    Outcome,
    Verdict,
    check_required,
    has_failed_for_wal,
    may_become_complete,
    may_serve,
    possible_names,
    required_segments,
    serving_names,
    stand_ins,
)

MIB = 1 << 20


def _record(first=5, last=8, *, timeline=1, segment_size=16 * MIB, **fields):
    return BackupRecord(
        backup_id=BackupId("20260101T000000"),
        begin_wal=segment_name(timeline, first, segment_size),
        end_wal=segment_name(timeline, last, segment_size),
        xlog_segment_size=segment_size,
        **fields,
    )


def _names(*numbers, timeline=1):
    return {segment_name(timeline, number, 16 * MIB) for number in numbers}


def test_all_segments_from_begin_to_end_are_required():
    assert set(required_segments(_record(5, 8))) == _names(5, 6, 7, 8)


def test_segments_are_counted_across_the_end_of_a_log():
    assert required_segments(_record(0xFF, 0x100)) == ("0000000100000000000000FF", "000000010000000100000000")


def test_nothing_is_required_of_a_backup_without_an_end():
    assert required_segments(replace(_record(), end_wal=None)) == ()
    assert check_required(replace(_record(), end_wal=None), (), None).outcome is Outcome.UNKNOWN


def test_an_end_before_the_begin_is_damage():
    with pytest.raises(CatalogError, match="before its begin"):
        required_segments(_record(8, 5))


def test_a_segment_that_does_not_fit_the_segment_size_is_damage():
    with pytest.raises(CatalogError, match="damaged"):
        required_segments(replace(_record(), end_wal="0000000100000000000001FF"))


@pytest.mark.parametrize(
    ("present", "newest", "coming", "outcome", "missing"),
    [
        pytest.param((5, 6, 7, 8), 8, (), Outcome.COMPLETE, None, id="all here"),
        pytest.param((5, 6, 7, 8), 20, (), Outcome.COMPLETE, None, id="all here and more"),
        pytest.param((), None, (), Outcome.WAITING, 5, id="nothing archived yet"),
        pytest.param((), 3, (), Outcome.WAITING, 5, id="archive behind the begin"),
        pytest.param((5, 6), 6, (), Outcome.WAITING, 7, id="the end is still to come"),
        pytest.param((5, 7), 7, (), Outcome.HOLE, 6, id="one was passed over"),
        pytest.param((5, 7), 7, (6,), Outcome.WAITING, 6, id="the one passed over is received"),
        pytest.param((), 9, (), Outcome.HOLE, 5, id="all passed over"),
        pytest.param((7,), 7, (5,), Outcome.HOLE, 6, id="one coming, one passed over"),
    ],
)
def test_verdict(present, newest, coming, outcome, missing):
    newest_name = None if newest is None else segment_name(1, newest, 16 * MIB)
    verdict = check_required(_record(5, 8), _names(*present), newest_name, coming=_names(*coming))
    assert verdict.outcome is outcome
    assert verdict.missing == (None if missing is None else segment_name(1, missing, 16 * MIB))


def test_segments_on_the_old_timeline_count_when_a_standby_followed_to_a_new_one():
    record = replace(_record(5, 7, timeline=2), begin_wal=segment_name(1, 5, 16 * MIB))
    present = _names(5, 6, timeline=1) | _names(7, timeline=2)
    assert check_required(record, present, segment_name(2, 7, 16 * MIB)).outcome is Outcome.COMPLETE


END = 8 * 16 * MIB + 0x100


def _histories(*paths):
    """Each path: (timeline, position) of the ancestors, then the timeline itself."""
    made = [TimelineHistory(path[-1], tuple(Branch(*each, "") for each in path[:-1])) for path in paths]
    return {history.timeline: history for history in made}


@pytest.mark.parametrize(
    ("paths", "timelines"),
    [
        pytest.param([], (), id="no history"),
        pytest.param([((1, END), 2)], (2,), id="forks at the end"),
        pytest.param([((1, END + 1), 2)], (2,), id="forks behind the end"),
        pytest.param([((1, END - 1), 2)], (), id="forks before the end"),
        pytest.param([((1, 9 * 16 * MIB), 2)], (), id="forks at the next segment, the own one is complete"),
        pytest.param([((1, 11 * 16 * MIB), 2)], (), id="forks in a later segment"),
        pytest.param([((1, END), 2), ((1, END + 8), 3)], (2, 3), id="two forks"),
        pytest.param([((1, END), (2, END + 8), 3)], (3,), id="two promotions in one segment"),
        pytest.param([((1, END), (2, 20 * 16 * MIB), 3)], (2,), id="another promotion later"),
        pytest.param([((4, END), 5)], (), id="another line"),
    ],
)
def test_the_first_segment_of_a_timeline_that_begins_behind_the_end_stands_in_for_the_last(paths, timelines):
    record = _record(5, 8, end_xlog=format_lsn(END))
    names = tuple(segment_name(timeline, 8, 16 * MIB) for timeline in timelines)
    assert stand_ins(record, _histories(*paths)) == names
    for name in names:
        others = _names(5, 6, 7)
        assert may_serve(name, record.begin_wal, record.end_wal)
        complete = check_required(record, {*others, name}, None, histories=_histories(*paths))
        assert complete.outcome is Outcome.COMPLETE
        assert check_required(record, {*others, name}, None).outcome is Outcome.WAITING


def test_nothing_stands_in_for_an_end_that_is_not_known():
    histories = _histories(((1, END), 2))
    for end in (None, "junk"):
        assert stand_ins(_record(5, 8, end_xlog=end), histories) == ()
    assert stand_ins(replace(_record(), end_wal=None), histories) == ()
    assert serving_names(replace(_record(), end_wal=None), histories) == ()


def test_only_the_last_segment_has_a_stand_in():
    record = _record(5, 8, end_xlog=format_lsn(END))
    stand_in = segment_name(2, 8, 16 * MIB)
    present = {*_names(5, 6), segment_name(2, 7, 16 * MIB), stand_in}
    verdict = check_required(record, present, segment_name(1, 6, 16 * MIB), histories=_histories(((1, END), 2)))
    assert verdict == (Verdict(Outcome.HOLE, segment_name(1, 7, 16 * MIB)))
    assert not may_serve(segment_name(2, 7, 16 * MIB), record.begin_wal, record.end_wal)


def test_a_stand_in_that_is_coming_is_waited_for():
    record = _record(5, 8, end_xlog=format_lsn(END))
    histories = _histories(((1, END), 2))
    coming = {segment_name(2, 8, 16 * MIB)}
    verdict = check_required(record, _names(5, 6, 7), segment_name(1, 20, 16 * MIB), coming=coming, histories=histories)
    assert verdict == Verdict(Outcome.WAITING, segment_name(1, 8, 16 * MIB))
    assert check_required(record, _names(5, 6, 7), segment_name(1, 20, 16 * MIB), histories=histories).outcome is (
        Outcome.HOLE
    )


def test_a_history_says_which_timeline_each_segment_is_needed_of():
    record = replace(_record(5, 8, timeline=3), begin_wal=segment_name(1, 5, 16 * MIB))
    histories = _histories(((1, 6 * 16 * MIB + 8), (2, 8 * 16 * MIB + 8), 3))
    needed = (segment_name(1, 5, 16 * MIB), *sorted(_names(6, 7, timeline=2)), segment_name(3, 8, 16 * MIB))
    assert serving_names(record, histories) == tuple((name,) for name in needed)
    assert check_required(record, set(needed), None, histories=histories).outcome is Outcome.COMPLETE
    assert all(may_serve(name, record.begin_wal, record.end_wal) for name in needed)


def test_what_a_backup_may_need_is_known_before_any_history_is():
    record = _record(5, 6, timeline=2)
    there = ["00000002.history", "00000003.history", segment_name(3, 5, 16 * MIB), segment_name(3, 6, 16 * MIB)]
    there += [f"{segment_name(2, 5, 16 * MIB)}.00000028.backup", f"{segment_name(2, 6, 16 * MIB)}.partial"]
    expected = [*sorted(_names(5, 6, timeline=2)), "00000003.history", segment_name(3, 6, 16 * MIB)]
    assert possible_names(record, there) == expected
    assert possible_names(replace(record, end_wal=None), there) == []


def test_the_old_timelines_segment_is_not_the_end_on_the_new_one():
    record = replace(_record(8, 8, timeline=2), begin_wal=segment_name(1, 8, 16 * MIB))
    old, new = segment_name(1, 8, 16 * MIB), segment_name(2, 8, 16 * MIB)
    assert check_required(record, {old}, None).outcome is Outcome.WAITING
    assert check_required(record, {new}, None).outcome is Outcome.COMPLETE


@pytest.mark.parametrize(
    ("fields", "worth_it"),
    [
        pytest.param({"status": Status.WAITING_FOR_WALS}, True, id="waiting"),
        pytest.param({"status": Status.FAILED, "error": f"{MISSING_WAL}000000010000000000000006"}, True, id="late WAL"),
        pytest.param({"status": Status.FAILED, "error": "failure copying files (x)"}, False, id="failed copy"),
        pytest.param({"status": Status.FAILED}, False, id="failed without a reason"),
        pytest.param({"status": Status.STARTED, "size": 1}, True, id="killed in the reference's --wait"),
        pytest.param({"status": Status.STARTED}, False, id="running"),
        pytest.param({"status": Status.DONE}, False, id="done"),
        pytest.param({"status": Status.EMPTY}, False, id="empty"),
    ],
)
def test_which_backups_are_worth_another_look(fields, worth_it):
    assert may_become_complete(_record(**fields)) is worth_it


def test_only_a_missing_file_is_a_failure_that_can_be_taken_back():
    assert has_failed_for_wal(_record(status=Status.FAILED, error=f"{MISSING_WAL}x"))
    assert not has_failed_for_wal(_record(status=Status.DONE, error=f"{MISSING_WAL}x"))


@given(
    size=st.sampled_from([1, 2, 16, 64, 1024]).map(lambda mib: mib * MIB),
    first=st.integers(0, 5000),
    count=st.integers(1, 40),
    data=st.data(),
)
def test_a_backup_is_complete_exactly_when_every_required_segment_is_present(size, first, count, data):
    record = _record(first, first + count - 1, segment_size=size)
    required = required_segments(record)
    present = data.draw(st.sets(st.sampled_from(required)))
    verdict = check_required(record, present, max(present, default=None))
    assert (verdict.outcome is Outcome.COMPLETE) == (present == set(required))
    assert len(required) == count
    if verdict.outcome is Outcome.HOLE:
        assert verdict.missing not in present
        assert verdict.missing < max(present)


@given(present=st.sets(st.integers(5, 8)), more=st.sets(st.integers(5, 8)))
def test_more_wal_never_takes_completeness_away(present, more):
    before = check_required(_record(5, 8), _names(*present), None)
    after = check_required(_record(5, 8), _names(*present, *more), None)
    assert before.outcome is not Outcome.COMPLETE or after.outcome is Outcome.COMPLETE
