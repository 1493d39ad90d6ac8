"""Which holes of the archive matter, and how they are told."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from barman.catalog.record import BackupId, BackupRecord, KeepTarget, Status
from barman.postgres.timelines import Branch, TimelineHistory
from barman.postgres.wal_names import segment_name
from barman.postgres.wal_runs import collect_runs
from barman.wal.gaps import (
    PATIENCE,
    describe_gaps,
    find_gaps,
    find_windows,
    judge_gaps,
    reach_of,
    starts_of,
)

MIB = 1 << 20
SIZE = 16 * MIB
NOW = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
# Timeline 2 leaves timeline 1 within segment 6.
SECOND = TimelineHistory(2, (Branch(1, 6 * SIZE + 100, "promoted"),))


def _name(number, timeline=1):
    return segment_name(timeline, number, SIZE)


def _runs(*numbers, second=()):
    return collect_runs([*map(_name, numbers), *(_name(number, 2) for number in second)], SIZE)


def _backup(day, first, last, *, timeline=1, **fields):
    stated = {
        "status": Status.DONE,
        "begin_wal": _name(first, timeline),
        "end_wal": _name(last, timeline),
        "end_xlog": f"0/{last * SIZE + 0x100:X}",
        "timeline": timeline,
    }
    return BackupRecord(BackupId(f"202611{day:02}T000000"), **{**stated, **fields})


def test_a_backup_that_ends_where_a_timeline_begins_is_recovered_along_that_without_a_hole():
    forked = {2: TimelineHistory(2, (Branch(1, 6 * SIZE + 0x100, ""),))}
    runs = _runs(4, 5, second=(6, 7))
    record = _backup(1, 5, 6)
    assert find_gaps(runs, forked, SIZE) == ()
    [*_, reach] = reach_of(starts_of([record], {})[0], runs, forked, (), SIZE)
    assert (reach.path.timeline, reach.last, reach.gap) == (2, 7, None)
    [window] = find_windows(starts_of([record], {}), runs, forked, SIZE)
    assert (window.timeline, window.start_lsn, window.last) == (2, 6 * SIZE + 0x100, _name(7, 2))


def _judge(runs, *records, histories=None, keeps=None, came=None):
    histories = histories or {}
    return judge_gaps(
        find_gaps(runs, histories, SIZE),
        starts_of(records, keeps or {}),
        histories,
        newest_timeline=max(runs),
        came=came or {},
        now=NOW,
    )


def _told(findings):
    return [(str(finding.gap), finding.backups, finding.is_open) for finding in findings]


ONE, TWO, THREE = _backup(1, 2, 3), _backup(2, 5, 5), _backup(3, 9, 9)


def test_a_hole_stops_the_backups_in_front_of_it():
    assert _told(_judge(_runs(2, 3, 4, 5, 6, 8, 9), ONE, TWO)) == [
        (_name(7), (ONE.backup_id, TWO.backup_id), True),
    ]


def test_a_hole_is_no_longer_open_when_a_backup_was_taken_behind_it():
    assert _told(_judge(_runs(2, 3, 4, 8, 9), ONE, THREE)) == [
        (f"{_name(5)} to {_name(7)}", (ONE.backup_id,), False),
    ]


def test_the_beginning_of_the_archive_and_holes_in_front_of_all_backups_are_none():
    assert _judge(_runs(1, 5, 6, 7), TWO) == []


def test_without_backups_nothing_is_lost():
    assert _judge(_runs(1, 5, 6, 7)) == []


def test_a_backup_that_is_no_backup_loses_nothing():
    assert _judge(_runs(2, 3, 5), _backup(1, 2, 3, status=Status.FAILED)) == []


def test_what_retention_leaves_out_behind_a_backup_kept_alone_is_no_hole():
    alone = {ONE.backup_id: KeepTarget.STANDALONE}
    assert _judge(_runs(2, 3, 5, 6), ONE, TWO, keeps=alone) == []
    assert _told(_judge(_runs(2, 5, 6), ONE, TWO, keeps=alone)) == [
        (f"{_name(3)} to {_name(4)}", (ONE.backup_id,), False)
    ]


def test_a_backup_kept_alone_does_not_lead_around_a_hole():
    findings = _judge(_runs(2, 3, 8, 9), ONE, THREE, keeps={THREE.backup_id: KeepTarget.STANDALONE})
    assert _told(findings) == [(f"{_name(4)} to {_name(7)}", (ONE.backup_id,), True)]


@pytest.mark.parametrize(("age", "counts"), [(PATIENCE - timedelta(seconds=1), False), (PATIENCE, True)])
def test_a_segment_may_overtake_others_for_a_while(age, counts):
    findings = _judge(_runs(2, 3, 5), ONE, came={_name(5): NOW - age})
    assert bool(findings) is counts
    assert [finding.since for finding in findings] == [NOW - age] * counts


def test_a_hole_may_begin_on_one_timeline_and_end_on_the_next():
    findings = _judge(_runs(2, 3, 4, second=[8]), ONE, histories={2: SECOND})
    assert _told(findings) == [(f"{_name(5)} to {_name(7, 2)}", (ONE.backup_id,), True)]
    assert findings[0].gap.files == 3


def test_the_segment_of_a_switch_is_that_of_the_new_timeline():
    assert _told(_judge(_runs(2, 3, 4, 5, 6, second=[7]), ONE, histories={2: SECOND})) == [
        (_name(6, 2), (ONE.backup_id,), True)
    ]


def test_a_hole_of_an_abandoned_timeline_is_not_open():
    findings = _judge(_runs(2, 3, 4, 5, 7, second=[6, 7]), ONE, histories={2: SECOND})
    assert _told(findings) == [(_name(6), (ONE.backup_id,), False)]


def test_a_hole_that_two_timelines_share_is_told_once():
    findings = _judge(_runs(2, 3, 5, 6, second=[6]), ONE, histories={2: SECOND})
    assert [finding.gap.timelines for finding in findings] == [(1, 2)]


def test_recovery_reaches_the_hole_on_each_timeline():
    runs, histories = _runs(2, 3, 4, 5, 6, second=[6, 8]), {2: SECOND}
    gaps = find_gaps(runs, histories, SIZE)
    (start,) = starts_of([ONE], {})
    reached = [(reach.path.timeline, reach.last, reach.gap) for reach in reach_of(start, runs, histories, gaps, SIZE)]
    assert reached == [(1, 6, None), (2, 6, gaps[0])]


def test_windows_of_backups_that_touch_are_one_and_a_hole_parts_them():
    windows = find_windows(starts_of([ONE, TWO, THREE], {}), _runs(*range(2, 7), 9, 10), {}, SIZE)
    assert [(window.start_lsn, window.end_lsn, window.backups, window.last) for window in windows] == [
        (3 * SIZE + 0x100, 7 * SIZE, (ONE.backup_id, TWO.backup_id), _name(6)),
        (9 * SIZE + 0x100, 11 * SIZE, (THREE.backup_id,), _name(10)),
    ]
    assert windows[0].gap is not None
    assert windows[1].gap is None


def test_a_window_of_a_later_timeline_begins_with_the_segment_in_which_it_branched_off():
    windows = find_windows(starts_of([ONE], {}), _runs(*range(2, 6), second=[6, 7]), {2: SECOND}, SIZE)
    assert [(window.timeline, window.start_lsn, window.from_backup) for window in windows] == [
        (1, 3 * SIZE + 0x100, True),
        (2, 6 * SIZE, False),
    ]


def test_a_record_that_contradicts_itself_is_left_out():
    odd = [
        _backup(1, 2, 3, begin_wal=None),
        _backup(2, 2, 3, xlog_segment_size=1 << 30, end_wal="0000000100000000000000FF"),
        _backup(3, 2, 3, end_xlog="nonsense"),
    ]
    assert starts_of(odd, {}) == []


def test_where_a_backup_does_not_say_its_end_exactly_it_is_the_end_of_the_segment():
    assert starts_of([_backup(1, 2, 3, end_xlog=None)], {})[0].end_lsn == 4 * SIZE


def test_the_holes_are_told_in_one_line():
    came = {_name(number): NOW - timedelta(days=1) for number in (4, 6, 8, 10)}
    findings = _judge(_runs(2, 4, 6, 8, 10), _backup(1, 2, 2), _backup(2, 4, 4), came=came)
    assert describe_gaps([]) == ""
    assert describe_gaps(findings[:1]).endswith(f": {_name(3)}; this stops recovery from backup 20261101T000000")
    assert describe_gaps(findings[:1]).startswith("1 WAL file missing since 2026-11-2")
    assert describe_gaps(findings).startswith("4 WAL files missing since 2026-11-2")
    assert describe_gaps(findings).endswith(
        f": {_name(3)}, {_name(5)}, {_name(7)}, …; this stops recovery from 2 backups, the last of them 20261102T000000"
    )
