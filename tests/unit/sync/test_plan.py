"""What a passive node has to do, by table."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from barman.catalog.record import BackupId, BackupRecord, KeepTarget, Status
from barman.catalog.xlog_lines import WalEntry
from barman.errors import Refused
from barman.retention.policy import parse_policy
from barman.sync.document import Position, PrimaryState
from barman.sync.plan import (
    COPY_FAILED,
    DAMAGED_THERE,
    CopyBackup,
    LocalState,
    is_seamless,
    judge_backup,
    plan_sync,
    require_same_cluster,
)
from tests.support.catalogs import BEGINNING, backup_id, label, segment

NOW = datetime(2026, 11, 21, tzinfo=timezone.utc)
HISTORY = "00000002.history"


def _backup(number, first=None, last=None, **fields):
    first = number * 10 if first is None else first
    defaults = {
        "status": Status.DONE,
        "begin_wal": segment(first),
        "end_wal": segment(first if last is None else last),
        "begin_time": BEGINNING + timedelta(days=number),
        "end_time": BEGINNING + timedelta(days=number, hours=1),
        "systemid": "1",
    }
    return BackupRecord(backup_id(number), **(defaults | fields))


def _wal(*names):
    return tuple(WalEntry(name, 16, 1.0) for name in names)


def _primary(*backups, wals=(), keeps=None):
    records = {record.backup_id: record for record in backups}
    return PrimaryState(records, _wal(*wals), Position("x", 1), "/base", "/wals", "/root", "4", keeps)


def _local(*backups, gone=(), keeps=None, **fields):
    records = {record.backup_id: record for record in backups}
    return LocalState(records, keeps or {}, frozenset(records).difference(gone), **fields)


def _plan(primary, local, before=None):
    return plan_sync(primary, before, local, NOW)


def _copied(plan):
    return [int(copy.backup_id[6:8]) - 1 for copy in plan.copies]


def test_nothing_is_to_be_done_when_all_is_here():
    backup = _backup(1)
    plan = _plan(_primary(backup), _local(backup))
    assert (plan.copies, plan.purges, plan.wal, plan.keeps) == ((), (), (), ())


def test_a_backup_that_is_damaged_on_the_primary_rests_an_hour_with_what_is_based_on_it():
    there = (_backup(1), _backup(2, parent_backup_id=backup_id(1)), _backup(3))
    error = f"{COPY_FAILED}2 files of backup {backup_id(1)} are {DAMAGED_THERE}: x, y"
    failed = _backup(1, status=Status.FAILED, error=error)

    def plan(age):
        return _plan(_primary(*there), _local(failed, _backup(3), failed_at={backup_id(1): NOW - age}))

    waiting = plan(timedelta(minutes=59))
    assert _copied(waiting) == [1, 2]
    assert waiting.due == ()
    assert set(waiting.resting.values()) == {NOW + timedelta(minutes=1)}
    assert not waiting.needs_whole_ledger
    for age in (timedelta(hours=1), timedelta(minutes=-5)):
        assert plan(age).due == plan(age).copies
        assert plan(age).needs_whole_ledger


def test_a_copy_that_failed_for_another_reason_is_tried_at_once():
    failed = _backup(1, status=Status.FAILED, error=f"{COPY_FAILED}no space left on device")
    plan = _plan(_primary(_backup(1)), _local(failed, failed_at={backup_id(1): NOW}))
    assert plan.due == plan.copies != ()


def test_backups_are_copied_newest_first():
    assert _copied(_plan(_primary(_backup(1), _backup(2), _backup(3)), _local(_backup(2)))) == [3, 1]


def test_a_backup_comes_after_what_it_is_based_on():
    chain = [_backup(1), *(_backup(number, parent_backup_id=backup_id(number - 1)) for number in (2, 3))]
    plan = _plan(_primary(*chain, _backup(4)), _local())
    assert _copied(plan) == [4, 1, 2, 3]
    # the root is wanted for its own sake, too
    assert plan.copies[1] == CopyBackup(backup_id(1), "it is not here")


def test_a_chain_that_bites_its_tail_ends_somewhere():
    first, second = _backup(1, parent_backup_id=backup_id(2)), _backup(2, parent_backup_id=backup_id(1))
    assert sorted(_copied(_plan(_primary(first, second), _local()))) == [1, 2]


@pytest.mark.parametrize(
    ("here", "reason"),
    [
        pytest.param({"status": Status.SYNCING}, "its copy was interrupted", id="interrupted"),
        pytest.param({"status": Status.STARTED}, "its copy was interrupted", id="started"),
        pytest.param({"status": Status.FAILED, "error": "x"}, "it failed here: x", id="failed"),
        pytest.param({"damage": "torn", "status": Status.EMPTY}, "its record here is damaged", id="damaged record"),
        pytest.param({"status": Status.DONE}, None, id="done"),
        pytest.param({"status": Status.WAITING_FOR_WALS}, None, id="waiting"),
        pytest.param({"status": Status.DONE, "doomed": True}, None, id="being deleted"),
    ],
)
def test_a_backup_that_is_here_in_some_way(here, reason):
    plan = _plan(_primary(_backup(1)), _local(_backup(1, **here)))
    assert [copy.reason for copy in plan.copies] == ([] if reason is None else [reason])


def test_a_backup_whose_files_are_gone_is_copied_again():
    plan = _plan(_primary(_backup(1)), _local(_backup(1), gone=[backup_id(1)]))
    assert [copy.reason for copy in plan.copies] == ["its files here are gone"]


def test_what_the_policy_here_calls_obsolete_is_not_copied():
    backups = [_backup(number) for number in (1, 2, 3)]
    plan = _plan(_primary(*backups), _local(policy=parse_policy("REDUNDANCY 2")))
    assert _copied(plan) == [3, 2]
    assert plan.skipped == {backup_id(1): "obsolete here: not among the newest 2"}


def test_what_is_kept_there_is_not_obsolete_here():
    backups = [_backup(number) for number in (1, 2, 3)]
    keeps = {backup_id(1): KeepTarget.STANDALONE}
    plan = _plan(_primary(*backups, keeps=keeps), _local(policy=parse_policy("REDUNDANCY 1")))
    assert _copied(plan) == [3, 1]


def test_what_the_primary_has_no_longer_stays():
    plan = _plan(_primary(_backup(2)), _local(_backup(1), _backup(2)))
    assert (plan.copies, plan.purges) == ((), ())


@pytest.mark.parametrize(
    ("fields", "purged"),
    [
        pytest.param({"status": Status.SYNCING}, True, id="interrupted copy"),
        pytest.param({"status": Status.FAILED, "error": f"{COPY_FAILED}x"}, True, id="failed copy"),
        pytest.param({"status": Status.FAILED, "error": "disk full"}, False, id="own backup that failed"),
        pytest.param({"status": Status.STARTED}, False, id="own backup that was killed"),
        pytest.param({"status": Status.SYNCING, "doomed": True}, False, id="being deleted"),
    ],
)
def test_leftovers_of_copies_that_cannot_become_complete_are_removed(fields, purged):
    plan = _plan(_primary(_backup(2)), _local(_backup(1, **fields), _backup(2)))
    assert [purge.backup_id for purge in plan.purges] == ([backup_id(1)] if purged else [])


def test_the_leftover_of_a_copy_that_became_obsolete_is_removed():
    local = _local(_backup(1, status=Status.SYNCING), _backup(2), policy=parse_policy("REDUNDANCY 1"))
    plan = _plan(_primary(_backup(1), _backup(2)), local)
    assert (plan.copies, [purge.backup_id for purge in plan.purges]) == ((), [backup_id(1)])


# WAL


def test_wal_of_the_newest_backup_comes_first_and_history_before_all():
    names = [segment(number) for number in (10, 11, 20, 21)]
    plan = _plan(_primary(_backup(1), _backup(2), wals=[*names, label(10), HISTORY]), _local())
    assert [[entry.name for entry in part.entries] for part in plan.wal] == [
        [HISTORY],
        [segment(20), segment(21)],
        [segment(10), label(10), segment(11)],
    ]


def test_wal_that_no_backup_here_needs_is_not_fetched():
    names = [segment(number) for number in (10, 15, 20)]
    local = _local(policy=parse_policy("REDUNDANCY 1"))
    plan = _plan(_primary(_backup(1), _backup(2), wals=names), local)
    assert [entry.name for part in plan.wal for entry in part.entries] == [segment(20)]


def test_of_a_backup_that_stands_alone_only_its_own_wal_is_fetched():
    names = [segment(number) for number in (10, 11, 12, 20)]
    keeps = {backup_id(1): KeepTarget.STANDALONE}
    local = _local(policy=parse_policy("REDUNDANCY 1"))
    plan = _plan(_primary(_backup(1, 10, 11), _backup(2), wals=names, keeps=keeps), local)
    assert [entry.name for part in plan.wal for entry in part.entries] == [segment(20), segment(10), segment(11)]


def test_without_any_backup_no_wal_is_fetched():
    assert _plan(_primary(wals=[segment(1)]), _local()).wal == ()


@pytest.mark.parametrize(
    ("missing", "needs"),
    [
        pytest.param(3, False, id="newer than what is here"),
        pytest.param(1, True, id="older than what is here"),
    ],
)
def test_an_older_backup_needs_wal_that_was_passed_by(missing, needs):
    backups = [_backup(number) for number in (1, 2, 3)]
    local = _local(*(backup for backup in backups if backup.backup_id != backup_id(missing)))
    assert _plan(_primary(*backups), local).needs_whole_ledger is needs


# Keep marks


FULL, ALONE = KeepTarget.FULL, KeepTarget.STANDALONE


@pytest.mark.parametrize(
    ("was", "there", "here", "becomes"),
    [
        pytest.param(None, FULL, None, FULL, id="kept there"),
        pytest.param(FULL, ALONE, FULL, ALONE, id="kept otherwise there"),
        pytest.param(FULL, None, FULL, None, id="released there"),
        pytest.param(FULL, FULL, None, "same", id="released here"),
        pytest.param(None, None, FULL, "same", id="kept here"),
        pytest.param(None, FULL, ALONE, "same", id="kept on both sides, differently"),
        pytest.param(FULL, None, ALONE, "same", id="released there, changed here"),
        pytest.param(FULL, None, None, "same", id="released on both sides"),
    ],
)
def test_a_mark_follows_the_primary_s_unless_it_was_changed_here(was, there, here, becomes):
    def marks(target):
        return {} if target is None else {backup_id(1): target}

    backup = _backup(1)
    plan = _plan(_primary(backup, keeps=marks(there)), _local(backup, keeps=marks(here)), _primary(keeps=marks(was)))
    assert [mark.target for mark in plan.keeps] == ([] if becomes == "same" else [becomes])


def test_marks_that_are_not_known_change_nothing():
    backup = _backup(1)
    keeps = {backup_id(1): FULL}
    assert _plan(_primary(backup), _local(backup, keeps=keeps), _primary(keeps=keeps)).keeps == ()


def test_incremental_and_incomplete_backups_get_no_mark():
    waiting = _backup(1, status=Status.WAITING_FOR_WALS)
    assert _plan(_primary(waiting, keeps={backup_id(1): FULL}), _local(waiting), None).keeps == ()


# By name


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        pytest.param(9, "the primary has no backup", id="unknown"),
        pytest.param(2, "is based on", id="without its parent"),
        pytest.param(3, "is being deleted here", id="being deleted"),
    ],
)
def test_a_backup_that_cannot_be_copied_is_refused(asked, reason):
    primary = _primary(_backup(1), _backup(2, parent_backup_id=backup_id(1)), _backup(3))
    with pytest.raises(Refused, match=reason):
        judge_backup(primary, _local(_backup(3, doomed=True)), backup_id(asked))


def test_a_backup_that_is_here_needs_no_copy():
    primary, local = _primary(_backup(1), _backup(2)), _local(_backup(1))
    assert judge_backup(primary, local, backup_id(1)) is None
    assert judge_backup(primary, local, backup_id(2)) == "it is not here"


@pytest.mark.parametrize(
    ("local", "refused"),
    [
        pytest.param(_local(), False, id="nothing here"),
        pytest.param(_local(_backup(1)), False, id="the same"),
        pytest.param(_local(_backup(1), _backup(2, systemid="2")), False, id="upgraded on the way"),
        pytest.param(_local(_backup(1, systemid="2")), True, id="another"),
        pytest.param(_local(system_id="2"), True, id="another, without backups"),
        pytest.param(_local(_backup(1, systemid=None)), False, id="unknown here"),
    ],
)
def test_another_cluster_is_refused(local, refused):
    primary = _primary(_backup(3))
    if refused:
        with pytest.raises(Refused, match="another cluster"):
            require_same_cluster(primary, local, "main")
    else:
        require_same_cluster(primary, local, "main")
        require_same_cluster(_primary(), local, "main")


@pytest.mark.parametrize(
    ("position", "lengths", "known_length", "seamless"),
    [
        pytest.param(Position("a", 100), [], None, True, id="nothing new"),
        pytest.param(Position("a", 80), [], None, False, id="nothing new, but elsewhere"),
        pytest.param(Position("c", 150), [20, 20], 30, True, id="two more"),
        pytest.param(Position("c", 190), [20, 20], 30, False, id="something in between"),
        pytest.param(Position("c", 150), [20, 20], None, False, id="the known line is not known here"),
    ],
)
def test_an_answer_is_taken_only_if_nothing_is_left_out(position, lengths, known_length, seamless):
    names = ["b", "c"][: len(lengths)]
    answer = PrimaryState({}, _wal(*names), position, "", "", "")
    assert is_seamless(Position("a", 100), answer, lengths, known_length) is seamless


def test_backup_ids_of_these_tests_count_from_the_second_of_november():
    assert backup_id(1) == BackupId("20261102T000000")


def test_an_obsolete_backup_comes_with_its_wal_if_what_is_wanted_is_based_on_it():
    waiting = _backup(2, parent_backup_id=backup_id(1), status=Status.WAITING_FOR_WALS)
    primary = _primary(_backup(1), waiting, _backup(3), wals=[segment(10), segment(20), segment(30)])
    plan = _plan(primary, _local(policy=parse_policy("REDUNDANCY 0")))
    assert _copied(plan) == [1, 2]
    assert backup_id(1) not in plan.skipped
    assert segment(10) in [entry.name for part in plan.wal for entry in part.entries]
