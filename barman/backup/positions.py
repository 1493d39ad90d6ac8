"""Writing positions in the WAL into a record. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from barman.postgres.lsn import format_lsn
from barman.postgres.wal_names import segment_at, segment_before

if TYPE_CHECKING:
    from barman.catalog.record import BackupRecord


def begin_at(record: BackupRecord, lsn: int, timeline: int) -> BackupRecord:
    """Return record with its begin at lsn; begin_wal is the segment that holds the byte there."""
    size = record.xlog_segment_size
    return replace(
        record,
        begin_xlog=format_lsn(lsn),
        begin_wal=segment_at(lsn, timeline, size),
        begin_offset=lsn % size,
        timeline=timeline,
    )


def end_at(record: BackupRecord, lsn: int, timeline: int) -> BackupRecord:
    """Return record with its end at lsn, the first byte not needed; end_wal is the last segment that is.

    At a boundary that is the segment before it, whoever the server is: the one after may not be written for days.
    """
    size = record.xlog_segment_size
    last = segment_before(lsn, timeline, size)
    begin = record.begin_wal
    return replace(
        record,
        end_xlog=format_lsn(lsn),
        # In the segment it began in, too, it may end on a newer timeline.
        end_wal=last if begin is None else max(last, begin, key=lambda name: name[8:]),
        end_offset=lsn % size,
    )


def describe_position(lsn: str | None, segment: str | None, offset: int | None) -> str:
    """Return `0/B0000C8 (00000001000000000000000B, 000000C8)`."""
    return f"{lsn} ({segment}, {offset or 0:08X})"
