"""Looking at the WAL archive as a whole: which segments are here or on their way, and which holes matter."""

from __future__ import annotations

import itertools
import logging
import os
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from barman.catalog.selection import latest
from barman.errors import Encrypted, Permanent, WalError
from barman.postgres.timelines import TimelineHistory, parse_history
from barman.postgres.wal_names import DEFAULT_SEGMENT_SIZE, timeline_of
from barman.postgres.wal_runs import collect_runs, join_runs
from barman.wal.gaps import PATIENCE, Finding, Gap, find_gaps, judge_gaps, starts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import timedelta

    from barman.catalog.record import BackupId, BackupRecord
    from barman.catalog.wal_archive import WalArchive
    from barman.catalog.xlogdb import WalTotals
    from barman.postgres.wal_runs import SegmentRuns
    from barman.server import Server
    from barman.wal.gaps import Histories

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WalView:
    """What one look at the archive showed.

    totals: of the ranges asked for. listed: the segments of the archive; runs: these, and those that wait in front of
    it, which are no holes.
    """

    segment_size: int
    totals: Sequence[WalTotals]
    listed: SegmentRuns
    runs: SegmentRuns
    histories: Histories
    gaps: tuple[Gap, ...]


def view_wal(
    server: Server,
    records: Mapping[BackupId, BackupRecord],
    ranges: Sequence[tuple[str, str]] = (),
    *,
    segment_size: int | None = None,
) -> WalView:
    """Look at the archive, in one pass over its ledger. ranges: of names, whose totals are asked for.

    segment_size: of the cluster; None: as the newest backup says.
    """
    size = segment_size or segment_size_of(records)
    seen = server.xlogdb.overview(ranges, segment_size=size)
    waiting = [name for directory in (server.paths.incoming, server.paths.streaming) for name in _names(directory)]
    runs = join_runs(seen.runs, collect_runs(waiting, size))
    histories = read_histories(server.wal_archive, {*map(timeline_of, seen.histories), *seen.runs})
    return WalView(size, seen.totals, seen.runs, runs, histories, find_gaps(runs, histories, size))


def find_costly_gaps(
    server: Server,
    records: Mapping[BackupId, BackupRecord],
    view: WalView,
    now: datetime,
    *,
    patience: timedelta = PATIENCE,
) -> list[Finding]:
    """Return the holes that keep a backup from being recovered further; [] costs nothing where there is no hole.

    patience: younger ones are left out, since they may still be filled.
    """
    if not view.gaps:
        return []
    return judge_gaps(
        view.gaps,
        starts_of(records.values(), server.backups.keeps()),
        view.histories,
        newest_timeline=max(view.listed, default=0),
        came=times_of(server.wal_archive, [gap.after for gap in view.gaps]),
        now=now,
        patience=patience,
    )


def times_of(archive: WalArchive, names: Sequence[str]) -> dict[str, datetime]:
    """Return when those of names that are archived were written."""
    entries = archive.xlogdb.get(names)
    return {name: datetime.fromtimestamp(entry.mtime, timezone.utc) for name, entry in entries.items()}


def read_histories(
    archive: WalArchive, timelines: Iterable[int] | None = None, *, tell: Callable[[str], object] = _log.warning
) -> Histories:
    """Return what the archived timeline history files say; those that nobody can read here are left out, and told of.

    timelines: those the archive knows (WalArchive.timelines), where somebody has looked already. A file that came into
    the archive just before a crash may not be listed: those after the last are looked for.
    """
    known = sorted({1, *(archive.timelines() if timelines is None else timelines)})
    histories: dict[int, TimelineHistory] = {}
    encrypted: list[str] = []
    for timeline in itertools.chain(known, itertools.count(known[-1] + 1)):
        try:
            text = archive.history(timeline) if timeline > 1 else None
            if text is not None:
                histories[timeline] = parse_history(text, timeline)
            elif timeline > known[-1]:
                break
        except Encrypted as error:
            encrypted.append(error.message)
        except (WalError, Permanent) as error:
            tell(f"{error.message}; timeline {timeline} is left out")
    if encrypted:
        others = f" (and {len(encrypted) - 1} more history files)" if len(encrypted) > 1 else ""
        tell(f"{encrypted[0]}{others}")
    return histories


def segment_size_of(records: Mapping[BackupId, BackupRecord]) -> int:
    """Return the size of a WAL segment of the cluster, as the newest backup says."""
    newest = latest(records)
    return DEFAULT_SEGMENT_SIZE if newest is None else newest.xlog_segment_size


def _names(directory: os.PathLike[str]) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []
