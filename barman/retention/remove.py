"""Removing backups, so that a crash at any point leaves either the backup or the rest of its removal.

The mark comes first: from then on nobody takes the backup for one, and whoever comes next finishes. The record goes
last, because it says which WAL was the backup's. Files go before the lines that list them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from barman.catalog.chains import descendants
from barman.catalog.hook_variables import backup_variables
from barman.catalog.record import BackupId, BackupType
from barman.catalog.selection import next_backup
from barman.errors import BarmanError, Refused, StorageError, UnknownBackup
from barman.host import clock
from barman.host.files import remove_tree
from barman.host.hooks import Event
from barman.host.reflink import shared_bytes
from barman.human import ctime, pretty_interval
from barman.retention.judge import server_keeps
from barman.retention.plan import plan_needs_after
from barman.retention.remove_wal import remove_unneeded_wal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from barman.catalog.record import BackupRecord
    from barman.host.locks import NamedLock
    from barman.progress import Reporter
    from barman.retention.plan import Deletion
    from barman.server import Server

_log = logging.getLogger(__name__)

# Each is locked meanwhile, which takes a file descriptor; processes may usually have a thousand.
_TOGETHER = 100


class Failure(NamedTuple):
    """A backup that was not removed, and what kept it; its removal may have begun."""

    backup_id: BackupId
    error: BarmanError


class Removal(NamedTuple):
    """What became of the backups that were to be removed."""

    removed: tuple[BackupId, ...]
    failed: tuple[Failure, ...]


def group_size(server: Server) -> int:
    """How many backups one remove_backups should get.

    Several at once cost one walk through the WAL archive; but what hook scripts do before one backup is removed and
    after it belongs together.
    """
    return 1 if server.hooks(Event.DELETE) else _TOGETHER


def remove_backups(
    server: Server,
    records: Mapping[BackupId, BackupRecord],
    wanted: Sequence[Deletion],
    reporter: Reporter,
    *,
    now: datetime,
    by_hand: bool,
) -> Removal:
    """Remove backups in the order given, and the WAL that nothing else needs; hold the backup lock.

    records: all backups of the server. A backup that cannot be removed does not spare the others, except what it is
    based on. It fails with LockBusy if somebody uses it, HookAborted if a script says so, Refused if it was kept,
    UnknownBackup if it is gone: then nothing has changed. After any other error its removal has begun, and a
    repetition finishes it.
    """
    begun: list[_Begun] = []
    removed: list[BackupId] = []
    failed: list[Failure] = []
    try:
        with contextlib.ExitStack() as held:
            for deletion in wanted:
                if has_survivor(records, deletion.backup_id, failed):
                    continue
                try:
                    begun.append(_begin(server, records, deletion, reporter, held, by_hand=by_hand))
                except BarmanError as error:
                    failed.append(Failure(deletion.backup_id, error))
            _remove_wal_of(server, records, begun, reporter, now=now, by_hand=by_hand)
            for each in begun:
                _leave_family(server, records, each.record)
                server.backups.remove(each.record.backup_id)
                removed.append(each.record.backup_id)
                each.lock.remove()
    except BarmanError as error:
        failed += [Failure(each.record.backup_id, error) for each in begun if each.record.backup_id not in removed]
    for each in begun[: len(removed)]:
        elapsed = pretty_interval(timedelta(seconds=clock.monotonic() - each.start))
        began = ctime(each.began)
        reporter.info(f"Deleted backup {each.record.backup_id} (start time: {began}, elapsed time: {elapsed})")
    return Removal(tuple(removed), tuple(failed))


def has_survivor(records: Mapping[BackupId, BackupRecord], backup_id: BackupId, failed: Sequence[Failure]) -> bool:
    """Whether removing this backup, or one that is based on it, has failed."""
    if not failed:
        return False
    chain = {backup_id, *(child.backup_id for child in descendants(records, backup_id))}
    return any(failure.backup_id in chain for failure in failed)


class _Begun(NamedTuple):
    """A backup whose files are gone, and whose record and mark still say what is left to do."""

    record: BackupRecord
    lock: NamedLock
    began: datetime
    start: float


def _begin(
    server: Server,
    records: Mapping[BackupId, BackupRecord],
    deletion: Deletion,
    reporter: Reporter,
    held: contextlib.ExitStack,
    *,
    by_hand: bool,
) -> _Begun:
    """Mark a backup and remove its files. Its lock, and the hooks to come, are left to held."""
    backup_id, reason = deletion
    record = records[backup_id]
    with contextlib.ExitStack() as ours:
        lock = ours.enter_context(server.locks.backup_id(backup_id))
        _require_removable(server, record)
        _log.info("deleting backup %s of server %s: %s", backup_id, server.name, reason)
        began, start = clock.now(), clock.monotonic()
        if not by_hand:
            reporter.info(f"Enforcing retention policy: removing backup {backup_id} for server {server.name}")
        reporter.info(f"Deleting backup {backup_id} for server {server.name}")
        hooks, variables = server.hooks(Event.DELETE), backup_variables(server.paths, records, record)
        hooks.before(variables, reporter)
        ours.push(lambda _kind, error, _trace: hooks.after(variables, reporter, error=error))
        server.backups.mark_deletion(backup_id)
        _remove_files(server, backup_id)
        held.push(ours.pop_all())
        return _Begun(record, lock, began, start)


def _require_removable(server: Server, record: BackupRecord) -> None:
    """Look again, now that nobody else can work on this backup."""
    if not server.backups.is_there(record.backup_id):
        raise UnknownBackup(f"backup {record.backup_id} of server '{server.name}' was deleted by another process")
    kept = None if record.doomed else server.backups.keep(record.backup_id)
    if kept is not None:
        raise Refused(f"backup {record.backup_id} is kept by a keep mark ({kept.value}) and is not deleted")


def _remove_wal_of(
    server: Server,
    records: Mapping[BackupId, BackupRecord],
    begun: Sequence[_Begun],
    reporter: Reporter,
    *,
    now: datetime,
    by_hand: bool,
) -> None:
    gone = {each.record.backup_id for each in begun}
    left = {backup_id: record for backup_id, record in records.items() if backup_id not in gone}
    keeps = server_keeps(server, left, now)
    needs = plan_needs_after(records, keeps, [each.record for each in begun], by_hand=by_hand)
    if needs is not None:
        remove_unneeded_wal(server, needs, reporter)


def remove_leftovers(server: Server, backup_id: BackupId) -> None:
    """Finish a removal of which only the mark is left, and perhaps files."""
    with server.locks.backup_id(backup_id) as lock:
        _remove_files(server, backup_id)
        server.backups.remove(backup_id)
        lock.remove()


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
    """Return the sum of the file sizes below directory, and what of it is in no other backup."""
    size = own = 0
    for path, status in _regular_files(directory):
        size += status.st_size
        own += status.st_size - shared_bytes(path) if status.st_nlink == 1 else 0
    return size, own


def _regular_files(directory: Path) -> Iterator[tuple[str, os.stat_result]]:
    for parent, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                path = os.path.join(parent, name)
                status = os.lstat(path)
                if stat.S_ISREG(status.st_mode):
                    yield path, status
