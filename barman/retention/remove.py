"""Removing one backup, so that a crash at any point leaves either the backup or the rest of its removal.

The mark comes first: from then on nobody takes the backup for one, and whoever comes next finishes. The record goes
last, because it says which WAL was the backup's. Files go before the lines that list them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

from barman.catalog.hook_variables import backup_variables, wal_variables
from barman.catalog.record import BackupId, BackupType
from barman.catalog.selection import next_backup
from barman.catalog.wal_archive import archive_key
from barman.errors import Refused, StorageError, UnknownBackup
from barman.host.files import remove_tree
from barman.host.hooks import Event
from barman.retention.plan import concerns_wal, plan_needs, plan_wal_removal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from barman.catalog.record import BackupRecord
    from barman.catalog.xlogdb import WalEntry
    from barman.progress import Reporter
    from barman.retention.plan import WalNeeds
    from barman.server import Server

_log = logging.getLogger(__name__)


def remove_backup(server: Server, backup_id: BackupId, reporter: Reporter, *, by_hand: bool) -> None:
    """Remove one backup, and the WAL that nothing else needs; hold the backup lock.

    The delete hooks may still refuse: HookAborted, and nothing has changed. After any other error the removal has
    begun; calling this again finishes it. Raises LockBusy if somebody works on this backup, Refused if it was kept,
    UnknownBackup if it is gone.
    """
    lock = server.locks.backup_id(backup_id)
    with lock:
        records, keeps = server.backups.load(), server.backups.keeps()
        record = records.get(backup_id)
        if record is None:
            raise UnknownBackup(f"backup {backup_id} of server '{server.name}' was deleted by another process")
        if backup_id in keeps and not record.doomed:
            raise Refused(f"backup {backup_id} is kept for ever ({keeps[backup_id].value}) and is not deleted")
        hooks, variables = server.hooks(Event.DELETE), backup_variables(server.paths, records, record)
        hooks.before(variables)
        try:
            server.backups.mark_deletion(backup_id)
            _remove_files(server, backup_id)
            if concerns_wal(records, keeps, record, by_hand=by_hand):
                remove_unneeded_wal(server, plan_needs(records, keeps, leaving=record), reporter)
            _leave_family(server, records, record)
            server.backups.remove(backup_id)
        except BaseException as error:
            hooks.after(variables, error=error)
            raise
        lock.remove()
    hooks.after(variables)


def remove_leftovers(server: Server, backup_id: BackupId) -> None:
    """Finish a removal of which only the mark is left, and perhaps files."""
    with server.locks.backup_id(backup_id) as lock:
        _remove_files(server, backup_id)
        server.backups.remove(backup_id)
        lock.remove()


def remove_unneeded_wal(server: Server, needs: WalNeeds, reporter: Reporter) -> None:
    """Remove the archived WAL that is not needed, telling each name."""
    if needs.since is None:
        _log.info("no WAL of server %s is removed: %s", server.name, needs.reason)
        return
    entries = {entry.name: entry for entry in server.xlogdb.entries(last=needs.since)}
    names = plan_wal_removal(entries, needs)
    if not names:
        return
    _log.info("removing %s WAL files of server %s before %s: %s", len(names), server.name, needs.since, needs.reason)
    reporter.info("Delete associated WAL segments:")
    for name in names:
        reporter.info(f"\t{name}")
    _remove_wal(server, [entries[name] for name in names])


def _remove_wal(server: Server, entries: Sequence[WalEntry]) -> None:
    hooks = server.hooks(Event.WAL_DELETE)
    variables = [wal_variables(server.paths.wals / archive_key(entry.name), entry) for entry in entries if hooks]
    for each in variables:
        hooks.before(each)
    try:
        server.wal_archive.remove([entry.name for entry in entries])
    except BaseException as error:
        for each in variables:
            hooks.after(each, error=error)
        raise
    for each in variables:
        hooks.after(each)


def _remove_files(server: Server, backup_id: BackupId) -> None:
    try:
        remove_tree(server.paths.backup_dir(backup_id))
    except OSError as error:
        raise StorageError(
            f"cannot delete {error.filename} of backup {backup_id}: {error.strerror}",
            hint="The deletion has begun: repeat it, or let cron finish it.",
        ) from error


def _leave_family(server: Server, records: Mapping[BackupId, BackupRecord], record: BackupRecord) -> None:
    """Update the records that speak of this backup: its parent's, and the sizes of one that shared files with it.

    Nothing relies on either, and on a full disk neither can be written: the removal goes on without.
    """
    try:
        _update_family(server, records, record)
    except StorageError as error:
        _log.warning("the records of the backups around %s are not updated: %s", record.backup_id, error)


def _update_family(server: Server, records: Mapping[BackupId, BackupRecord], record: BackupRecord) -> None:
    parent = records.get(record.parent_backup_id) if record.parent_backup_id else None
    if parent is not None and not parent.damage:
        children = tuple(child for child in parent.children_backup_ids if child != record.backup_id)
        server.backups.save(replace(parent, children_backup_ids=children))
    following = next_backup(records, record.backup_id)
    if following is not None and following.type is BackupType.RSYNC:
        size, own = _measure(server.paths.backup_dir(following.backup_id))
        server.backups.save(replace(following, size=size, deduplicated_size=own))


def _measure(directory: Path) -> tuple[int, int]:
    """Return the sum of the file sizes below directory, and that of the files without another hard link."""
    size = own = 0
    for status in _regular_files(directory):
        size += status.st_size
        own += status.st_size if status.st_nlink == 1 else 0
    return size, own


def _regular_files(directory: Path) -> Iterator[os.stat_result]:
    for parent, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                status = os.lstat(os.path.join(parent, name))
                if stat.S_ISREG(status.st_mode):
                    yield status
