"""Waiting until WAL that was written on the server is in the archive."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from barman.errors import LockBusy
from barman.host.clock import monotonic
from barman.postgres.wal_names import is_segment_name
from barman.wal.archive import archive_wal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from barman.progress import Reporter
    from barman.server import Server

_POLL_S = 0.1
_ARCHIVE_EVERY_S = 1.0
_NUDGE_EVERY_S = 10.0


def wait_for_wal(
    server: Server,
    name: str | None,
    timeout_s: float | None,
    reporter: Reporter,
    *,
    nudge: Callable[[], None] | None = None,
    is_replaced: Callable[[], bool] | None = None,
) -> bool:
    """Archive what arrives until segment name is archived, and return True; False after timeout_s seconds.

    name: None waits for any segment that is newer than what its timeline has now. timeout_s: None or 0 waits for
    ever. nudge: called at first and then every ten seconds, to bring the server to hand the segment over. is_replaced:
    called after archiving, says whether another segment that is archived serves as well. What the archiver raises is
    raised; that somebody else is archiving is not an error.
    """
    deadline = monotonic() + timeout_s if timeout_s else None
    before = _newest(server) if name is None else {}
    landing = _Landing(server)
    nudge_at = monotonic()
    while not _has_arrived(server, name, before):
        if deadline is not None and monotonic() >= deadline:
            return False
        if nudge is not None and monotonic() >= nudge_at:
            nudge()
            nudge_at = monotonic() + _NUDGE_EVERY_S
        if landing.may_hold_news():
            _archive(server, reporter)
            if is_replaced is not None and is_replaced():
                return True
        else:
            time.sleep(_POLL_S)
    return True


def wait_for_delivery(server: Server, name: str, timeout_s: float) -> bool:
    """Return whether archive_command has delivered segment name, archived or not; False after timeout_s seconds."""
    deadline = monotonic() + timeout_s
    while not (server.paths.incoming / name).exists() and not server.wal_archive.exists(name):
        if monotonic() >= deadline:
            return False
        time.sleep(_POLL_S)
    return True


class _Landing:
    """The directories where WAL arrives; cheap to ask whether archiving may find something new in them."""

    def __init__(self, server: Server) -> None:
        self._directories = (server.paths.incoming, server.paths.streaming)
        self._seen: tuple[int, ...] = ()
        self._archive_at = 0.0

    def may_hold_news(self) -> bool:
        """Whether a name came or went since the last time this was True, or that is a while ago.

        The latter because a file may also be completed in place, or the archiver may have been busy.
        """
        now = tuple(_change_time(directory) for directory in self._directories)
        if now == self._seen and monotonic() < self._archive_at:
            return False
        self._seen = now
        self._archive_at = monotonic() + _ARCHIVE_EVERY_S
        return True


def _change_time(directory: os.PathLike[str]) -> int:
    try:
        return os.stat(directory).st_mtime_ns
    except FileNotFoundError:
        return 0


def _archive(server: Server, reporter: Reporter) -> None:
    try:
        archive_wal(server, reporter, verbose=False)
    except LockBusy:
        time.sleep(_POLL_S)


def _has_arrived(server: Server, name: str | None, before: Mapping[int, str]) -> bool:
    if name is not None:
        return server.wal_archive.exists(name)
    return any(before.get(timeline, "") < newest for timeline, newest in _newest(server).items())


def _newest(server: Server) -> Mapping[int, str]:
    archive = server.wal_archive
    found = ((timeline, archive.newest_segment(timeline)) for timeline in archive.timelines())
    return {timeline: name for timeline, name in found if name is not None and is_segment_name(name)}
