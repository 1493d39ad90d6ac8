"""What list-backups, show-backup and list-files tell. One pass over the WAL ledger, whatever the number of backups."""

from __future__ import annotations

import heapq
import logging
import os
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from barman.catalog.chains import root_id
from barman.catalog.selection import next_backup, previous_backup
from barman.catalog.wal_archive import archive_key
from barman.catalog.xlogdb import WalTotals
from barman.errors import ConfigError
from barman.postgres.lsn import parse_lsn
from barman.retention.judge import server_verdicts
from barman.retention.policy import Verdict, Word
from barman.wal.continuity import read_histories, times_of, view_wal
from barman.wal.gaps import reach_of, starts_of
from barman.wal.needs import has_followed, serving_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from barman.catalog.page_report import PageReport
    from barman.catalog.record import BackupId, BackupRecord
    from barman.catalog.xlogdb import WalEntry
    from barman.server import Server
    from barman.wal.continuity import WalView
    from barman.wal.gaps import Gap

_log = logging.getLogger(__name__)

_NO_VERDICT = Verdict(Word.NONE, "no retention policy")


@dataclass(frozen=True, slots=True)
class BackupLine:
    """A line of list-backups. Sizes are None for backups that are not complete.

    size_bytes: the copy and the WAL it needs. wal_size_bytes: the WAL from there to the next backup.
    """

    record: BackupRecord
    retention: Word
    size_bytes: int | None = None
    wal_size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class WalSpan:
    """The archived WAL of a backup, on the timeline it ends on.

    own: from its begin to its end, with what it needs of other timelines. whole: from its begin to the end of the next
    backup, with the same.
    """

    own: WalTotals
    whole: WalTotals

    @property
    def later_files(self) -> int:
        """How many segments follow the backup's own."""
        return self.whole.files - self.own.files

    @property
    def later_bytes(self) -> int:
        """Their stored size."""
        return self.whole.size_bytes - self.own.size_bytes

    @property
    def files_per_second(self) -> float:
        """How fast segments came in, by their times; 0 when that cannot be told."""
        first, last = self.whole.first, self.whole.last
        if first is None or last is None or last.mtime <= first.mtime:
            return 0.0
        return self.whole.files / (last.mtime - first.mtime)


@dataclass(frozen=True, slots=True)
class Hole:
    """Missing WAL that recovery from a backup would need to go on.

    until_lsn: the position it can be recovered to, None if the backup itself cannot be recovered. until_time: about
    when that was, if known.
    """

    gap: Gap
    until_lsn: int | None
    until_time: datetime | None


@dataclass(frozen=True, slots=True)
class BackupDetails:
    """All that show-backup tells of a complete backup beyond its record.

    retention: None when no policy is enforced. timelines: those that branch off after the end of the backup. root,
    chain_size: None unless it is incremental. hole: what ends its recovery before the end of the archive.
    pages: what its page checksums said, if they were looked at.
    """

    record: BackupRecord
    wal: WalSpan
    timelines: tuple[int, ...]
    retention: Word | None
    previous: BackupId | None
    following: BackupId | None
    root: BackupId | None
    chain_size: int | None
    hole: Hole | None = None
    pages: PageReport | None = None


class Target(Enum):
    """Which files of a backup are meant."""

    DATA = "data"
    """the copy"""
    STANDALONE = "standalone"
    """the copy, and the WAL that makes it consistent"""
    WAL = "wal"
    """the WAL up to the end of the next backup, and all history files"""
    FULL = "full"
    """the copy and that WAL"""


def list_backups(server: Server, now: datetime) -> list[BackupLine]:
    """Return all backups of a server, newest first."""
    records = server.backups.load()
    words = retention_words(server, records, now) or {}
    complete = [record for record in records.values() if record.is_copy_done]
    spans = wal_spans(server, records, complete)
    lines = []
    for backup_id in sorted(records, reverse=True):
        record, word = records[backup_id], words.get(backup_id, _NO_VERDICT.word)
        span = spans.get(backup_id)
        if span is None:
            lines.append(BackupLine(record, word))
        else:
            lines.append(BackupLine(record, word, (record.size or 0) + span.own.size_bytes, span.later_bytes))
    return lines


