"""From WAITING_FOR_WALS to DONE, and back, and back again."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

import pytest

from barman.backup.finalise import check_backup
from barman.catalog.record import Status
from barman.errors import LockBusy, Refused
from barman.progress import LogReporter
from barman.wal.archive import archive_wal
from barman.wal.needs import MISSING_WAL
from tests.support.wal import MIB, name_of

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)


class Listener(LogReporter):
    """Remembers the errors it is told."""

    def __init__(self):
        self.errors = []

    def error(self, message):
        self.errors.append(message)


@pytest.fixture
def backup(server):
    """A record of a backup that needs segments 5 to 7."""
    record = server.backups.new_record(
        NOW, begin_wal=name_of(5), end_wal=name_of(7), xlog_segment_size=MIB, size=1, timeline=1, server_name="main"
    )
    server.paths.backup_dir(record.backup_id).mkdir()
    return record


def _check(server, record, **changes):
    listener = Listener()
    if changes:
        server.backups.save(replace(record, **changes))
    return check_backup(server, record.backup_id, listener), listener.errors


def _archive(server, deliver, *numbers):
    deliver(*map(name_of, numbers))
    archive_wal(server, LogReporter(), verbose=False)


def test_it_waits_while_wal_is_on_its_way(server, backup, deliver):
    _archive(server, deliver, 5, 6)
    record, errors = _check(server, backup, status=Status.WAITING_FOR_WALS)
    assert (record.status, errors) == (Status.WAITING_FOR_WALS, [])


def test_it_is_done_when_all_is_here(server, backup, deliver):
    _archive(server, deliver, 5, 6, 7)
    record, errors = _check(server, backup, status=Status.WAITING_FOR_WALS)
    assert (record.status, errors) == (Status.DONE, [])
    assert server.backups.get(backup.backup_id).status is Status.DONE


def test_a_hole_fails_it_until_the_late_segment_arrives(server, backup, deliver):
    _archive(server, deliver, 5, 7)
    record, errors = _check(server, backup, status=Status.WAITING_FOR_WALS)
    assert record.status is Status.FAILED
    assert record.error == MISSING_WAL + name_of(6)
    assert len(errors) == 1
    assert name_of(6) in errors[0]
    assert backup.backup_id in errors[0]

    _archive(server, deliver, 6)
    record, errors = _check(server, backup)
    assert (record.status, record.error, errors) == (Status.DONE, None, [])


def test_a_segment_that_is_received_and_not_archived_is_no_hole(server, backup, deliver):
    _archive(server, deliver, 5, 7)
    deliver(name_of(6))
    record, errors = _check(server, backup, status=Status.WAITING_FOR_WALS)
    assert (record.status, errors) == (Status.WAITING_FOR_WALS, [])


@pytest.mark.parametrize(
    ("fork", "status"),
    [("0/700100", Status.DONE), ("0/7000FF", Status.WAITING_FOR_WALS), ("0/800000", Status.WAITING_FOR_WALS)],
    ids=["at the end", "before the end", "in the next segment"],
)
def test_the_end_may_be_in_the_first_segment_of_the_timeline_after_a_failover(fork, status, server, backup, deliver):
    _archive(server, deliver, 5, 6)
    (server.paths.incoming / "00000002.history").write_text(f"1\t{fork}\tno recovery target specified\n")
    deliver(name_of(7, timeline=2))
    archive_wal(server, LogReporter(), verbose=False)
    assert server.wal_archive.exists(name_of(7, timeline=2))
    record, errors = _check(server, backup, status=Status.WAITING_FOR_WALS, end_xlog="0/700100")
    assert (record.status, errors) == (status, [])
    # Once done, it stays so.
    assert _check(server, backup)[0].status is status


def test_a_backup_that_followed_a_promotion_needs_wal_of_both_timelines(server, backup, deliver):
    _archive(server, deliver, 5)
    deliver(name_of(6, timeline=2), name_of(7, timeline=2))
    (server.paths.incoming / "00000002.history").write_text("1\t0/600100\tno recovery target specified\n")
    archive_wal(server, LogReporter(), verbose=False)
    record, errors = _check(
        server, backup, status=Status.WAITING_FOR_WALS, end_wal=name_of(7, timeline=2), end_xlog="0/700100"
    )
    assert (record.status, errors) == (Status.DONE, [])


def test_a_done_backup_whose_wal_was_taken_away_is_done_no_more(server, backup, deliver):
    _archive(server, deliver, 5, 6, 7)
    (server.paths.wals / name_of(6)[:16] / name_of(6)).unlink()
    record, errors = _check(server, backup, status=Status.DONE)
    assert record.status is Status.FAILED
    assert len(errors) == 1


def test_a_file_the_ledger_does_not_list_gets_its_line(server, backup, deliver):
    _archive(server, deliver, 5, 6, 7)
    server.xlogdb.remove([name_of(6)])
    assert set(server.xlogdb.get([name_of(6)])) == set()
    record, _ = _check(server, backup, status=Status.WAITING_FOR_WALS)
    assert record.status is Status.DONE
    assert set(server.xlogdb.get([name_of(6)])) == {name_of(6)}


def test_what_a_killed_predecessor_left_started_is_completed(server, backup, deliver):
    _archive(server, deliver, 5, 6, 7)
    record, _ = _check(server, backup, status=Status.STARTED)
    assert record.status is Status.DONE


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"status": Status.STARTED, "size": None}, id="running"),
        pytest.param({"status": Status.EMPTY}, id="empty"),
        pytest.param({"status": Status.WAITING_FOR_WALS, "end_wal": None}, id="without an end"),
        pytest.param({"status": Status.SYNCING}, id="being copied"),
    ],
)
def test_a_backup_that_has_not_ended_is_left_alone(changes, server, backup, deliver):
    _archive(server, deliver, 5, 6, 7)
    record, errors = _check(server, backup, **changes)
    assert (record.status, errors) == (changes["status"], [])


def test_a_backup_that_failed_otherwise_is_refused(server, backup):
    with pytest.raises(Refused, match="failure copying files"):
        _check(server, backup, status=Status.FAILED, error="failure copying files (x)")


def test_a_backup_that_is_being_deleted_is_refused(server, backup):
    server.backups.mark_deletion(backup.backup_id)
    with pytest.raises(Refused, match="being deleted"):
        _check(server, backup, status=Status.WAITING_FOR_WALS)


def test_a_backup_somebody_works_on_is_left_to_them(server, backup):
    with server.locks.backup_id(backup.backup_id), pytest.raises(LockBusy):
        _check(server, backup, status=Status.WAITING_FOR_WALS)


def test_asking_twice_changes_nothing(server, backup, deliver):
    _archive(server, deliver, 5, 7)
    first, _ = _check(server, backup, status=Status.WAITING_FOR_WALS)
    second, _ = _check(server, backup)
    assert first == second
