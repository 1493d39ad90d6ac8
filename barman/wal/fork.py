"""Going on after a failover when more was received from the old primary than the new one ever had."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from barman.errors import LockBusy, Refused, StorageError, WalError
from barman.host.clock import monotonic
from barman.host.files import unlink_durably, write_durably
from barman.postgres.timelines import parse_history
from barman.wal.archive import archive_wal
from barman.wal.streaming_area import find_furthest, plan_turn

if TYPE_CHECKING:
    from barman.postgres.connection import PostgresStreaming
    from barman.progress import Reporter
    from barman.server import Server

_PATIENCE_S = 30.0
_POLL_S = 0.5


def turn_at_fork(
    server: Server, streaming: PostgresStreaming, timeline: int, segment_size: int, reporter: Reporter
) -> None:
    """Have receiving go on where the server's timeline left the one received so far, if that went further.

    timeline: the server's. What was received beyond is archived, and nothing of it is lost: it belongs to the old
    timeline. Refused if the server does not descend from what was received, or if something cannot be archived.
    """
    directory = server.paths.streaming
    furthest = find_furthest(os.listdir(directory))
    if furthest is None or furthest.timeline >= timeline:
        return
    try:
        history = parse_history(streaming.timeline_history(timeline), timeline)
        turn = plan_turn(os.listdir(directory), history, segment_size)
    except WalError as error:
        raise Refused(
            f"cannot receive WAL of server {server.name}, {furthest.text} was received before: {error.message}",
            hint="Does the connection lead to the right server?",
        ) from error
    if turn is None:
        return
    reporter.info(
        f"Server {server.name} left timeline {furthest.timeline} before {furthest.text}, which was received: "
        f"archiving that, and going on with {turn.start}"
    )
    try:
        # First: with this file there, all others are complete, or were left behind, for whoever archives.
        write_durably(directory / f"{turn.start}.partial", b"")
        _archive(server, reporter)
        left = set(turn.beyond).intersection(os.listdir(directory))
        for name in left:
            if not server.wal_archive.exists(name):
                raise Refused(f"cannot receive WAL of server {server.name}: {name} could not be archived")
            unlink_durably(directory / name)
    except OSError as error:
        raise StorageError(f"{error.filename}: {error.strerror}") from error


def _archive(server: Server, reporter: Reporter) -> None:
    """Archive what waits; if somebody does already, when that has ended."""
    deadline = monotonic() + _PATIENCE_S
    while True:
        try:
            archive_wal(server, reporter)
        except LockBusy:
            if monotonic() > deadline:
                raise
            time.sleep(_POLL_S)
        else:
            return
