"""list-restore-points: from where to where a server can be recovered, and the restore points in between by name."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from barman.errors import BarmanError
from barman.postgres.wal_names import segment_name
from barman.wal.continuity import times_of, view_wal
from barman.wal.gaps import find_windows, starts_of
from barman.wal.landmarks import read_records

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from barman.postgres.wal_records import RestorePoint
    from barman.progress import Reporter
    from barman.server import Server
    from barman.wal.gaps import Window


# Looked through at a time, so that what is under way takes little memory.
_PORTION = 256


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
    view = view_wal(server, records)
    starts = starts_of(records.values(), server.backups.keeps())
    windows = find_windows(starts, view.listed, view.histories, view.segment_size)
    edges = [name for window in windows for name in (_first(window, view.segment_size), window.last)]
    came = times_of(server.wal_archive, edges)
    ends = {record.backup_id: record.end_time for record in records.values()}
    timed = []
    for window in windows:
        ended = ends.get(window.backups[0]) if window.from_backup else None
        begin = Moment(ended, is_exact=True) if ended is not None else None
        if not window.from_backup:
            begin = _moment(server, _first(window, view.segment_size), came, at_end=False)
        timed.append(TimedWindow(window, begin, _moment(server, window.last, came, at_end=True)))
    if not names:
        return RestorePoints(tuple(timed))
    found, unread = _find_names(server, windows, view.segment_size, reporter)
    return RestorePoints(tuple(timed), tuple(sorted(found, key=lambda point: (point.time, point.lsn))), tuple(unread))


def _first(window: Window, segment_size: int) -> str:
    return segment_name(window.timeline, window.start_lsn // segment_size, segment_size)


def _moment(server: Server, name: str, came: dict[str, datetime], *, at_end: bool) -> Moment | None:
    """Return the time of the last (first) transaction of a segment, or else when its file was written."""
    try:
        times = [end.time for end in read_records(server.wal_archive, name).transaction_ends() if end.is_commit]
    except (BarmanError, OSError):
        times = []
    if times:
        return Moment(max(times) if at_end else min(times), is_exact=True)
    return Moment(came[name], is_exact=False) if name in came else None


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
