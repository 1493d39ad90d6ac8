"""What hook scripts are told of the backup or the WAL file they are about. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from barman.catalog.selection import next_backup, previous_backup

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from barman.catalog.layout import ServerPaths
    from barman.catalog.record import BackupId, BackupRecord
    from barman.catalog.xlog_lines import WalEntry


def backup_variables(
    paths: ServerPaths, records: Mapping[BackupId, BackupRecord], record: BackupRecord
) -> dict[str, str]:
    """Return the variables of backup, delete and recovery hooks; empty text where there is no neighbour.

    records: all backups of the server; those complete count as neighbours, whether record itself is among them or not.
    """
    previous, following = previous_backup(records, record.backup_id), next_backup(records, record.backup_id)
    return {
        "BARMAN_BACKUP_DIR": str(paths.backup_dir(record.backup_id)),
        "BARMAN_BACKUP_INFO_PATH": str(paths.record_file(record.backup_id)),
        "BARMAN_BACKUP_ID": record.backup_id,
        "BARMAN_PREVIOUS_ID": previous.backup_id if previous else "",
        "BARMAN_NEXT_ID": following.backup_id if following else "",
        "BARMAN_STATUS": record.status.value,
    }


def wal_variables(file: Path, entry: WalEntry) -> dict[str, str]:
    """Return the variables of the hooks about one WAL file. file: where it is at that moment."""
    return {
        "BARMAN_SEGMENT": entry.name,
        "BARMAN_FILE": str(file),
        "BARMAN_SIZE": str(entry.size),
        "BARMAN_TIMESTAMP": str(entry.mtime),
        "BARMAN_COMPRESSION": entry.compression or "",
    }