def show_backup(
    server: Server, records: Mapping[BackupId, BackupRecord], record: BackupRecord, now: datetime
) -> BackupDetails:
    """Return the details of a complete backup."""
    words = retention_words(server, records, now)
    bounds = _bounds(records, record)
    view = view_wal(server, records, _ranges(bounds), segment_size=record.xlog_segment_size)
    span = WalSpan(*view.totals) if bounds else WalSpan(WalTotals(), WalTotals())
    previous, following = previous_backup(records, record.backup_id), next_backup(records, record.backup_id)
    return BackupDetails(
        record=record,
        wal=_complete_spans(server, [record], {record.backup_id: span})[record.backup_id],
        timelines=_later_timelines(view, record),
        retention=None if words is None else words[record.backup_id],
        previous=previous.backup_id if previous else None,
        following=following.backup_id if following else None,
        root=root_id(records, record.backup_id) if record.is_incremental else None,
        chain_size=_chain_size(records, record) if record.is_incremental else None,
        hole=_hole(server, view, record) if view.gaps else None,
        pages=server.backups.page_report(record.backup_id),
    )


def list_files(
    server: Server,
    records: Mapping[BackupId, BackupRecord],
    record: BackupRecord,
    target: Target,
    *,
    empty_directories: bool = False,
) -> Iterator[Path]:
    """Yield the files of a backup: the copy, a directory before those in it, then its WAL in order."""
    if target is not Target.WAL:
        yield from _copied_files(server.paths.backup_dir(record.backup_id), empty_directories=empty_directories)
    bounds = _bounds(records, record)
    if target is Target.DATA or bounds is None:
        return
    first, own_last, last = bounds
    elsewhere = _on_other_timelines(server, record)
    if target is not Target.STANDALONE or elsewhere:
        yield from (server.paths.wals / archive_key(name) for name in server.xlogdb.history_names())
    entries = server.xlogdb.entries(first, own_last if target is Target.STANDALONE else last)
    own = (entry.name for entry in entries if len(entry.name) == len(first))
    yield from (server.paths.wals / archive_key(name) for name in heapq.merge(own, elsewhere))


def retention_words(
    server: Server, records: Mapping[BackupId, BackupRecord], now: datetime
) -> Mapping[BackupId, Word] | None:
    """Return what the retention policy says of each backup, None if there is none that can be understood."""
    if server.settings.retention_policy is None:
        return None
    try:
        return {backup_id: verdict.word for backup_id, verdict in server_verdicts(server, records, now).items()}
    except ConfigError as error:
        _log.warning("server %s: %s", server.name, error)
        return None


def wal_spans(
    server: Server, records: Mapping[BackupId, BackupRecord], wanted: list[BackupRecord]
) -> dict[BackupId, WalSpan]:
    """Return the archived WAL of each complete backup."""
    bounds = {record.backup_id: _bounds(records, record) for record in wanted}
    ranges = [pair for each in bounds.values() for pair in _ranges(each)]
    totals = iter(server.xlogdb.totals(ranges) if ranges else ())
    spans = {
        backup_id: WalSpan(next(totals), next(totals)) if each else WalSpan(WalTotals(), WalTotals())
        for backup_id, each in bounds.items()
    }
    return _complete_spans(server, wanted, spans)


def _complete_spans(
    server: Server, records: Sequence[BackupRecord], spans: Mapping[BackupId, WalSpan]
) -> dict[BackupId, WalSpan]:
    """Return spans with the segments of other timelines that the backups need; next to free where there are none."""
    names = {
        record.backup_id: _on_other_timelines(server, record)
        for record in records
        if has_followed(record) or _ends_elsewhere(record, spans[record.backup_id])
    }
    entries = server.xlogdb.get([name for each in names.values() for name in each])
    completed = dict(spans)
    for backup_id, elsewhere in names.items():
        found = [entries[name] for name in elsewhere if name in entries]
        own, whole = spans[backup_id].own, spans[backup_id].whole
        completed[backup_id] = WalSpan(_enlarged(own, found), _enlarged(whole, found))
    return completed


