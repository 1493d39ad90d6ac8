"""What hook scripts about a backup are told of it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from barman.catalog.selection import next_backup, previous_backup

if TYPE_CHECKING:
    from collections.abc import Mapping

    from barman.catalog.layout import ServerPaths
    from barman.catalog.record import BackupId, BackupRecord


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
