"""The last step of every backup: DONE as soon as all its WAL is archived, and not before."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from barman.backup.durable import make_tree_durable
from barman.catalog.record import BackupRecord, Status
from barman.errors import Refused
from barman.postgres.wal_names import timeline_of
from barman.wal.continuity import read_histories
from barman.wal.needs import (
    MISSING_WAL,
    Outcome,
    Verdict,
    check_required,
    has_failed_for_wal,
    has_followed,
    may_become_complete,
    serving_names,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from barman.catalog.record import BackupId
    from barman.progress import Reporter
    from barman.server import Server
    from barman.wal.gaps import Histories

_log = logging.getLogger(__name__)


def check_backup(server: Server, backup_id: BackupId, reporter: Reporter) -> BackupRecord:
    """Look whether the WAL of a backup is complete, save the status that follows, and return the record.

    Everything archived → DONE, durably. Something still to come → WAITING_FOR_WALS. A hole → FAILED, an error is
    reported. The way back is open: a backup that failed only for a missing file becomes DONE when it arrives.
    A backup without an end is left as it is. Refused if it failed otherwise or
    is being deleted; LockBusy if somebody is at it.
    """
    with server.locks.backup_id(backup_id):
        record = server.backups.get(backup_id)
        if record.doomed:
            raise Refused(f"backup {backup_id} of server {server.name} is being deleted")
        if record.status is Status.FAILED and not has_failed_for_wal(record):
            raise Refused(f"backup {backup_id} of server {server.name} has failed: {record.error}")
        if record.status is not Status.DONE and not may_become_complete(record):
            return record
        verdict = _judge(server, record)
        judged = _with_status(record, verdict)
        if judged != record:
            if record.status is Status.STARTED:
                # Its writer was killed before it said that the copy is on stable storage.
                make_tree_durable(record, server.paths.backup_dir(backup_id), reporter)
            server.backups.save(judged)
            _log.info("backup %s of server %s is now %s", backup_id, server.name, judged.status.value)
        if judged.status is Status.FAILED:
            reporter.error(f"backup {backup_id} of server {server.name}: {judged.error}")
        return judged


def _judge(server: Server, record: BackupRecord) -> Verdict:
    if not has_followed(record):
        # Mostly everything is here under its own name, and nobody has to read history files.
        verdict = _look(server, record, {})
        if verdict.outcome in (Outcome.COMPLETE, Outcome.UNKNOWN):
            return verdict
    return _look(server, record, read_histories(server.wal_archive))


def _look(server: Server, record: BackupRecord, histories: Histories) -> Verdict:
    names = [name for each in serving_names(record, histories) for name in each]
    if record.end_wal is None or not names:
        return Verdict(Outcome.UNKNOWN)
    archive = server.wal_archive
    # In this order: what the archiver moves between two of these questions must not look like a hole.
    newest = archive.newest_segment(timeline_of(record.end_wal))
    coming = _coming(server)
    # A crash may have left a file in the archive without its line in the ledger, which a restore goes by.
    archive.heal(names)
    present = set(names).difference(archive.missing(names))
    return check_required(record, present, newest, coming=coming, histories=histories)


def _coming(server: Server) -> frozenset[str]:
    """Return what is received and not archived yet, under the names it will have."""
    landing = (server.paths.incoming, server.paths.streaming)
    return frozenset(name.partition(".")[0] for directory in landing for name in _names(directory))


def _names(directory: Path) -> Iterable[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return ()


def _with_status(record: BackupRecord, verdict: Verdict) -> BackupRecord:
    if verdict.outcome is Outcome.COMPLETE:
        return replace(record, status=Status.DONE, error=None)
    if verdict.outcome is Outcome.WAITING:
        # Somebody took WAL away that had been here: a backup that was whole is not any more.
        return replace(record, status=Status.WAITING_FOR_WALS, error=None)
    if verdict.outcome is Outcome.HOLE:
        return replace(record, status=Status.FAILED, error=f"{MISSING_WAL}{verdict.missing}")
    return record
