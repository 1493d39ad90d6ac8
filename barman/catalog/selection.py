"""Which backup is meant, and which are its neighbours. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from barman.catalog.record import BackupId, BackupRecord, Status, is_backup_id
from barman.errors import Refused, UnknownBackup

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


def resolve(records: Mapping[BackupId, BackupRecord], text: str, *, server: str) -> BackupRecord:
    """Return the backup that text names: a shortcut, an id (of any status), or the name of a complete backup.

    Raises UnknownBackup if there is none, Refused if several have the name.
    """
    if is_backup_id(text):
        found = records.get(BackupId(text))
    elif text in {"latest", "last"}:
        found = latest(records)
    elif text in {"oldest", "first"}:
        found = next((record for record in _ascending(records) if record.is_copy_done), None)
    elif text in {"latest-full", "last-full"}:
        found = _last(record for record in _ascending(records) if record.is_copy_done and record.is_full)
    elif text == "last-failed":
        found = _last(record for record in _ascending(records) if record.status is Status.FAILED)
    else:
        found = _named(records, text, server)
    if found is None:
        hint = f"See 'barman list-backups {server}'." if records else f"Server {server} has no backups."
        raise UnknownBackup(f"Unknown backup '{text}' for server '{server}'", hint=hint)
    return found


def latest(records: Mapping[BackupId, BackupRecord]) -> BackupRecord | None:
    """Return the newest complete backup."""
    return _last(record for record in _ascending(records) if record.is_copy_done)


def previous_backup(records: Mapping[BackupId, BackupRecord], backup_id: str) -> BackupRecord | None:
    """Return the newest complete backup older than backup_id, which need not exist."""
    return _last(record for record in _ascending(records) if record.is_copy_done and record.backup_id < backup_id)


def next_backup(records: Mapping[BackupId, BackupRecord], backup_id: str) -> BackupRecord | None:
    """Return the oldest complete backup newer than backup_id, which need not exist."""
    return next(
        (record for record in _ascending(records) if record.is_copy_done and record.backup_id > backup_id), None
    )


def _named(records: Mapping[BackupId, BackupRecord], name: str, server: str) -> BackupRecord | None:
    matches = [record for record in _ascending(records) if record.is_copy_done and record.backup_name == name]
    if len(matches) > 1:
        ids = ", ".join(record.backup_id for record in matches)
        raise Refused(
            f"several backups of server '{server}' have the name '{name}': {ids}", hint="Use the id of one of them."
        )
    return matches[0] if matches else None


def _ascending(records: Mapping[BackupId, BackupRecord]) -> Iterator[BackupRecord]:
    return (records[backup_id] for backup_id in sorted(records))


def _last(records: Iterable[BackupRecord]) -> BackupRecord | None:
    found = None
    for found in records:  # noqa: B007  the last one is the result
        pass
    return found
