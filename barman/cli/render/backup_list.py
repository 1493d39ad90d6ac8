"""Backups as list-backups prints them, for people and for programs. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from barman.catalog.record import BackupRecord, BackupType
from barman.human import pretty_size
from barman.retention.policy import Word

if TYPE_CHECKING:
    from datetime import datetime

    from barman.monitor.listing import BackupLine

Json = dict[str, Any]

_LETTERS = {BackupType.FULL: "F", BackupType.INCREMENTAL: "I", BackupType.RSYNC: "R", BackupType.SNAPSHOT: "S"}
_DELETING = "DELETING"


def status_word(record: BackupRecord) -> str:
    """Return the status, or DELETING once a deletion has begun: such a backup is none any more."""
    return _DELETING if record.doomed else record.status.value


def render_line(server: str, line: BackupLine) -> str:
    """Return the line of list-backups."""
    record = line.record
    name = f" '{record.backup_name}'" if record.backup_name else ""
    parts = [f"{server} {record.backup_id}{name}", _LETTERS[record.type]]
    if line.size_bytes is None or line.wal_size_bytes is None:
        return " - ".join([*parts, status_word(record)])
    if record.end_time is not None:
        parts.append(record.end_time.ctime())
    parts += [f"Size: {pretty_size(line.size_bytes)}", f"WAL Size: {pretty_size(line.wal_size_bytes)}"]
    if not record.is_done:
        parts.append(status_word(record))
    elif line.retention not in (Word.VALID, Word.NONE):
        parts.append(line.retention.value)
    return " - ".join(parts)


def line_to_json(line: BackupLine) -> Json:
    """Return the line of list-backups as data."""
    record = line.record
    data: Json = {
        "backup_id": record.backup_id,
        "backup_type": record.type.value,
        "status": status_word(record),
    }
    if record.backup_name:
        data["backup_name"] = record.backup_name
    if line.size_bytes is None or line.wal_size_bytes is None:
        return data
    if record.end_time is not None:
        data |= {"end_time": record.end_time.ctime(), "end_time_timestamp": epoch_text(record.end_time)}
    retention = Word.NONE if line.retention is Word.VALID else line.retention
    return {
        **data,
        **size_to_json("size", line.size_bytes),
        **size_to_json("wal_size", line.wal_size_bytes),
        "retention_status": retention.value,
    }


def size_to_json(key: str, size_bytes: int) -> Json:
    """Return a size as people read it, and in bytes beside it."""
    return {key: pretty_size(size_bytes), f"{key}_bytes": size_bytes}


def epoch_text(time: datetime) -> str:
    """Return the seconds since 1970, as text, which is what 3.19 gives."""
    return str(int(time.timestamp()))