def _ends_elsewhere(record: BackupRecord, span: WalSpan) -> bool:
    """Whether the last segment is not archived: after a failover one of a newer timeline may stand in for it."""
    return record.end_wal is not None and (span.own.last is None or span.own.last.name != record.end_wal)


def _enlarged(totals: WalTotals, more: Sequence[WalEntry]) -> WalTotals:
    """Return totals with more segments, of other timelines; the ends of the range stay, where there are any."""
    return WalTotals(
        files=totals.files + len(more),
        size_bytes=totals.size_bytes + sum(entry.size for entry in more),
        first=totals.first or next(iter(more), None),
        last=totals.last or next(reversed(more), None),
    )


def _bounds(records: Mapping[BackupId, BackupRecord], record: BackupRecord) -> tuple[str, str, str] | None:
    """Return begin and end of the backup, and the end of the next one, as segments of one timeline; None if unknown."""
    if record.begin_wal is None or record.end_wal is None:
        return None
    timeline = record.end_wal[:8]
    following = next_backup(records, record.backup_id)
    last = f"{timeline}{'F' * 16}"
    if following is not None and following.end_wal is not None and following.end_wal[:8] == timeline:
        last = max(following.end_wal, record.end_wal)
    return timeline + record.begin_wal[8:], record.end_wal, last


def _on_other_timelines(server: Server, record: BackupRecord) -> list[str]:
    """Return the archived segments a backup needs of other timelines than it ends on, ascending."""
    archive, end_wal = server.wal_archive, record.end_wal
    if end_wal is None or (archive.exists(end_wal) and not has_followed(record)):
        return []
    names = {name for each in serving_names(record, read_histories(archive)) for name in each}
    return sorted(name for name in names if name[:8] != end_wal[:8] and archive.exists(name))


def _ranges(bounds: tuple[str, str, str] | None) -> list[tuple[str, str]]:
    """Return the ranges whose totals make a WalSpan."""
    return [] if bounds is None else [(bounds[0], bounds[1]), (bounds[0], bounds[2])]


def _later_timelines(view: WalView, record: BackupRecord) -> tuple[int, ...]:
    own = record.end_timeline
    if own is None or record.end_xlog is None:
        return ()
    end = parse_lsn(record.end_xlog)
    return tuple(
        timeline
        for timeline, history in sorted(view.histories.items())
        if timeline > own and history.contains(own, end)
    )


def _hole(server: Server, view: WalView, record: BackupRecord) -> Hole | None:
    """Return what stops recovery from record on its way to the newest timeline it can reach."""
    keep = server.backups.keep(record.backup_id)
    starts = starts_of([record], {} if keep is None else {record.backup_id: keep})
    if not starts:
        return None
    reach = reach_of(starts[0], view.runs, view.histories, view.gaps, view.segment_size)[-1]
    is_complete = reach.last >= starts[0].end
    if reach.gap is None or (starts[0].alone and is_complete):
        return None
    if not is_complete:
        return Hole(reach.gap, None, None)
    times = times_of(server.wal_archive, [reach.gap.before])
    return Hole(reach.gap, (reach.last + 1) * view.segment_size, times.get(reach.gap.before))


def _chain_size(records: Mapping[BackupId, BackupRecord], record: BackupRecord) -> int:
    """Return how many backups of the chain there are, from record down to its oldest ancestor."""
    seen = {record.backup_id}
    parent = record.parent_backup_id
    while parent is not None and parent in records and parent not in seen:
        seen.add(parent)
        parent = records[parent].parent_backup_id
    return len(seen)


def _copied_files(directory: Path, *, empty_directories: bool) -> Iterator[Path]:
    from pathlib import Path

    for parent, directories, files in os.walk(directory):
        directories.sort()
        for name in sorted(files):
            yield Path(parent, name)
        if empty_directories and not directories and not files:
            yield Path(parent)
