"""What may be deleted: backups and WAL, with reasons."""

from __future__ import annotations

import pytest

from barman.catalog.record import BackupId, BackupRecord, KeepTarget, Status
from barman.errors import Refused
from barman.retention.plan import (
    WalNeeds,
    concerns_wal,
    plan_deletion,
    plan_enforcement,
    plan_needs,
    plan_wal_removal,
)
from barman.retention.policy import Verdict, Word
from barman.wal.needs import MISSING_WAL


def segment(number, timeline=1):
    return f"{timeline:08X}{0:08X}{number:08X}"


def backup(number, begin=None, end=None, status=Status.DONE, **fields):
    first = begin if isinstance(begin, str) or begin is None else segment(begin)
    last = end if isinstance(end, str) or end is None else segment(end)
    return BackupRecord(
        BackupId(f"2026110{number}T000000"), status=status, begin_wal=first, end_wal=last or first, **fields
    )


def catalog(*backups):
    return {record.backup_id: record for record in backups}


def ids(plan):
    return [int(deletion.backup_id[7]) for deletion in plan]


def delete(records, number, keeps=None, minimum=0):
    marks = {f"2026110{one}T000000": target for one, target in (keeps or {}).items()}
    return plan_deletion(records, [BackupId(f"2026110{number}T000000")], marks, minimum_redundancy=minimum)


TREE = catalog(
    backup(1), backup(2, parent_backup_id="20261101T000000"), backup(3, parent_backup_id="20261102T000000"), backup(4)
)


def test_a_backup_goes_with_what_is_based_on_it_leaves_first():
    plan = delete(TREE, 1)

    assert ids(plan) == [3, 2, 1]
    assert plan[0].reason == "based on 20261101T000000"
    assert plan[-1].reason == "asked for"


@pytest.mark.parametrize(("number", "minimum", "refused"), [(4, 1, False), (4, 2, True), (1, 2, True), (2, 5, False)])
def test_minimum_redundancy_is_kept_but_incrementals_do_not_count(number, minimum, refused):
    if refused:
        with pytest.raises(Refused, match="minimum redundancy requires 2 backups, there are 2"):
            delete(TREE, number, minimum=minimum)
    else:
        assert delete(TREE, number, minimum=minimum)


def test_several_go_at_once_each_before_what_it_is_based_on():
    plan = plan_deletion(TREE, sorted(TREE)[:3], {}, minimum_redundancy=1)

    assert ids(plan) == [3, 2, 1]


def test_minimum_redundancy_counts_all_that_would_go():
    three = catalog(backup(1), backup(2), backup(3))

    assert ids(plan_deletion(three, sorted(three)[:2], {}, minimum_redundancy=1)) == [1, 2]
    with pytest.raises(Refused, match=r"20261101T000000, 20261102T000000 .* requires 2 backups, there are 3"):
        plan_deletion(three, sorted(three)[:2], {}, minimum_redundancy=2)


def test_backups_that_are_not_done_can_always_go():
    records = catalog(backup(1, status=Status.FAILED), backup(2))

    assert ids(delete(records, 1, minimum=9)) == [1]


def test_a_kept_backup_is_refused():
    with pytest.raises(Refused, match=r"20261101T000000 is kept by a keep mark \(full\)"):
        delete(TREE, 1, {1: KeepTarget.FULL})


def test_a_kept_backup_protects_what_it_is_based_on():
    with pytest.raises(Refused, match="20261102T000000 is kept"):
        delete(TREE, 1, {2: KeepTarget.STANDALONE})


def test_a_begun_deletion_is_always_finished():
    records = catalog(backup(1, doomed=True))

    assert ids(delete(records, 1, {1: KeepTarget.FULL}, minimum=3)) == [1]


def enforce(records, obsolete, keeps=None):
    words = {
        backup_id: Verdict(Word.OBSOLETE if int(backup_id[7]) in obsolete else Word.VALID, "because")
        for backup_id in records
    }
    return plan_enforcement(records, {f"2026110{one}T000000": KeepTarget.FULL for one in keeps or ()}, words)


def test_the_policy_takes_the_oldest_first_but_leaves_before_roots():
    assert ids(enforce(TREE, {1, 2, 3, 4})) == [3, 2, 1, 4]
    assert ids(enforce(TREE, {4})) == [4]
    assert enforce(TREE, set()) == []


def test_a_chain_of_which_one_backup_is_kept_stays():
    assert ids(enforce(TREE, {1, 4}, keeps={3})) == [4]


def test_begun_deletions_come_first_with_what_is_based_on_them():
    records = {**TREE, **catalog(backup(1, doomed=True))}

    plan = enforce(records, {4})

    assert ids(plan) == [3, 2, 1, 4]
    assert "its deletion has begun" in plan[0].reason


@pytest.mark.parametrize(
    ("older", "keep", "by_hand", "concerned"),
    [
        pytest.param(None, None, True, True, id="oldest"),
        pytest.param(backup(1, 2), None, False, False, id="older backup"),
        pytest.param(backup(1, 2, status=Status.FAILED), None, False, True, id="older one failed"),
        pytest.param(backup(1, 2), KeepTarget.STANDALONE, False, True, id="older one needs only itself"),
        pytest.param(backup(1, 2), KeepTarget.STANDALONE, True, False, id="by hand nothing is thought of that"),
        pytest.param(backup(1, 2), KeepTarget.FULL, False, False, id="older one kept with its WAL"),
        pytest.param(backup(1, 2, doomed=True), None, False, True, id="older one is being deleted"),
    ],
)
def test_wal_goes_only_when_no_older_backup_needs_it(older, keep, by_hand, concerned):
    record = backup(5, 9)
    records = catalog(*([older] if older else []), record)
    keeps = {older.backup_id: keep} if keep else {}

    assert concerns_wal(records, keeps, record, by_hand=by_hand) is concerned


