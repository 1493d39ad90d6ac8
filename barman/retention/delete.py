"""Deleting backups: one by hand, or what the retention policy no longer wants."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from barman.catalog.chains import descendants
from barman.catalog.record import BackupId
from barman.errors import BarmanError, HookAborted, LockBusy, UnknownBackup
from barman.host import clock
from barman.human import ctime, pretty_interval
from barman.progress import LogReporter
from barman.retention.plan import plan_deletion, plan_enforcement, plan_needs
from barman.retention.policy import parse_policy, verdicts
from barman.retention.remove import remove_backup, remove_leftovers, remove_unneeded_wal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from barman.catalog.record import BackupRecord
    from barman.progress import Reporter
    from barman.retention.plan import Deletion
    from barman.retention.policy import Verdict
    from barman.server import Server

_log = logging.getLogger(__name__)


def server_verdicts(
    server: Server, records: Mapping[BackupId, BackupRecord], now: datetime
) -> Mapping[BackupId, Verdict]:
    """Return what the configured policy says about each backup; ConfigError if the policy cannot be understood."""
    settings = server.settings
    policy = None if settings.retention_policy is None else parse_policy(settings.retention_policy)
    keeps = server.backups.keeps() if policy else {}
    return verdicts(records, keeps, policy, minimum_redundancy=settings.minimum_redundancy, now=now)


def delete_backup(server: Server, backup_id: str, reporter: Reporter) -> None:
    """Delete a backup and whatever is based on it, leaves first, or finish a deletion that was interrupted.

    Raises UnknownBackup, Refused (kept, or minimum redundancy), LockBusy, HookAborted (the script's refusal; the
    backup stays as it is), or what stopped it midway: then a repetition, or cron, finishes the work.
    """
    wanted = BackupId(backup_id)
    with server.locks.backup():
        finished = _finish_leftovers(server)
        records = server.backups.load()
        if wanted in finished:
            return
        if wanted not in records:
            raise UnknownBackup(f"Unknown backup '{backup_id}' for server '{server.name}'")
        plan = plan_deletion(
            records, wanted, server.backups.keeps(), minimum_redundancy=server.settings.minimum_redundancy
        )
        if len(plan) > 1:
            others = ", ".join(deletion.backup_id for deletion in plan[:-1])
            reporter.warning(f"backup {backup_id} has incremental backups based on it, which are deleted too: {others}")
        for deletion in plan:
            _delete_one(server, deletion, reporter, by_hand=True)


def enforce(server: Server, now: datetime, reporter: Reporter) -> list[BackupId]:
    """Finish interrupted deletions, then delete what the retention policy calls obsolete; return what was deleted.

    Nothing happens while a backup is being taken or deleted, it may build upon what we would remove. One backup that
    cannot be deleted does not spare the others.
    """
    lock = server.locks.backup()
    try:
        lock.acquire()
    except LockBusy as error:
        _log.info("retention of server %s waits: %s", server.name, error)
        return []
    try:
        _finish_leftovers(server)
        return _delete_obsolete(server, now, reporter)
    finally:
        lock.release()


def purge_before_first_backup(server: Server, record: BackupRecord) -> None:
    """Remove the WAL older than the first backup of a server; hold the backup lock.

    A backup that does not know where its WAL begins, as one that failed early, removes nothing.
    """
    if record.begin_wal is None:
        return
    records = {**server.backups.load(), record.backup_id: record}
    remove_unneeded_wal(server, plan_needs(records, server.backups.keeps()), LogReporter())


def _finish_leftovers(server: Server) -> list[BackupId]:
    """Finish the deletions of which only the mark is left, and return of which backups."""
    left = sorted(server.backups.deletion_marks().difference(server.backups.load()))
    for backup_id in left:
        _log.info("finishing the deletion of backup %s of server %s", backup_id, server.name)
        remove_leftovers(server, backup_id)
    return left


def _delete_obsolete(server: Server, now: datetime, reporter: Reporter) -> list[BackupId]:
    deleted: list[BackupId] = []
    given_up: set[BackupId] = set()
    while True:
        # Each deletion changes what is true, and keep marks come and go: decide anew.
        records = server.backups.load()
        plan = plan_enforcement(records, server.backups.keeps(), server_verdicts(server, records, now))
        # What could not be deleted keeps what it is based on.
        possible = (each for each in plan if not descendants(records, each.backup_id))
        deletion = next((each for each in possible if each.backup_id not in given_up), None)
        if deletion is None:
            return deleted
        try:
            _delete_one(server, deletion, reporter, by_hand=False)
            deleted.append(deletion.backup_id)
        except LockBusy as error:
            _log.info("%s", error)
            given_up.add(deletion.backup_id)
        except HookAborted as error:
            reporter.warning(f"backup {deletion.backup_id} of server {server.name} is not deleted: {error.message}")
            given_up.add(deletion.backup_id)
        except BarmanError as error:
            reporter.error(f"backup {deletion.backup_id} of server {server.name} is not deleted: {error.message}")
            given_up.add(deletion.backup_id)


def _delete_one(server: Server, deletion: Deletion, reporter: Reporter, *, by_hand: bool) -> None:
    backup_id, reason = deletion
    _log.info("deleting backup %s of server %s: %s", backup_id, server.name, reason)
    started, start = clock.now(), clock.monotonic()
    if not by_hand:
        reporter.info(f"Enforcing retention policy: removing backup {backup_id} for server {server.name}")
    reporter.info(f"Deleting backup {backup_id} for server {server.name}")
    remove_backup(server, backup_id, reporter, by_hand=by_hand)
    elapsed = pretty_interval(timedelta(seconds=clock.monotonic() - start))
    reporter.info(f"Deleted backup {backup_id} (start time: {ctime(started)}, elapsed time: {elapsed})")
