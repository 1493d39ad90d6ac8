"""Copying one backup from the primary: its files, the WAL it needs, its keep mark, and only then its record as DONE.

Whoever is interrupted goes on where he was: every file is written beside and renamed when it is whole.
"""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from barman.catalog.identity import write_identity
from barman.catalog.record import BackupId, BackupRecord, Status
from barman.errors import BarmanError, CatalogError, LockBusy, Refused, StorageError, Unreachable
from barman.host.files import fsync_tree, make_directories
from barman.postgres.versions import major_version
from barman.retention.delete import delete_backups
from barman.sync.plan import COPY_FAILED, judge_backup, plan_sync
from barman.sync.state import gather_local, read_primary_info
from barman.sync.transfer import Transfer
from barman.sync.tree_copy import TreeCopy
from barman.sync.wal_copy import Wanted, bring_wal, missing_wal, never_asked
from barman.wal.continuity import read_histories
from barman.wal.needs import Outcome, check_required, possible_names, serving_names

if TYPE_CHECKING:
    from datetime import datetime

    from barman.progress import Reporter
    from barman.server import Server
    from barman.sync.document import PrimaryState
    from barman.sync.plan import LocalState
    from barman.sync.primary import Primary

_log = logging.getLogger(__name__)

# Flushing waits for the medium, not for the processor.
_SYNCING = 8
_POLL_S = 0.5


class BackupSync:
    """Copying backups of one server from its primary."""

    def __init__(self, server: Server, primary: Primary, reporter: Reporter, now: datetime) -> None:
        """primary: of the server; it is not talked to before there is something to copy."""
        self._server = server
        self._primary = primary
        self._reporter = reporter
        self._now = now

    def sync(self, backup_id: BackupId) -> None:
        """Copy a backup that the primary had when it was last asked; one that is here is verified.

        What was left of a copy of a backup that the primary has no longer, or that is obsolete here, is removed. Raises
        Refused if there is nothing to copy from or onto, LockBusy if somebody is at it, or what went wrong: the record
        then says FAILED, and cron tries again.
        """
        state, local = _known(self._server)
        plan = plan_sync(state, None, local, self._now)
        purge = next((purge for purge in plan.purges if purge.backup_id == backup_id), None)
        name = self._server.name
        if purge is not None:
            self._purge(backup_id, purge.reason)
        elif backup_id in plan.skipped:
            self._reporter.info(f"backup {backup_id} of server {name} is not copied: it is {plan.skipped[backup_id]}")
        else:
            self._copy(state, backup_id, judge_backup(state, local, backup_id))

    def sync_all(self) -> None:
        """Copy every backup that is wanted here and is not here, one after the other, newest first.

        Trouble with one is told, and the next is taken; one that was damaged on the primary is tried once an hour. What
        the primary has is looked up anew before each, because cron asks it every minute. Unreachable ends it all.
        """
        tried: set[BackupId] = set()
        while True:
            state, local = _known(self._server)
            plan = plan_sync(state, None, local, self._now)
            for purge in plan.purges:
                if purge.backup_id not in tried:
                    tried.add(purge.backup_id)
                    self._contain(purge.backup_id)
            # What is based on one that could not be copied cannot be copied either; it says so.
            following = next((copy for copy in plan.due if copy.backup_id not in tried), None)
            if following is None:
                for backup_id in plan.resting.keys() - tried:
                    self._reporter.info(
                        f"backup {backup_id} of server {self._server.name} is not tried again before "
                        f"{plan.resting[backup_id].astimezone():%H:%M}, because of files damaged on the primary"
                    )
                return
            tried.add(following.backup_id)
            self._contain(following.backup_id)

    def _contain(self, backup_id: BackupId) -> None:
        try:
            self.sync(backup_id)
        except LockBusy as busy:
            _log.info("%s", busy.message)
        except Unreachable:
            raise
        except BarmanError as error:
            _log.info("what led to the next error", exc_info=error)
            self._reporter.error(f"backup {backup_id} of server {self._server.name} is not copied: {error.message}")

    def _purge(self, backup_id: BackupId, reason: str) -> None:
        # Whoever copies it holds this, and then it is not a leftover.
        with self._server.locks.sync_backup(backup_id):
            name = self._server.name
            self._reporter.info(f"Removing what there is of backup {backup_id} of server {name}: {reason}")
            delete_backups(self._server, [backup_id], self._reporter)

    def _copy(self, state: PrimaryState, backup_id: BackupId, reason: str | None) -> None:
        """Copy a backup, or verify one that is here (reason: None)."""
        server, reporter = self._server, self._reporter
        with server.locks.sync_backup(backup_id), server.locks.backup_id(backup_id):
            record = replace(state.backups[backup_id], server_name=server.name, error=None)
            # As long as the primary cannot be reached, nothing here changes.
            transfer = Transfer(server, self._primary)
            if reason is None:
                _repair(server, state, record, transfer, reporter)
                self._take_page_report(state, backup_id)
                return
            _log.info("copying backup %s of server %s: %s", backup_id, server.name, reason)
            try:
                _prepare(server, record)
                self._take_page_report(state, backup_id)
                server.backups.save(_bring(server, state, record, transfer, reporter))
            except OSError as error:
                failure = StorageError(f"cannot write {error.filename}: {error.strerror}")
                _note_failure(server, record, failure)
                raise failure from error
            except BarmanError as error:
                _note_failure(server, record, error)
                raise

    def _take_page_report(self, state: PrimaryState, backup_id: BackupId) -> None:
        """Have here what the primary found when it verified page checksums."""
        report = self._primary.page_report(state, backup_id)
        if report is not None:
            self._server.backups.save_page_report(backup_id, report)


