"""Which WAL a base backup cannot be restored without, and whether all of it is here. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from barman.catalog.record import BackupRecord, Status
from barman.errors import CatalogError, WalError
from barman.postgres.wal_names import segment_number, segments_between

if TYPE_CHECKING:
    from collections.abc import Container

MISSING_WAL = "At least one WAL file is missing. The first missing WAL file is "


class Outcome(Enum):
    """What is known about the WAL of a backup."""

    UNKNOWN = "unknown"
    """The record names no end: the backup has not ended, or never will."""
    WAITING = "waiting"
    """Something is not here yet, and may still come in its turn."""
    HOLE = "hole"
    """Later WAL of the timeline is here, and something the backup needs is not, nor is it on its way."""
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class Verdict:
    """outcome, and the first segment that is missing, if any."""

    outcome: Outcome
    missing: str | None = None


def required_segments(record: BackupRecord) -> tuple[str, ...]:
    """Return the segments from the begin to the end of the backup, in order; () while the end is unknown.

    All are named on the timeline of the end. When a standby followed its primary to a new timeline during the backup,
    the first of them exist on the timeline of the begin only. Raises CatalogError when the record contradicts itself.
    """
    if record.begin_wal is None or record.end_wal is None:
        return ()
    try:
        names = tuple(segments_between(record.begin_wal, record.end_wal, record.xlog_segment_size))
    except WalError as error:
        raise CatalogError(f"record of backup {record.backup_id} is damaged: {error.message}") from error
    if not names:
        raise CatalogError(
            f"record of backup {record.backup_id} is damaged: it ends in {record.end_wal}, before its begin in "
            f"{record.begin_wal}"
        )
    return names


def check_required(
    record: BackupRecord, present: Container[str], newest: str | None, *, coming: Container[str] = ()
) -> Verdict:
    """Say whether everything the backup needs is archived.

    present: names of archived segments (more than needed does no harm). newest: the last archived segment of the
    backup's timeline, None if there is none. coming: names that are received and not archived yet: never a hole.
    """
    required = required_segments(record)
    if not required:
        return Verdict(Outcome.UNKNOWN)
    missing = [name for name in required if not (name in present or _on_timeline_of(record.begin_wal, name) in present)]
    if not missing:
        return Verdict(Outcome.COMPLETE)
    size = record.xlog_segment_size
    for name in missing:
        is_overtaken = newest is not None and segment_number(name, size) < segment_number(newest, size)
        if is_overtaken and name not in coming:
            return Verdict(Outcome.HOLE, name)
    return Verdict(Outcome.WAITING, missing[0])


def may_become_complete(record: BackupRecord) -> bool:
    """Whether check-backup may still turn this backup into DONE, so that looking again is worth it.

    Besides WAITING_FOR_WALS: a backup that failed only for a WAL file, which may arrive late, and a STARTED one
    with an end and a size, which the reference leaves behind when it is killed while it waits for WAL.
    """
    if record.status is Status.WAITING_FOR_WALS:
        return True
    if record.status is Status.FAILED:
        return has_failed_for_wal(record)
    return record.status is Status.STARTED and record.end_wal is not None and record.size is not None


def is_abandoned(record: BackupRecord) -> bool:
    """Whether nobody will ever finish this backup, provided that no backup is being taken or imported now."""
    unfinished = record.status in (Status.EMPTY, Status.STARTED) and not may_become_complete(record)
    return unfinished and not record.doomed and not record.damage


def has_failed_for_wal(record: BackupRecord) -> bool:
    """Whether the copy is good and the backup is FAILED only because a WAL file was missing."""
    return record.status is Status.FAILED and (record.error or "").startswith(MISSING_WAL)


def _on_timeline_of(begin: str | None, name: str) -> str:
    return f"{(begin or name)[:8]}{name[8:]}"
