"""Backups whose process died: set to FAILED by whoever comes next, unless a backup is running."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from barman.backup.abandoned import fail_abandoned
from barman.catalog.record import Status
from barman.progress import LogReporter
from barman.server import open_server
from tests.support.catalogs import HandMade, backup_id
from tests.support.settings import load_text

NOW = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)


class Listener(LogReporter):
    def __init__(self):
        self.told = []

    def warning(self, message):
        self.told.append(message)


@pytest.fixture
def catalog(tmp_path):
    made = HandMade(tmp_path / "home" / "main")
    made.make_directories()
    made.add_backup(1, 2, 3)
    made.add_backup(2, 5, 5, status=Status.STARTED, end_wal=None, size=None)
    made.add_backup(3, 5, 5, status=Status.EMPTY, end_wal=None, size=None)
    made.add_backup(4, 5, 5, status=Status.STARTED)
    made.add_backup(5, 5, 5, status=Status.WAITING_FOR_WALS)
    made.add_backup(6, 5, 5, status=Status.SYNCING)
    made.add_backup(7, 5, 5, status=Status.STARTED, end_wal=None, size=None)
    made.backups.mark_deletion(backup_id(7))
    return made


@pytest.fixture
def server(tmp_path, catalog):
    return open_server(load_text(tmp_path, "[main]\nconninfo = dbname=x\narchiver = on\n"), "main")


def statuses(catalog):
    return " ".join(record.status.value for record in catalog.backups.load().values())


def fail(server, catalog):
    listener = Listener()
    fail_abandoned(server, catalog.backups.load().values(), listener, NOW)
    return listener.told


def test_what_nobody_will_finish_has_failed_with_the_reason(server, catalog):
    told = fail(server, catalog)

    assert statuses(catalog) == "DONE FAILED FAILED STARTED WAITING_FOR_WALS SYNCING STARTED"
    assert catalog.backups.get(backup_id(2)).error == (
        "the process that took this backup ended before the backup did; found at 2026-11-21 12:00:00+0000"
    )
    assert [line.split()[1] for line in told] == [backup_id(2), backup_id(3)]
    assert fail(server, catalog) == []


def test_a_running_backup_is_left_alone(server, catalog):
    with server.locks.backup():
        assert fail(server, catalog) == []
    assert "FAILED" not in statuses(catalog)


def test_a_backup_somebody_works_on_is_left_for_the_next_time(server, catalog):
    with server.locks.backup_id(backup_id(2)):
        assert len(fail(server, catalog)) == 1
    assert len(fail(server, catalog)) == 1
