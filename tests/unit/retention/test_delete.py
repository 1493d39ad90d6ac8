"""Deleting, on catalogues made by hand: by the policy, by hand, after a crash, against the operator's will."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from datetime import timedelta

import pytest

from barman.catalog.record import KeepTarget, Status
from barman.errors import ConfigError, HookAborted, LockBusy, Refused, StorageError, UnknownBackup
from barman.progress import LogReporter
from barman.retention.delete import delete_backups, enforce, purge_before_first_backup
from barman.retention.judge import server_verdicts
from barman.retention.keep import keep_backup, release_backup
from barman.retention.plan import Deletion
from barman.retention.preview import preview_by_hand, preview_by_policy
from barman.retention.remove import remove_backups
from barman.server import open_server
from tests.support.catalogs import BEGINNING, HISTORY, HandMade, backup_id, label, segment
from tests.support.settings import load_text

NOW = BEGINNING + timedelta(days=30)
FIRST, SECOND, THIRD = backup_id(1), backup_id(2), backup_id(3)
ALL_WAL = [segment(1), segment(2), label(2), *(segment(number) for number in range(3, 13)), HISTORY]


class Listener(LogReporter):
    """Remembers what it was told."""

    def __init__(self):
        self.told = []

    def info(self, message):
        self.told.append(message)

    def warning(self, message):
        self.told.append(f"WARNING: {message}")

    def error(self, message):
        self.told.append(f"ERROR: {message}")


@pytest.fixture
def reporter():
    return Listener()


@pytest.fixture
def catalog(tmp_path):
    made = HandMade(tmp_path / "home" / "main")
    made.make_directories()
    made.add_backup(1, 2, 3)
    made.add_backup(2, 5, 5)
    made.add_backup(3, 8, 9)
    made.add_wal(ALL_WAL)
    return made


@pytest.fixture
def open_main(tmp_path, catalog):
    def open_main(**options):
        lines = [f"{name} = {value}" for name, value in {"conninfo": "dbname=x", "archiver": "on", **options}.items()]
        return open_server(load_text(tmp_path, "[main]\n" + "\n".join(lines)), "main")

    return open_main


@pytest.fixture
def server(open_main):
    return open_main()


def after(number):
    """WAL names from segment number on, and the history file."""
    return sorted([segment(one) for one in range(number, 13)] + [HISTORY])


def test_a_deleted_backup_is_gone_with_the_wal_only_it_needed(catalog, server, reporter):
    delete_backups(server, [FIRST], reporter)

    assert sorted(catalog.backups.load()) == [SECOND, THIRD]
    assert not catalog.paths.backup_dir(FIRST).exists()
    assert sorted(path.name for path in catalog.paths.meta.iterdir()) == [
        f"{SECOND}-backup.info", f"{THIRD}-backup.info",
    ]  # fmt: skip
    assert catalog.archived() == sorted(catalog.listed()) == after(5)
    assert reporter.told[0] == f"Deleting backup {FIRST} for server main"
    assert reporter.told[1:4] == ["Delete associated WAL segments:", f"\t{segment(1)}", f"\t{segment(2)}"]
    assert f"\t{label(2)}" in reporter.told
    assert reporter.told[-1].startswith(f"Deleted backup {FIRST} (start time: ")
    assert list((catalog.directory.parent).glob(f".main-{FIRST}.lock")) == []


def test_a_backup_in_the_middle_takes_no_wal_with_it(catalog, server, reporter):
    delete_backups(server, [SECOND], reporter)

    assert catalog.archived() == sorted(ALL_WAL)
    assert "Delete associated WAL segments:" not in reporter.told


def test_the_last_backup_leaves_the_wal_since_its_begin(catalog, server, reporter):
    for one in (SECOND, THIRD, FIRST):
        delete_backups(server, [one], reporter)

    assert catalog.backups.load() == {}
    assert catalog.archived() == sorted(catalog.listed()) == sorted(set(after(2)) | {label(2)})


def test_a_chain_goes_leaves_first(catalog, server, reporter):
    catalog.add_backup(4, 10, 10, parent_backup_id=THIRD)
    catalog.add_backup(5, 11, 11, parent_backup_id=backup_id(4))

    delete_backups(server, [THIRD], reporter)

    deleted = [line.split()[2] for line in reporter.told if line.startswith("Deleting")]
    assert deleted == [backup_id(5), backup_id(4), THIRD]
    assert reporter.told[0].startswith("WARNING: ")
    assert sorted(catalog.backups.load()) == [FIRST, SECOND]


def test_the_parents_record_forgets_the_child(catalog, server, reporter):
    catalog.add_backup(4, 10, 10, parent_backup_id=THIRD)
    server.backups.save(server.backups.get(THIRD))
    assert backup_id(4) in catalog.paths.record_file(THIRD).read_text()

    delete_backups(server, [backup_id(4)], reporter)

    assert "children_backup_ids=None\n" in catalog.paths.record_file(THIRD).read_text()


def test_the_next_rsync_backup_learns_what_is_its_own_now(catalog, server, reporter):
    record = replace(catalog.backups.get(SECOND), mode="rsync-concurrent", size=1, deduplicated_size=0)
    catalog.write_record(record)
    shared = catalog.paths.data_dir(SECOND) / "PG_VERSION"
    shared.unlink()
    shared.hardlink_to(catalog.paths.data_dir(FIRST) / "PG_VERSION")
    (catalog.paths.data_dir(SECOND) / "link").symlink_to("/nowhere")

    delete_backups(server, [FIRST], reporter)

    size = sum(len(content) for content in catalog.files_of(SECOND).values())
    updated = catalog.backups.get(SECOND)
    assert (updated.size, updated.deduplicated_size) == (size, size)


def test_several_backups_go_with_one_command(catalog, server, reporter):
    delete_backups(server, [SECOND, FIRST, SECOND], reporter)

    assert sorted(catalog.backups.load()) == [THIRD]
    assert catalog.archived() == sorted(catalog.listed()) == after(8)
    assert reporter.told.count("Delete associated WAL segments:") == 1


def test_several_backups_go_one_after_the_other_where_scripts_watch(catalog, open_main, reporter, tmp_path):
    log = tmp_path / "log"
    say = f"echo $BARMAN_PHASE $BARMAN_BACKUP_ID >> {log}"
    server = open_main(pre_delete_script=say, post_delete_retry_script=say)

    delete_backups(server, [FIRST, SECOND], reporter)

    assert log.read_text().splitlines() == [f"pre {FIRST}", f"post {FIRST}", f"pre {SECOND}", f"post {SECOND}"]


def test_none_of_several_goes_when_one_is_refused(catalog, open_main, reporter):
    server = open_main(minimum_redundancy=2)
    with pytest.raises(Refused):
        delete_backups(server, [FIRST, SECOND], reporter)
    with pytest.raises(UnknownBackup):
        delete_backups(server, [FIRST, backup_id(9)], reporter)
    keep_backup(server, catalog.backups.get(SECOND), KeepTarget.FULL)
    with pytest.raises(Refused):
        delete_backups(open_main(), [FIRST, SECOND], reporter)

    assert len(catalog.backups.load()) == 3


def test_one_of_several_in_use_does_not_spare_the_others(catalog, server, reporter):
    with server.locks.lease(FIRST, "restoring"), pytest.raises(LockBusy, match=f"restoring backup {FIRST}"):
        delete_backups(server, [FIRST, SECOND], reporter)

    assert sorted(catalog.backups.load()) == [FIRST, THIRD]
    assert catalog.archived() == sorted(ALL_WAL)


def test_a_chain_of_which_one_backup_is_in_use_loses_only_what_is_based_on_that(catalog, server, reporter):
    catalog.add_backup(4, 10, 10, parent_backup_id=THIRD)
    catalog.add_backup(5, 11, 11, parent_backup_id=backup_id(4))

    with server.locks.lease(backup_id(4), "verifying"), pytest.raises(LockBusy):
        delete_backups(server, [THIRD], reporter)

    assert sorted(catalog.backups.load()) == [FIRST, SECOND, THIRD, backup_id(4)]
    assert f"WARNING: backup {THIRD} is not deleted: one that is based on it could not be" in reporter.told


def test_what_a_deletion_would_do_is_what_it_does(catalog, server, reporter):
    foreseen = preview_by_hand(server, [FIRST, SECOND], NOW)

    assert [deletion.backup_id for deletion, _ in foreseen.deletions] == [FIRST, SECOND]
    assert len(catalog.backups.load()) == 3
    delete_backups(server, [FIRST, SECOND], reporter)
    told = [line.strip() for line in reporter.told if line.startswith("\t")]
    assert (foreseen.wal.files, foreseen.wal.first, foreseen.wal.last) == (len(told), told[0], told[-1])
    assert foreseen.wal.reason == f"backup {THIRD} begins there"
    assert preview_by_hand(server, [THIRD], NOW).wal.files == 0


def test_unknown_backups_are_told(server, reporter):
    with pytest.raises(UnknownBackup, match="main"):
        delete_backups(server, [backup_id(9)], reporter)


def test_a_backup_that_went_away_meanwhile_is_told(catalog, server, reporter):
    records = server.backups.load()
    catalog.paths.record_file(FIRST).unlink()

    wanted = [Deletion(FIRST, "old"), Deletion(SECOND, "old")]
    removal = remove_backups(server, records, wanted, reporter, now=NOW, by_hand=False)

    assert removal.removed == (SECOND,)
    ((_, error),) = removal.failed
    assert isinstance(error, UnknownBackup)
    assert "was deleted by another process" in error.message


def test_a_kept_backup_and_the_last_ones_are_refused(catalog, open_main, reporter):
    server = open_main(minimum_redundancy=3)
    keep_backup(server, catalog.backups.get(FIRST), KeepTarget.FULL)

    with pytest.raises(Refused, match="kept"):
        delete_backups(server, [FIRST], reporter)
    with pytest.raises(Refused, match="redundancy"):
        delete_backups(server, [SECOND], reporter)
    assert reporter.told == []
    assert all(catalog.is_whole(record) for record in catalog.backups.load().values())


def test_an_empty_keep_file_left_by_a_crash_does_not_block(catalog, server, reporter):
    (catalog.paths.meta / f"{FIRST}-keep").write_bytes(b"")

    delete_backups(server, [FIRST], reporter)

    assert FIRST not in catalog.backups.load()
    assert not (catalog.paths.meta / f"{FIRST}-keep").exists()


@pytest.mark.parametrize("which", ["backup", "backup_id", "restore"])
def test_nothing_is_deleted_while_it_is_in_use(catalog, server, reporter, which):
    locks = server.locks
    held = {
        "backup": locks.backup, "backup_id": lambda: locks.backup_id(FIRST),
        "restore": lambda: locks.lease(FIRST, "restoring"),
    }[which]()  # fmt: skip
    with held, pytest.raises(LockBusy):
        delete_backups(server, [FIRST], reporter)

    assert not catalog.backups.deletion_marks()
    assert catalog.is_whole(catalog.backups.get(FIRST))


def test_a_record_of_an_old_layout_is_deleted_with_its_directory(catalog, server, reporter):
    catalog.paths.record_file(FIRST).rename(catalog.paths.legacy_record_file(FIRST))

    delete_backups(server, [FIRST], reporter)

    assert sorted(catalog.backups.load()) == [SECOND, THIRD]
    assert catalog.archived() == after(5)


def test_a_damaged_record_can_be_deleted_and_no_wal_is_touched_on_its_behalf(catalog, server, reporter):
    catalog.paths.record_file(THIRD).write_text("")

    delete_backups(server, [FIRST], reporter)
    assert catalog.archived() == sorted(ALL_WAL)
    delete_backups(server, [THIRD], reporter)
    assert sorted(catalog.backups.load()) == [SECOND]


def test_a_damaged_record_of_the_oldest_backup_frees_the_wal_of_nobody_else(catalog, server, reporter):
    catalog.paths.record_file(FIRST).write_text("")

    delete_backups(server, [FIRST], reporter)

    assert catalog.archived() == sorted(catalog.listed()) == after(5)


# Interrupted deletions


def test_a_begun_deletion_is_finished_whatever_the_policy_says(catalog, open_main, reporter):
    server = open_main(minimum_redundancy=3)
    server.backups.mark_deletion(FIRST)
    (catalog.paths.data_dir(FIRST) / "PG_VERSION").unlink()

    delete_backups(server, [FIRST], reporter)

    assert sorted(catalog.backups.load()) == [SECOND, THIRD]
    assert catalog.archived() == after(5)


@pytest.mark.parametrize("files_left", [True, False])
def test_a_mark_without_its_record_is_cleared_away(catalog, server, reporter, files_left):
    server.backups.mark_deletion(FIRST)
    catalog.paths.record_file(FIRST).unlink()
    if not files_left:
        for path in sorted(catalog.paths.backup_dir(FIRST).rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        catalog.paths.backup_dir(FIRST).rmdir()

    assert enforce(server, NOW, reporter) == []

    assert catalog.backups.deletion_marks() == frozenset()
    assert not catalog.paths.backup_dir(FIRST).exists()


def test_giving_the_command_again_clears_such_a_mark_too(catalog, server, reporter):
    server.backups.mark_deletion(FIRST)
    catalog.paths.record_file(FIRST).unlink()

    delete_backups(server, [FIRST], reporter)

    assert catalog.backups.deletion_marks() == frozenset()


def test_cron_finishes_begun_deletions_without_a_policy(catalog, server, reporter):
    server.backups.mark_deletion(SECOND)

    assert enforce(server, NOW, reporter) == [SECOND]
    assert sorted(catalog.backups.load()) == [FIRST, THIRD]


def test_a_begun_deletion_does_not_make_another_backup_obsolete(catalog, open_main, reporter):
    server = open_main(retention_policy="REDUNDANCY 2")
    server.backups.mark_deletion(THIRD)

    assert enforce(server, NOW, reporter) == [THIRD]
    assert sorted(catalog.backups.load()) == [FIRST, SECOND]


def test_missing_wal_files_and_directories_do_not_stop_a_deletion(catalog, server, reporter):
    for path in sorted((catalog.paths.wals / segment(1)[:16]).iterdir()):
        path.unlink()
    (catalog.paths.wals / segment(1)[:16]).rmdir()

    delete_backups(server, [FIRST], reporter)

    assert sorted(catalog.listed()) == after(5)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_files_that_cannot_be_deleted_are_named_and_the_backup_stays_doomed(catalog, server, reporter):
    directory = catalog.paths.data_dir(FIRST) / "base"
    directory.chmod(0o500)
    try:
        with pytest.raises(StorageError, match="1"):
            delete_backups(server, [FIRST], reporter)
    finally:
        directory.chmod(0o700)
    assert catalog.backups.load()[FIRST].doomed


# The policy


def test_the_policy_deletes_what_is_obsolete(catalog, open_main, reporter):
    server = open_main(retention_policy="REDUNDANCY 1")

    assert enforce(server, NOW, reporter) == [FIRST, SECOND]
    assert f"Enforcing retention policy: removing backup {FIRST} for server main" in reporter.told
    assert sorted(catalog.backups.load()) == [THIRD]
    assert catalog.archived() == sorted(catalog.listed()) == after(8)
    assert enforce(server, NOW, reporter) == []


def test_a_standalone_backup_keeps_its_own_wal(catalog, open_main, reporter):
    server = open_main(retention_policy="REDUNDANCY 1")
    keep_backup(server, catalog.backups.get(FIRST), KeepTarget.STANDALONE)

    assert enforce(server, NOW, reporter) == [SECOND]
    assert catalog.archived() == sorted([segment(2), label(2), segment(3), *after(8)])


def test_a_standalone_backup_that_the_policy_wants_anyway_keeps_all_wal_behind_it(catalog, open_main, reporter):
    server = open_main(retention_policy="REDUNDANCY 2")
    keep_backup(server, catalog.backups.get(SECOND), KeepTarget.STANDALONE)

    assert enforce(server, NOW, reporter) == [FIRST]
    assert catalog.archived() == after(5)


def test_backups_kept_for_the_long_term_lose_the_wal_between_them(catalog, open_main, reporter):
    server = open_main(retention_policy="REDUNDANCY 1; KEEP 9 DAILY")
    foreseen = preview_by_policy(server, NOW)

    assert enforce(server, NOW, reporter) == []

    assert foreseen.deletions == ()
    assert sorted(catalog.backups.load()) == [FIRST, SECOND, THIRD]
    assert (
        catalog.archived()
        == sorted(catalog.listed())
        == sorted([segment(2), label(2), segment(3), segment(5), *after(8)])
    )
    reporter.told.clear()
    assert enforce(server, NOW, reporter) == []
    assert reporter.told == []


def test_the_long_term_ends_one_day(catalog, open_main, reporter):
    server = open_main(retention_policy="REDUNDANCY 1; KEEP 2 DAILY")

    assert enforce(server, NOW, reporter) == [FIRST]
    assert catalog.archived() == sorted([segment(5), *after(8)])


def test_deleting_by_hand_leaves_the_wal_of_older_backups_alone(catalog, open_main, reporter):
    server = open_main(retention_policy="REDUNDANCY 1; KEEP 9 DAILY")

    delete_backups(server, [SECOND], reporter)

    assert catalog.archived() == sorted(ALL_WAL)


def test_a_window_and_minimum_redundancy(catalog, open_main, reporter):
    server = open_main(retention_policy="RECOVERY WINDOW OF 1 DAYS", minimum_redundancy=2)

    assert enforce(server, NOW, reporter) == [FIRST]


@pytest.mark.parametrize("back", [timedelta(days=1), timedelta(days=60)])
def test_a_clock_set_back_deletes_nothing_more(catalog, open_main, reporter, back):
    server = open_main(retention_policy="RECOVERY WINDOW OF 27 DAYS")

    assert enforce(server, NOW - back, reporter) == []
    assert len(catalog.backups.load()) == 3
    assert enforce(server, NOW, reporter) == [FIRST]


def test_the_policy_waits_for_a_running_backup(catalog, open_main, reporter):
    server = open_main(retention_policy="REDUNDANCY 1")
    with server.locks.backup():
        assert enforce(server, NOW, reporter) == []
    assert len(catalog.backups.load()) == 3


def test_a_backup_in_use_is_left_for_the_next_time_and_the_others_go(catalog, open_main, reporter):
    server = open_main(retention_policy="REDUNDANCY 1")
    with server.locks.lease(FIRST, "restoring"):
        assert enforce(server, NOW, reporter) == [SECOND]
    assert enforce(server, NOW, reporter) == [FIRST]


def test_a_backup_stays_while_what_is_based_on_it_cannot_be_deleted(catalog, open_main, reporter):
    catalog.add_backup(4, 10, 10)
    catalog.write_record(replace(catalog.backups.get(SECOND), parent_backup_id=FIRST))
    server = open_main(retention_policy="REDUNDANCY 1")
    with server.locks.backup_id(SECOND):
        assert enforce(server, NOW, reporter) == [THIRD]
    assert sorted(catalog.backups.load()) == [FIRST, SECOND, backup_id(4)]


def test_an_error_with_one_backup_does_not_spare_the_others(catalog, open_main, reporter, monkeypatch):
    from barman.retention import remove

    def fail(path):
        if path.name == FIRST:
            raise OSError(5, "Input/output error", str(path / "data"))
        original(path)

    original = remove.remove_tree
    monkeypatch.setattr(remove, "remove_tree", fail)
    server = open_main(retention_policy="REDUNDANCY 1")

    assert enforce(server, NOW, reporter) == [SECOND]
    (error,) = [line for line in reporter.told if line.startswith("ERROR")]
    assert FIRST in error
    assert "Input/output error" in error
    assert catalog.backups.load()[FIRST].doomed
    monkeypatch.undo()
    assert enforce(server, NOW, reporter) == [FIRST]


@pytest.mark.parametrize("option", ["minimum_redundancy", "retention_policy_mode", "wal_retention_policy"])
def test_nothing_is_deleted_while_nobody_knows_what_must_stay(catalog, open_main, reporter, option):
    server = open_main(retention_policy="REDUNDANCY 1", **{option: "tow"})
    for delete in (
        lambda: delete_backups(server, [FIRST], reporter),
        lambda: preview_by_hand(server, [FIRST], NOW),
        lambda: enforce(server, NOW, reporter),
        lambda: preview_by_policy(server, NOW),
    ):
        with pytest.raises(ConfigError, match=f"no backup of server 'main' is deleted: .*'tow' for option {option}"):
            delete()
    assert len(catalog.backups.load()) == 3
    assert catalog.archived() == sorted(ALL_WAL)


def test_a_begun_deletion_can_be_finished_by_hand_although_nobody_knows_what_must_stay(catalog, open_main, reporter):
    catalog.backups.mark_deletion(FIRST)

    delete_backups(open_main(minimum_redundancy="tow"), [FIRST], reporter)

    assert sorted(catalog.backups.load()) == [SECOND, THIRD]


def test_deleting_the_last_backup_is_told(catalog, server, reporter):
    delete_backups(server, [FIRST, SECOND], reporter)
    assert not [line for line in reporter.told if "no backup left" in line]
    delete_backups(server, [THIRD], reporter)
    assert "WARNING: server main has no backup left that could be restored" in reporter.told


def test_a_policy_that_cannot_be_understood_deletes_nothing(catalog, open_main, reporter):
    server = open_main(retention_policy="KEEP EVERYTHING")

    with pytest.raises(ConfigError, match="KEEP EVERYTHING"):
        server_verdicts(server, server.backups.load(), NOW)
    with contextlib.suppress(ConfigError):
        enforce(server, NOW, reporter)
    assert len(catalog.backups.load()) == 3


# Hooks


def test_hooks_know_the_backup_and_each_wal_file(catalog, open_main, reporter, tmp_path):
    log = tmp_path / "log"
    known = ("HOOK", "PHASE", "BACKUP_ID", "STATUS", "NEXT_ID", "SEGMENT", "ERROR")
    say = f"echo {' '.join(f'$BARMAN_{name}' for name in known)} >> {log}"
    hooks = ("pre_delete_script", "post_delete_script", "pre_wal_delete_script", "post_wal_delete_retry_script")
    server = open_main(**dict.fromkeys(hooks, say))

    delete_backups(server, [FIRST], reporter)

    lines = log.read_text().splitlines()
    assert lines[0] == f"delete_script pre {FIRST} DONE {SECOND}"
    assert lines[-1] == f"delete_script post {FIRST} DONE {SECOND}"
    assert f"wal_delete_script pre {segment(1)}" in lines
    assert f"wal_delete_retry_script post {segment(4)}" in lines


def test_a_veto_leaves_the_backup_as_it_is(catalog, open_main, reporter):
    server = open_main(pre_delete_retry_script="exit 63", retention_policy="REDUNDANCY 1")

    with pytest.raises(HookAborted):
        delete_backups(server, [FIRST], reporter)
    assert enforce(server, NOW, reporter) == []

    assert not catalog.backups.deletion_marks()
    assert all(catalog.is_whole(record) for record in catalog.backups.load().values())


def test_a_veto_about_wal_stops_before_any_is_removed_and_the_next_run_goes_on(catalog, open_main, reporter):
    server = open_main(pre_wal_delete_retry_script="exit 63")
    with pytest.raises(HookAborted):
        delete_backups(server, [FIRST], reporter)
    assert catalog.backups.load()[FIRST].doomed
    assert catalog.archived() == sorted(catalog.listed()) == sorted(ALL_WAL)

    delete_backups(open_main(), [FIRST], reporter)
    assert catalog.archived() == after(5)


def test_a_failure_reaches_the_post_hook(catalog, open_main, reporter, tmp_path, monkeypatch):
    from barman.retention import remove

    def fail(path):
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr(remove, "remove_tree", fail)
    log = tmp_path / "log"
    server = open_main(post_delete_script=f'echo "$BARMAN_ERROR" > {log}')

    with pytest.raises(StorageError):
        delete_backups(server, [FIRST], reporter)
    assert "Input/output error" in log.read_text()


# The first backup


def test_the_first_backup_removes_the_wal_before_it(catalog, server):
    for one in (FIRST, SECOND):
        delete_backups(server, [one], LogReporter())
    catalog.add_wal([segment(1), segment(7)])

    purge_before_first_backup(server, catalog.backups.get(THIRD))

    assert catalog.archived() == after(8)


def test_a_first_backup_that_failed_early_removes_nothing(catalog, server):
    record = replace(catalog.backups.get(FIRST), begin_wal=None, end_wal=None, status=Status.FAILED)

    purge_before_first_backup(server, record)

    assert catalog.archived() == sorted(ALL_WAL)


# Keeping


def test_only_done_full_backups_can_be_kept(catalog, server):
    catalog.add_backup(4, 10, 10, parent_backup_id=THIRD)
    catalog.add_backup(5, 11, 11, status=Status.FAILED)
    catalog.add_backup(6, 11, 11)
    server.backups.mark_deletion(backup_id(6))

    for number, why in ((4, "incremental"), (5, "FAILED"), (6, "being deleted")):
        with pytest.raises(Refused, match=why):
            keep_backup(server, catalog.backups.get(backup_id(number)), KeepTarget.FULL)
    with server.locks.backup_id(FIRST), pytest.raises(LockBusy):
        keep_backup(server, catalog.backups.get(FIRST), KeepTarget.FULL)
    assert catalog.backups.keeps() == {}


def test_a_released_backup_obeys_the_policy_again(catalog, open_main, reporter):
    server = open_main(retention_policy="REDUNDANCY 2")
    record = catalog.backups.get(FIRST)
    keep_backup(server, record, KeepTarget.FULL)
    assert enforce(server, NOW, reporter) == []

    release_backup(server, record)
    release_backup(server, record)
    assert enforce(server, NOW, reporter) == [FIRST]
