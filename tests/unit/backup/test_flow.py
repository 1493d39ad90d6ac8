"""What a backup's record says, whatever happens on the way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from barman.backup.executor import Job
from barman.backup.flow import take_backup
from barman.backup.positions import begin_at, end_at
from barman.backup.prepare import Prepared
from barman.backup.request import BackupRequest
from barman.catalog.record import Status
from barman.errors import BackupFailed
from barman.host import clock
from barman.progress import LogReporter
from tests.support.facts import facts_of_a_primary


class Executor:
    """Copies nothing, from nowhere."""

    mode = "postgres"

    def describe(self):
        return "a stand-in"

    def require_possible(self):
        """There is nothing to ask."""

    def start(self, record):
        return begin_at(replace(record, begin_time=clock.now()), 0x2000028, 1)

    def copy(self, record):
        return record

    def stop(self, record):
        return end_at(replace(record, end_time=clock.now()), 0x2000100, 1)

    def make_durable(self, record):
        return replace(record, size=0, deduplicated_size=0)

    def abort(self):
        """There is nothing to end."""


class ClosedTerminal(LogReporter):
    """Breaks at the first message that begins so."""

    def __init__(self, beginning):
        self._beginning = beginning

    def info(self, message):
        if message.startswith(self._beginning):
            raise BrokenPipeError(32, "Broken pipe")


def _prepared(server, reporter):
    facts = facts_of_a_primary(server_time=clock.now())
    return Prepared(Job(server, server.settings, facts, reporter), Executor(), None)


def test_a_terminal_that_closes_before_the_end_fails_the_backup(server):
    with pytest.raises(BackupFailed, match="Broken pipe"):
        take_backup(_prepared(server, ClosedTerminal("Finalising")), BackupRequest())
    [record] = server.backups.load().values()
    assert record.status is Status.FAILED


def test_a_terminal_that_closes_at_the_end_leaves_the_backup_complete(server):
    with pytest.raises(BrokenPipeError):
        take_backup(_prepared(server, ClosedTerminal("Backup size")), BackupRequest())
    [record] = server.backups.load().values()
    assert record.status is Status.WAITING_FOR_WALS
