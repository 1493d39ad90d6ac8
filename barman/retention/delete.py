"""Deleting backups: some by hand, or what the retention policy no longer wants."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from barman.catalog.record import BackupId
from barman.errors import HookAborted, LockBusy, UnknownBackup
from barman.host import clock
from barman.progress import LogReporter
from barman.retention.judge import require_understood, server_keeps, server_policy, server_verdicts
from barman.retention.plan import plan_deletion, plan_enforcement, plan_needs
from barman.retention.policy import Combined, counts
from barman.retention.remove import group_size, has_survivor, remove_backups, remove_leftovers
from barman.retention.remove_wal import holds_unneeded_wal, remove_unneeded_wal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from barman.catalog.record import BackupRecord
    from barman.progress import Reporter
    from barman.retention.plan import Deletion
    from barman.retention.remove import Failure
    from barman.server import Server

_log = logging.getLogger(__name__)


def delete_backups(server: Server, backup_ids: Sequence[str], reporter: Reporter) -> None:
    """Delete backups and whatever is based on them, leaves first, or finish deletions that were interrupted.

    Raises UnknownBackup, Refused (kept, or minimum redundancy) or LockBusy before anything is touched. Then one that
    cannot be deleted does not spare the others; told is what kept each but the last, and that is raised: LockBusy
    (somebody uses it), HookAborted (the script's refusal; the backup stays as it is), or what stopped it midway, which
    a repetition, or cron, finishes.
    """
    with server.locks.backup():
        finished = _finish_leftovers(server)
        wanted = [BackupId(one) for one in dict.fromkeys(backup_ids) if one not in finished]
        records = server.backups.load()
        plan = plan_by_hand(server, records, wanted)
        asked = set(wanted)
        others = ", ".join(deletion.backup_id for deletion in plan if deletion.backup_id not in asked)
        if others:
            these = "backup " + ", ".join(wanted)
            reporter.warning(f"{these} has incremental backups based on it, which are deleted too: {others}")
        failed = _remove_in_groups(server, plan, reporter)
        if any(map(counts, records.values())) and not any(map(counts, server.backups.load().values())):
            reporter.warning(f"server {server.name} has no backup left that could be restored")
    # What went wrong with the WAL of several backups is one error.
    errors = list(dict.fromkeys(failure.error for failure in failed))
    for error in errors[:-1]:
        reporter.error(error.message)
    if errors:
        raise errors[-1]


def _remove_in_groups(server: Server, plan: Sequence[Deletion], reporter: Reporter) -> list[Failure]:
    failed: list[Failure] = []
    size = group_size(server)
    for start in range(0, len(plan), size):
        records = server.backups.load()
        group = [each for each in plan[start : start + size] if not has_survivor(records, each.backup_id, failed)]
        failed += remove_backups(server, records, group, reporter, now=clock.now(), by_hand=True).failed
    left = {failure.backup_id for failure in failed}
    for backup_id in [each.backup_id for each in plan if failed and server.backups.is_there(each.backup_id)]:
        if backup_id not in left:
            reporter.warning(f"backup {backup_id} is not deleted: one that is based on it could not be")
    return failed


def plan_by_hand(
    server: Server, records: Mapping[BackupId, BackupRecord], wanted: Sequence[BackupId]
) -> list[Deletion]:
    """Return what deleting these backups takes along, in order; UnknownBackup, or Refused by plan_deletion.

    ConfigError if nobody knows how many backups are to stay.
    """
    for backup_id in wanted:
        if backup_id not in records:
            raise UnknownBackup(f"Unknown backup '{backup_id}' for server '{server.name}'")
    if not all(records[backup_id].doomed for backup_id in wanted):
        require_understood(server)
    return plan_deletion(records, wanted, server.backups.keeps(), minimum_redundancy=server.settings.minimum_redundancy)


def plan_by_policy(server: Server, records: Mapping[BackupId, BackupRecord], now: datetime) -> list[Deletion]:
    """Return what cron would delete now, in order; ConfigError if the policy cannot be understood."""
    require_understood(server)
    keeps = server.backups.keeps()
    return plan_enforcement(records, keeps, server_verdicts(server, records, now, keeps=keeps))


def enforce(server: Server, now: datetime, reporter: Reporter) -> list[BackupId]:
    """Finish interrupted deletions, then delete what the retention policy calls obsolete; return what was deleted.

    Nothing happens while a backup is being taken or deleted, it may build upon what we would remove. One backup that
    cannot be deleted does not spare the others.
    """
    lock = server.locks.backup()
    try:
        lock.acquire()
    except LockBusy as error:
        reporter.info(f"Retention of server {server.name} waits: {error.message}")
        return []
    try:
        _finish_leftovers(server)
        deleted = _delete_obsolete(server, now, reporter)
        _release_wal(server, now, reporter)
        return deleted
    finally:
        lock.release()


def purge_before_first_backup(server: Server, record: BackupRecord) -> None:
    """Remove the WAL older than the first backup of a server; hold the backup lock.

    A backup that does not know where its WAL begins, as one that failed early, removes nothing.
    """
    if record.begin_wal is None:
        return
    records = {**server.backups.load(), record.backup_id: record}
    remove_unneeded_wal(server, plan_needs(records, server_keeps(server, records, clock.now())), LogReporter())


def _release_wal(server: Server, now: datetime, reporter: Reporter) -> None:
    """Remove the WAL between backups that have come to stand alone, for which no backup had to be deleted."""
    if not isinstance(server_policy(server), Combined):
        return
    records = server.backups.load()
    needs = plan_needs(records, server_keeps(server, records, now))
    if holds_unneeded_wal(server, needs):
        remove_unneeded_wal(server, needs, reporter)


def _finish_leftovers(server: Server) -> list[BackupId]:
    """Finish the deletions of which only the mark is left, and return of which backups; none that somebody works on."""
    finished = []
    for backup_id in sorted(server.backups.deletion_marks()):
        if server.backups.is_there(backup_id):
            continue
        _log.info("finishing the deletion of backup %s of server %s", backup_id, server.name)
        try:
            remove_leftovers(server, backup_id)
            finished.append(backup_id)
        except LockBusy as busy:
            _log.info("%s", busy)
    return finished


def _delete_obsolete(server: Server, now: datetime, reporter: Reporter) -> list[BackupId]:
    deleted: list[BackupId] = []
    failed: list[Failure] = []
    size = group_size(server)
    while True:
        # Each deletion changes what is true, and keep marks come and go: decide anew.
        records = server.backups.load()
        # What could not be deleted keeps what it is based on.
        plan = [
            each for each in plan_by_policy(server, records, now) if not has_survivor(records, each.backup_id, failed)
        ]
        if not plan:
            return deleted
        removal = remove_backups(server, records, plan[:size], reporter, now=now, by_hand=False)
        deleted += removal.removed
        failed += removal.failed
        _tell_failures(server, removal.failed, reporter)


def _tell_failures(server: Server, failed: Sequence[Failure], reporter: Reporter) -> None:
    for error in dict.fromkeys(failure.error for failure in failed):
        these = ", ".join(failure.backup_id for failure in failed if failure.error is error)
        message = f"backup {these} of server {server.name} is not deleted: {error.message}"
        if isinstance(error, LockBusy):
            # In use: the next pass will find it free.
            reporter.info(message)
        elif isinstance(error, HookAborted):
            reporter.warning(message)
        else:
            reporter.error(message)
