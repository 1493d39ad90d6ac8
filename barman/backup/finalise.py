"""The last step of every backup: DONE as soon as all its WAL is archived, and not before."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from barman.catalog.record import BackupRecord, Status
from barman.errors import BarmanError, Refused
from barman.host.files import fsync_tree
from barman.postgres.wal_names import timeline_of
from barman.wal.needs import (
    MISSING_WAL,
    Outcome,
    Verdict,
    check_required,
    has_failed_for_wal,
    may_become_complete,
    required_segments,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from barman.catalog.record import BackupId
    from barman.progress import Reporter
    from barman.server import Server

_log = logging.getLogger(__name__)


def check_backup(server: Server, backup_id: BackupId, reporter: Reporter) -> BackupRecord:
    """Look whether the WAL of a backup is complete, save the status that follows, and return the record.

    Everything archived → DONE, durably. Something still to come → WAITING_FOR_WALS. A hole → FAILED, an error is
    reported. The way back is open: a backup that failed only for a missing file becomes DONE when it arrives.
    A backup without an end is left as it is. Refused if it failed otherwise; LockBusy if somebody is at it.
    """
    with server.locks.backup_id(backup_id):
        record = server.backups.get(backup_id)
        if record.status is Status.FAILED and not has_failed_for_wal(record):
            raise Refused(f"backup {backup_id} of server {server.name} has failed: {record.error}")
        if record.status is not Status.DONE and not may_become_complete(record):
            return record
        verdict = _judge(server, record)
        judged = _with_status(record, verdict)
        if judged != record:
            if record.status is Status.STARTED:
                # Its writer was killed before it said that the copy is on stable storage.
                fsync_tree(server.paths.backup_dir(backup_id), workers=_workers(server))
            server.backups.save(judged)
            _log.info("backup %s of server %s is now %s", backup_id, server.name, judged.status.value)
        if judged.status is Status.FAILED:
            reporter.error(f"backup {backup_id} of server {server.name}: {judged.error}")
        return judged