def removed(names, records, keeps=None, leaving=None):
    marks = {f"2026110{one}T000000": target for one, target in (keeps or {}).items()}
    return plan_wal_removal(names, plan_needs(records, marks, leaving=leaving))


ALL = [segment(number) for number in range(1, 13)]


def test_wal_before_the_oldest_surviving_backup_goes():
    leaving = backup(1, 3)
    records = catalog(leaving, backup(2, 6), backup(3, 9))

    assert removed(ALL, records, leaving=leaving) == ALL[:5]


def test_exactly_what_precedes_goes_up_to_the_last_segment_of_a_directory():
    last, first = "0000000100000000000000FF", "000000010000000100000000"
    names = [segment(number) for number in range(256)] + [f"{last}.00000028.backup", first]
    records = catalog(backup(2, last, first))

    assert removed(names, records) == [segment(number) for number in range(255)]


def test_labels_and_partial_segments_go_with_their_segment_and_history_stays():
    names = [f"{segment(3)}.00000028.backup", f"{segment(6)}.00000028.backup", f"{segment(3)}.partial"]
    histories = ["00000001.history", "00000002.history"]

    assert removed([*names, *histories], catalog(backup(2, 6))) == [names[0], names[2]]


@pytest.mark.parametrize(
    ("status", "error", "protects"),
    [
        (Status.DONE, None, True), (Status.WAITING_FOR_WALS, None, True), (Status.STARTED, None, True),
        (Status.SYNCING, None, True), (Status.EMPTY, None, True), (Status.FAILED, "failure copying files", False),
        (Status.FAILED, f"{MISSING_WAL}{segment(4)}", True),
    ],
)  # fmt: skip
def test_every_backup_that_may_be_restored_protects_its_wal(status, error, protects):
    records = catalog(backup(2, 4, status=status, error=error), backup(3, 8))

    assert removed(ALL, records) == (ALL[:3] if protects else ALL[:7])


def test_a_backup_kept_for_itself_protects_its_own_range_only():
    records = catalog(backup(1, 2, 4), backup(3, 9))

    assert removed(ALL, records, {1: KeepTarget.STANDALONE}) == [segment(n) for n in (1, 5, 6, 7, 8)]
    assert removed(ALL, records, {1: KeepTarget.FULL}) == [segment(1)]


def test_a_standalone_range_covers_both_timelines_of_a_backup_that_saw_a_switch():
    records = catalog(backup(1, segment(2, 1), segment(4, 2)), backup(3, segment(9, 2)))
    names = [segment(n, timeline) for timeline in (1, 2) for n in (1, 3, 5)]

    assert removed(names, records, {1: KeepTarget.STANDALONE}) == [
        segment(1, 1), segment(5, 1), segment(1, 2), segment(5, 2),
    ]  # fmt: skip


def test_a_standalone_range_covers_its_last_segment_on_newer_timelines():
    records = catalog(backup(1, 2, 4), backup(3, segment(9, 3)))
    names = [segment(n, timeline) for timeline in (1, 2, 3) for n in (3, 4, 5)]

    assert removed(names, records, {1: KeepTarget.STANDALONE}) == [
        segment(5, 1), segment(3, 2), segment(5, 2), segment(3, 3), segment(5, 3),
    ]  # fmt: skip


def test_timelines_above_stay_whole():
    names = [segment(2, 1), segment(2, 2), segment(2, 3)]

    assert removed(names, catalog(backup(1, segment(9, 2)))) == [segment(2, 1), segment(2, 2)]


def test_the_last_backup_leaves_the_wal_since_its_begin():
    leaving = backup(1, 5)

    assert removed(ALL, catalog(leaving), leaving=leaving) == ALL[:4]


def test_a_backup_that_failed_before_it_knew_its_begin_removes_nothing():
    leaving = backup(1, status=Status.FAILED)

    assert removed(ALL, catalog(leaving), leaving=leaving) == []
    assert removed(ALL, catalog(leaving)) == []
    assert removed(ALL, {}) == []


def test_nothing_goes_while_a_record_cannot_be_read():
    damaged = BackupRecord(BackupId("20261101T000000"), damage="torn")
    records = catalog(damaged, backup(2, 6))

    needs = plan_needs(records, {})

    assert needs.since is None
    assert "20261101T000000 cannot be read" in needs.reason
    assert removed(ALL, records) == []
    assert removed(ALL, records, leaving=damaged) == ALL[:5]


def test_nothing_goes_while_a_complete_backup_does_not_say_where_its_wal_begins():
    needs = plan_needs(catalog(backup(1), backup(2, 5)), {})

    assert needs.since is None
    assert plan_wal_removal([segment(1)], needs) == []
    assert "20261101T000000 does not say" in needs.reason


def test_backups_being_deleted_need_nothing():
    assert removed(ALL, catalog(backup(1, 2, doomed=True), backup(2, 6))) == ALL[:5]


def test_what_is_no_wal_stays():
    assert plan_wal_removal(["zzz", "0junk"], WalNeeds(segment(5), (), "")) == []
