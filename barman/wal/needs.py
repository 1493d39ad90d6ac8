"""Which WAL a base backup cannot be restored without, and whether all of it is here. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from barman.catalog.record import BackupRecord, Status
from barman.errors import CatalogError, WalError
from barman.postgres.lsn import parse_lsn
from barman.postgres.wal_names import is_segment_name, segment_name, segment_number, segments_between, timeline_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from barman.wal.gaps import Histories

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


def serving_names(record: BackupRecord, histories: Histories) -> tuple[tuple[str, ...], ...]:
    """Return for each required segment, in order, the files of which any one will do; the one to be named comes first.

    histories: the archived ones. A standby may follow its primary to a new timeline during the backup: the first
    segments are those of older timelines then, by the history of the last, or, without it, by that of the begin. For
    the last segment its stand_ins serve as well. CatalogError as for required_segments.
    """
    required = required_segments(record)
    if not required:
        return ()
    size, begin = record.xlog_segment_size, timeline_of(record.begin_wal or required[0])
    path = histories.get(timeline_of(required[-1])) if has_followed(record) else None
    names: list[tuple[str, ...]]
    if path is not None:
        numbers = (segment_number(name, size) for name in required)
        names = [(segment_name(path.timeline_of_segment(number, size), number, size),) for number in numbers]
    else:
        older = [(name, f"{begin:08X}{name[8:]}") for name in required[:-1]]
        names = [*(each if has_followed(record) else each[:1] for each in older), required[-1:]]
    names[-1] += stand_ins(record, histories)
    return tuple(names)


def stand_ins(record: BackupRecord, histories: Histories) -> tuple[str, ...]:
    """Return which segments hold the end of the backup besides end_wal: of timelines that begin in it, behind the end.

    Up to where a timeline begins its first segment is a copy of the older one's, which after a failover may never be
    complete. () when the record does not say where the backup ends.
    """
    if record.end_wal is None or record.end_xlog is None:
        return ()
    size, own = record.xlog_segment_size, timeline_of(record.end_wal)
    try:
        number, end = segment_number(record.end_wal, size), parse_lsn(record.end_xlog)
    except WalError:
        return ()
    found = {history.timeline_of_segment(number, size) for history in histories.values() if history.contains(own, end)}
    return tuple(segment_name(timeline, number, size) for timeline in sorted(found) if timeline > own)


def may_serve(segment: str, begin_wal: str, end_wal: str) -> bool:
    """Whether a segment may be one of serving_names, by its name alone: histories may be unreadable."""
    is_on_the_way = segment[:8] <= end_wal[:8] or segment[8:] == end_wal[8:]
    return begin_wal[:8] <= segment[:8] and is_on_the_way and begin_wal[8:] <= segment[8:] <= end_wal[8:]


def possible_names(record: BackupRecord, known: Iterable[str]) -> list[str]:
    """Return what the segments a backup needs may be called, with the histories that tell which of them it needs.

    known: the names of WAL files there are.
    """
    required = required_segments(record)
    if record.begin_wal is None or not required:
        return []
    begin = record.begin_wal[:8]
    names = [name for one in required for name in (f"{begin}{one[8:]}", one)]
    for name in known:
        if is_segment_name(name):
            if may_serve(name, record.begin_wal, required[-1]):
                names.append(name)
        elif name.endswith(".history") and name[:8] > begin:
            names.append(name)
    return list(dict.fromkeys(names))


def has_followed(record: BackupRecord) -> bool:
    """Whether the backup ends on another timeline than it began on, as one of a standby may."""
    begin, end = record.begin_wal, record.end_wal
    return begin is not None and end is not None and timeline_of(begin) != timeline_of(end)


def check_required(
    record: BackupRecord,
    present: Container[str],
    newest: str | None,
    *,
    coming: Container[str] = (),
    histories: Histories | None = None,
) -> Verdict:
    """Say whether everything the backup needs is archived.

    present: names of archived segments (more than needed does no harm). newest: the last archived segment of the
    backup's timeline, None if there is none. coming: names that are received and not archived yet: never a hole.
    histories: as for serving_names; None: none are known.
    """
    serving = serving_names(record, histories or {})
    if not serving:
        return Verdict(Outcome.UNKNOWN)
    missing: list[tuple[str, ...]] = []
    last_here = newest
    for names in serving:
        if any(name in present for name in names):
            last_here = max(last_here or names[0], names[0], key=_position)
        else:
            missing.append(names)
    if not missing:
        return Verdict(Outcome.COMPLETE)
    for names in missing:
        is_overtaken = last_here is not None and _position(names[0]) < _position(last_here)
        if is_overtaken and not any(name in coming for name in names):
            return Verdict(Outcome.HOLE, names[0])
    return Verdict(Outcome.WAITING, missing[0][0])


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


def _position(segment: str) -> str:
    """Return what orders segments of different timelines."""
    return segment[8:]
