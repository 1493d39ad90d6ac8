"""Which background processes a server needs now, decided on what a look into its directories showed. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from barman.catalog.record import Status
from barman.wal.needs import may_become_complete

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from barman.catalog.record import BackupRecord
    from barman.config.settings import ServerSettings


@dataclass(frozen=True, slots=True)
class Child:
    """A background command. words: the command line behind the global options. message: what to tell when it starts."""

    words: tuple[str, ...]
    message: str


def needs_archiving(settings: ServerSettings, incoming: Iterable[str], streaming: Iterable[str]) -> bool:
    """Whether archive-wal would find something to do. incoming, streaming: the names in these directories.

    The last file in streaming stays there: pg_receivewal is writing it, or needs it to find its place again.
    """
    if settings.archiver and any(_counts(name) for name in incoming):
        return True
    if not settings.streaming_archiver:
        return False
    waiting = [name for name in streaming if _counts(name)]
    return len(waiting) > 1 or any(not name.endswith(".partial") for name in waiting)


def find_backup_to_check(
    records: Iterable[BackupRecord], is_archived: Callable[[str], bool], *, is_backup_running: bool
) -> BackupRecord | None:
    """The backup for which check-backup is worth starting, if any: one a pass, oldest first.

    One whose missing WAL has arrived goes first, so that a backup that waits in vain does not hold up the others. A
    STARTED record is left alone while a backup runs, because then it is that backup's. is_archived: by segment name.
    """
    candidates = [
        record
        for record in sorted(records, key=lambda record: record.backup_id)
        if may_become_complete(record)
        and not record.doomed
        and not (record.status is Status.STARTED and is_backup_running)
    ]
    for record in candidates:
        wanted = _missing_wal(record) if record.status is Status.FAILED else record.end_wal
        if wanted is not None and is_archived(wanted):
            return record
    return next((record for record in candidates if record.status is not Status.FAILED), None)


def _counts(name: str) -> bool:
    return not name.startswith(".") and not name.endswith(".tmp")


def _missing_wal(record: BackupRecord) -> str | None:
    """The segment that a backup FAILED for."""
    return (record.error or "").rpartition(" ")[2] or None
