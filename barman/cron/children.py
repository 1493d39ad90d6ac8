"""Which background processes a server needs now, decided on what a look into its directories showed. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from barman.catalog.record import Status
from barman.wal.needs import may_become_complete, stand_ins
from barman.wal.queue import Waiting, plan_incoming, plan_streaming

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from barman.catalog.record import BackupRecord
    from barman.config.settings import ServerSettings
    from barman.wal.gaps import Histories


@dataclass(frozen=True, slots=True)
class Child:
    """A background command. words: the command line behind the global options. message: what to tell when it starts."""

    words: tuple[str, ...]
    message: str


def needs_archiving(
    settings: ServerSettings,
    incoming: Iterable[Waiting],
    streaming: Iterable[Waiting],
    is_archived: Callable[[str], bool],
) -> bool:
    """Whether archive-wal would find something to do. incoming, streaming: the entries of these directories."""
    queues = [plan_incoming(incoming, limit=0)] if settings.archiver else []
    if settings.streaming_archiver:
        queues.append(plan_streaming(streaming, limit=0))
    return any(
        queue.unknown or any(name != queue.staying or not is_archived(name) for name in queue.names) for queue in queues
    )


def find_backup_to_check(
    records: Iterable[BackupRecord],
    is_archived: Callable[[str], bool],
    *,
    is_backup_running: bool,
    read_histories: Callable[[], Histories],
) -> BackupRecord | None:
    """The backup for which check-backup is worth starting, if any: one a pass, oldest first.

    One whose missing WAL has arrived goes first, so that a backup that waits in vain does not hold up the others. A
    STARTED record is left alone while a backup runs, because then it is that backup's. is_archived: by segment name.
    read_histories: called only when a backup waits for its end, which a newer timeline may have.
    """
    candidates = [
        record
        for record in sorted(records, key=lambda record: record.backup_id)
        if may_become_complete(record)
        and not record.doomed
        and not (record.status is Status.STARTED and is_backup_running)
    ]
    for record in candidates:
        wanted = _missing_wal(record) or record.end_wal
        if wanted is not None and is_archived(wanted):
            return record
    ending = [record for record in candidates if _missing_wal(record) in (None, record.end_wal)]
    histories = read_histories() if ending else {}
    for record in ending:
        if any(map(is_archived, stand_ins(record, histories))):
            return record
    return next((record for record in candidates if record.status is not Status.FAILED), None)


def _missing_wal(record: BackupRecord) -> str | None:
    """The segment that a backup FAILED for; None if it has not."""
    return (record.error or "").rpartition(" ")[2] or None if record.status is Status.FAILED else None
