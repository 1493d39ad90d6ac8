"""Chains of block-level incremental backups: each needs its parent, down to a full one. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from barman.errors import CatalogError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from barman.catalog.record import BackupId, BackupRecord


def chain(records: Mapping[BackupId, BackupRecord], backup_id: str) -> list[BackupRecord]:
    """Return the backups a restore of backup_id needs, the full one first, backup_id last.

    Raises CatalogError if one of them is missing, damaged or being deleted, or if the links go round in a circle.
    """
    links: list[BackupRecord] = []
    wanted: str | None = backup_id
    while wanted is not None:
        record = _find(records, wanted)
        problem = _problem(record) or ("based on itself" if record in links else None)
        if record is None or problem:
            link = "it" if wanted == backup_id else f"backup {wanted}, which it is based on,"
            raise CatalogError(
                f"backup {backup_id} cannot be restored: {link} is {problem}", hint="Choose another backup."
            )
        links.append(record)
        wanted = record.parent_backup_id
    return links[::-1]


def is_whole(records: Mapping[BackupId, BackupRecord], backup_id: str) -> bool:
    """Whether all a restore of backup_id needs is there."""
    try:
        chain(records, backup_id)
    except CatalogError:
        return False
    return True


def _find(records: Mapping[BackupId, BackupRecord], backup_id: str) -> BackupRecord | None:
    return next((record for known, record in records.items() if known == backup_id), None)


def _problem(record: BackupRecord | None) -> str | None:
    if record is None:
        return "missing"
    if record.damage:
        return f"damaged: {record.damage}"
    return "being deleted" if record.doomed else None


def root_id(records: Mapping[BackupId, BackupRecord], backup_id: BackupId) -> BackupId:
    """Return the id of the oldest ancestor there is; that of the backup itself if it has none."""
    seen = {backup_id}
    while True:
        record = records.get(backup_id)
        parent = record.parent_backup_id if record else None
        if parent is None or parent not in records or parent in seen:
            return backup_id
        seen.add(parent)
        backup_id = parent


def descendants(records: Mapping[BackupId, BackupRecord], backup_id: str) -> list[BackupRecord]:
    """Return the backups that are based on backup_id, directly or not: every one before the one it is based on."""
    found: list[BackupRecord] = []
    waiting = [backup_id]
    seen = {backup_id}
    while waiting:
        parent = waiting.pop()
        for child in sorted(records):
            if records[child].parent_backup_id == parent and child not in seen:
                seen.add(child)
                found.append(records[child])
                waiting.append(child)
    return found[::-1]
