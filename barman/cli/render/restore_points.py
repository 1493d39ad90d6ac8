"""What list-restore-points prints, for people and for programs. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from barman.postgres.lsn import format_lsn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from barman.monitor.restore_points import Moment, NamedPoint, RestorePoints, TimedWindow

Json = dict[str, Any]

_NAMED = 5


def render_restore_points(server: str, found: RestorePoints) -> str:
    """Return the text of list-restore-points."""
    lines = [f"Server {server}:"]
    if not found.windows:
        lines.append("  Nothing can be recovered: there is no complete backup with all its WAL")
    else:
        oldest, newest = _range(found)
        lines += [f"  Oldest time: {_text(_rounded_up(oldest))}", f"  Newest time: {_text(newest)}"]
    timeline = None
    for timed in found.windows:
        if timed.window.timeline != timeline:
            timeline = timed.window.timeline
            lines.append(f"  Timeline {timeline}:")
        lines += _window_lines(timed)
    lines += _name_lines(found)
    return "\n".join(lines)


def restore_points_to_json(found: RestorePoints) -> Json:
    """Return the same as data."""
    oldest, newest = _range(found)
    return {
        "oldest_time": None if oldest is None else _iso(oldest.time),
        "newest_time": None if newest is None else _iso(newest.time),
        "oldest_lsn": _lsn(min((timed.window.start_lsn for timed in found.windows), default=None)),
        "newest_lsn": _lsn(max((timed.window.end_lsn for timed in found.windows), default=None)),
        "windows": [_window_json(timed) for timed in found.windows],
        "restore_points": None if found.names is None else [_point_json(point) for point in found.names],
    }


def _range(found: RestorePoints) -> tuple[Moment | None, Moment | None]:
    """Return the oldest and the newest time that can be recovered."""
    moments = [moment for timed in found.windows for moment in (timed.begin, timed.end) if moment is not None]
    return min(moments, default=None), max(moments, default=None)


def _window_lines(timed: TimedWindow) -> Iterator[str]:
    window = timed.window
    origin = f"end of backup {window.backups[0]}" if window.from_backup else "where it branched off"
    yield f"    from {format_lsn(window.start_lsn)}  {_text(_rounded_up(timed.begin))}  ({origin})"
    yield f"    to   {format_lsn(window.end_lsn)}  {_text(timed.end)}  (WAL file {window.last})"
    yield f"      with {_backups(window.backups)}"
    if window.gap is not None:
        yield f"      then missing: {window.gap} ({window.gap.files} files)"


def _backups(ids: Sequence[str]) -> str:
    if len(ids) <= _NAMED:
        return f"backup{'s' * (len(ids) > 1)} {', '.join(ids)}"
    return f"{len(ids)} backups from {ids[0]} to {ids[-1]}"


def _name_lines(found: RestorePoints) -> Iterator[str]:
    if found.names is None:
        if found.windows:
            yield "  Restore points with a name: not looked for, see --names"
        return
    yield f"  Restore points with a name: {len(found.names)}"
    for point in found.names:
        yield f"    {_local(point.time)}  {format_lsn(point.lsn)}  timeline {point.timeline}  {point.name}"


def _window_json(timed: TimedWindow) -> Json:
    window, gap = timed.window, timed.window.gap
    return {
        "timeline": window.timeline,
        "begin_lsn": format_lsn(window.start_lsn),
        "begin_time": None if timed.begin is None else _iso(timed.begin.time),
        "begin_time_exact": timed.begin is not None and timed.begin.is_exact,
        "end_lsn": format_lsn(window.end_lsn),
        "end_time": None if timed.end is None else _iso(timed.end.time),
        "end_time_exact": timed.end is not None and timed.end.is_exact,
        "last_wal": window.last,
        "backups": list(window.backups),
        "missing_wal": None if gap is None else {"first": gap.first, "last": gap.last, "files": gap.files},
    }


def _point_json(point: NamedPoint) -> Json:
    return {
        "name": point.name,
        "lsn": format_lsn(point.lsn),
        "time": _iso(point.time),
        "timeline": point.timeline,
    }


def _rounded_up(moment: Moment | None) -> Moment | None:
    """Return the begin of a window as it is to be shown: without its microseconds it could not be recovered."""
    return None if moment is None else moment._replace(time=moment.time + timedelta(microseconds=999))


def _text(moment: Moment | None) -> str:
    if moment is None:
        return "(time unknown)"
    return ("" if moment.is_exact else "about ") + _local(moment.time)


def _local(time: datetime) -> str:
    return time.astimezone().isoformat(sep=" ", timespec="milliseconds")


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


def _lsn(lsn: int | None) -> str | None:
    return None if lsn is None else format_lsn(lsn)
