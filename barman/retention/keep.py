"""Keeping backups for ever, whatever the retention policy says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from barman.catalog.record import Status
from barman.errors import Refused

if TYPE_CHECKING:
    from barman.catalog.record import BackupRecord, KeepTarget
    from barman.server import Server


def keep_backup(server: Server, record: BackupRecord, target: KeepTarget) -> None:
    """Keep a backup from now on, durably.

    Raises Refused unless it is DONE, not incremental and not being deleted, LockBusy while somebody changes it.
    """
    with server.locks.lease(record.backup_id, "marking"):
        now = server.backups.get(record.backup_id)
        if now.is_incremental:
            raise Refused(
                f"backup {now.backup_id} is incremental and cannot be kept for ever",
                hint="Keep the full backup it is based on.",
            )
        if now.doomed or now.status is not Status.DONE:
            state = "being deleted" if now.doomed else now.status.value
            raise Refused(f"backup {now.backup_id} is {state}; only a DONE backup can be kept for ever")
        server.backups.set_keep(now.backup_id, target)


def release_backup(server: Server, record: BackupRecord) -> None:
    """Leave a backup to the retention policy again; nothing happens if it was not kept. LockBusy as above."""
    with server.locks.lease(record.backup_id, "marking"):
        server.backups.clear_keep(record.backup_id)