def _known(server: Server) -> tuple[PrimaryState, LocalState]:
    remembered = read_primary_info(server)
    if remembered is None:
        raise never_asked(server)
    return remembered.state, gather_local(server)


def _prepare(server: Server, record: BackupRecord) -> None:
    """Write down that the backup is being copied, before its first file."""
    for directory in server.paths.directories:
        make_directories(directory)
    server.backups.save(replace(record, status=Status.SYNCING))
    if record.systemid and record.version:
        write_identity(server.paths, record.systemid, major_version(record.version))


def _note_failure(server: Server, record: BackupRecord, error: BarmanError) -> None:
    text = f"{COPY_FAILED}{error.message}"
    # On a full disk not even that can be written: then it stays SYNCING, which is tried again just so.
    with contextlib.suppress(StorageError, CatalogError):
        server.backups.save(replace(record, status=Status.FAILED, error=text))


def _bring(
    server: Server, state: PrimaryState, record: BackupRecord, transfer: Transfer, reporter: Reporter
) -> BackupRecord:
    """Have all of a backup here, durably; return its record as it is to be."""
    backup_id = record.backup_id
    TreeCopy(server, record, f"{state.base}/{backup_id}", transfer, reporter).copy(_neighbour(server, record))
    with reporter.bar("Flushing to disk", total=None, unit="bytes") as bar:
        totals = fsync_tree(server.paths.backup_dir(backup_id), workers=_SYNCING, on_file=bar.advance)
    _bring_its_wal(server, state, record, transfer, reporter)
    # Marks may have changed while it was copied.
    latest = read_primary_info(server)
    target = ((latest.state.keeps if latest else None) or {}).get(backup_id)
    if target is not None and server.backups.keep(backup_id) is None:
        server.backups.set_keep(backup_id, target)
    status = Status.DONE if _is_complete(server, record) else Status.WAITING_FOR_WALS
    if record.status is Status.DONE and status is not Status.DONE:
        reporter.warning(f"backup {backup_id} of server {server.name} is DONE on the primary, which lacks WAL it needs")
    own = totals.bytes - totals.linked_bytes
    return replace(record, status=status, size=totals.bytes, deduplicated_size=own)


def _repair(server: Server, state: PrimaryState, record: BackupRecord, transfer: Transfer, reporter: Reporter) -> None:
    """Verify a backup that is here, and fetch again what is damaged."""
    reporter.info(f"Backup {record.backup_id} of server {server.name} is already synced; verifying it")
    here = server.backups.get(record.backup_id)
    if TreeCopy(server, here, f"{state.base}/{record.backup_id}", transfer, reporter).repair():
        fsync_tree(server.paths.backup_dir(record.backup_id), workers=_SYNCING)
    _bring_its_wal(server, state, here, transfer, reporter)


def _neighbour(server: Server, record: BackupRecord) -> BackupRecord | None:
    """Return the backup here whose files may serve again: the next newer one, or else the next older."""
    others = [other for other in server.backups.load().values() if other.is_copy_done and other.type is record.type]
    newer = [other for other in others if other.backup_id > record.backup_id]
    older = [other for other in others if other.backup_id < record.backup_id]
    return newer[0] if newer else older[-1] if older else None


def _bring_its_wal(
    server: Server, state: PrimaryState, record: BackupRecord, transfer: Transfer, reporter: Reporter
) -> None:
    """Fetch the WAL that a backup cannot be restored without, unless sync-wals is just doing that."""
    lines = {entry.name: entry for entry in state.wals}
    wanted = [Wanted(name, lines.get(name)) for name in possible_names(record, lines)]
    lock = server.locks.sync_wal()
    while not _is_complete(server, record):
        if lock.holder() is not None:
            time.sleep(_POLL_S)
            continue
        with lock:
            missing = missing_wal(server, wanted)
            try:
                bring_wal(server, state, transfer, missing, reporter)
            except Refused as error:
                # Which of them must be there is judged by the record, not by their names.
                _log.info("backup %s: %s", record.backup_id, error.message)
        return


def _is_complete(server: Server, record: BackupRecord) -> bool:
    histories = read_histories(server.wal_archive)
    names = [name for each in serving_names(record, histories) for name in each]
    missing = {one.name for one in missing_wal(server, [Wanted(name, None) for name in names])}
    return check_required(record, set(names) - missing, None, histories=histories).outcome is Outcome.COMPLETE
