"""list-restore-points: from where to where a server can be recovered, and the restore points in between by name."""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from barman.catalog.chains import is_whole
from barman.catalog.wal_archive import archive_key
from barman.errors import BarmanError
from barman.postgres.wal_names import is_segment_name, segment_name
from barman.postgres.wal_runs import RunCollector
from barman.wal.continuity import read_histories, segment_size_of, times_of
from barman.wal.gaps import find_windows, starts_of
from barman.wal.landmarks import read_records

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from barman.postgres.wal_records import RestorePoint
    from barman.postgres.wal_runs import SegmentRuns
    from barman.progress import Reporter
    from barman.server import Server
    from barman.wal.gaps import Window


# Looked through at a time, so that what is under way takes little memory.
_PORTION = 256
# So many segments from the end of a window are looked at for a transaction.
_NEAR = 16


class Moment(NamedTuple):
    """A time. is_exact: of a transaction or a backup; else of the file of a WAL segment, which is somewhat later."""

    time: datetime
    is_exact: bool


@dataclass(frozen=True, slots=True)
class TimedWindow:
    """A window, with the times of its ends; None where these are not known."""

    window: Window
    begin: Moment | None
    end: Moment | None


class NamedPoint(NamedTuple):
    """A restore point that can be recovered. timeline: of the window it lies in."""

    name: str
    lsn: int
    time: datetime
    timeline: int


@dataclass(frozen=True, slots=True)
class RestorePoints:
    """What can be recovered. names: the named restore points, None if nobody looked for them.

    unread: segments that were to be looked through and cannot be read, with the reason.
    """

    windows: tuple[TimedWindow, ...]
    names: tuple[NamedPoint, ...] | None = None
    unread: tuple[tuple[str, str], ...] = ()


def find_restore_points(server: Server, reporter: Reporter, *, names: bool) -> RestorePoints:
    """Return the recoverable windows of a server.

    names: look for named restore points, too, which means reading all WAL of the windows.
    """
    records = server.backups.load()
    size = segment_size_of(records)
    whole = [record for backup_id, record in records.items() if is_whole(records, backup_id)]
    windows = find_windows(
        starts_of(whole, server.backups.keeps()),
        _files(server, size),
        read_histories(server.wal_archive, tell=reporter.warning),
        size,
    )
    ends = {record.backup_id: record.end_time for record in whole}
    timed = []
    for window in windows:
        ended = ends.get(window.backups[0]) if window.from_backup else None
        begin = Moment(ended, is_exact=True) if ended is not None else None
        numbers = range(window.start_lsn // size, (window.end_lsn - 1) // size + 1)
        if not window.from_backup:
            begin = _moment(server, window, numbers, size)
        timed.append(TimedWindow(window, begin, _moment(server, window, reversed(numbers), size, is_end=True)))
    if not names:
        return RestorePoints(tuple(timed))
    found, unread = _find_names(server, windows, size, reporter)
    return RestorePoints(tuple(timed), tuple(sorted(found, key=lambda point: (point.time, point.lsn))), tuple(unread))


def _files(server: Server, segment_size: int) -> SegmentRuns:
    """Return the segments whose files are there, whether they are listed or not: these a restore can have."""
    collector = RunCollector(segment_size)
    keys = ((entry.key, entry.key.rpartition("/")[2]) for entry in server.wal_archive.storage.list())
    names = (name.encode() for key, name in keys if is_segment_name(name) and key == archive_key(name))
    while portion := list(itertools.islice(names, _PORTION)):
        collector.add(portion)
    return collector.runs()


def _moment(
    server: Server, window: Window, numbers: Iterator[int] | range, segment_size: int, *, is_end: bool = False
) -> Moment | None:
    """Return the time of the first transaction in the segments, or of the last if these come from the end.

    If there is none near, it is when the file of the first was written.
    """
    names = [segment_name(window.timeline, number, segment_size) for number in itertools.islice(numbers, _NEAR)]
    for name in names:
        try:
            times = [end.time for end in read_records(server.wal_archive, name).transaction_ends() if end.is_commit]
        except (BarmanError, OSError):
            break
        if times:
            return Moment(max(times) if is_end else min(times), is_exact=True)
    came = times_of(server.wal_archive, names[:1])
    return Moment(came[names[0]], is_exact=False) if came else None


def _find_names(
    server: Server, windows: Sequence[Window], segment_size: int, reporter: Reporter
) -> tuple[list[NamedPoint], list[tuple[str, str]]]:
    segments = [(window, name) for window in windows for name in _segments(window, segment_size)]
    found: dict[tuple[int, str], NamedPoint] = {}
    unread: list[tuple[str, str]] = []

    def look(segment: tuple[Window, str]) -> tuple[list[RestorePoint], str | None]:
        return _look(server, segment[1])

    label = f"Looking for restore points of {server.name}"
    with (
        reporter.bar(label, total=len(segments), unit="segments") as bar,
        ThreadPoolExecutor(_cores(), thread_name_prefix="points") as pool,
    ):
        for start in range(0, len(segments), _PORTION):
            portion = segments[start : start + _PORTION]
            for (window, name), (points, reason) in zip(portion, pool.map(look, portion), strict=True):
                if reason is not None:
                    unread.append((name, reason))
                for point in points:
                    if window.start_lsn <= point.lsn < window.end_lsn:
                        # The first segment of a timeline has the points of its parent, too.
                        key = (point.lsn, point.name)
                        found.setdefault(key, NamedPoint(point.name, point.lsn, point.time, window.timeline))
                bar.advance(1)
    return list(found.values()), unread


def _segments(window: Window, segment_size: int) -> Iterator[str]:
    for number in range(window.start_lsn // segment_size, (window.end_lsn - 1) // segment_size + 1):
        yield segment_name(window.timeline, number, segment_size)


def _look(server: Server, name: str) -> tuple[list[RestorePoint], str | None]:
    try:
        return list(read_records(server.wal_archive, name).restore_points()), None
    except BarmanError as error:
        return [], error.message
    except OSError as error:
        return [], f"{name}: {error.strerror}"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
