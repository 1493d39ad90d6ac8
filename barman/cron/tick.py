"""One maintenance tick: start what is to be started for every server, then let retention do its work.

Nothing here talks to PostgreSQL, and nothing is started where there is nothing to do: a tick of many idle servers
costs a few directory listings each.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from typing import TYPE_CHECKING, NamedTuple

from barman.backup.abandoned import fail_abandoned
from barman.catalog.wal_archive import archive_key
from barman.cron.children import Child, find_backup_to_check, needs_archiving
from barman.cron.passive import Primaries
from barman.errors import BarmanError, LockBusy
from barman.wal.continuity import read_histories
from barman.wal.queue import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from barman.progress import Reporter
    from barman.server import Server

_log = logging.getLogger(__name__)


class Starter(NamedTuple):
    """How children are started. prefix: the program and the options in front of the command."""

    prefix: tuple[str, ...]
    spawn: Callable[[Sequence[str]], int]


def run_tick(servers: Sequence[Server], starter: Starter, reporter: Reporter, now: datetime) -> None:
    """Look after the servers, in the order given; trouble with one is reported, and the next is taken.

    Children first, for all of them: a long deletion on one server must not keep WAL of the others waiting; and passive
    servers last, because a primary may take its time to answer. A server whose cron lock is held is left to whoever
    holds it; so is retention where a backup is being taken or deleted.
    """
    looked_after, primaries = [], Primaries()
    for server in sorted(servers, key=lambda server: server.config.is_passive):
        with _contained(server, reporter), server.locks.cron():
            # Retention goes on when the primary cannot be reached.
            looked_after.append(server)
            for child in _find_children(server, primaries, reporter, now):
                reporter.info(child.message)
                pid = starter.spawn((*starter.prefix, *child.words))
                _log.debug("server %s: %s is process %s", server.name, child.words[0], pid)
    for server in looked_after:
        # Not under the lock of cron: a deletion that takes its time, or whose hook scripts do, must not keep later
        # ticks from looking after the server's WAL.
        with _contained(server, reporter):
            _enforce_retention(server, reporter, now)


@contextlib.contextmanager
def _contained(server: Server, reporter: Reporter) -> Iterator[None]:
    """What goes wrong in the block is told as this server's trouble, and ends only the block."""
    try:
        yield
    except LockBusy as busy:
        reporter.info(f"Another cron process is running on server {server.name}: {busy.message}")
    except (BarmanError, OSError) as error:
        _log.info("what led to the next error", exc_info=error)
        reporter.error(f"server {server.name}: {error}")
    except Exception as error:  # noqa: BLE001 - see below
        # A bug that one server's state brings out must not cost the others their WAL.
        _log.exception("server %s", server.name)
        reporter.error(f"server {server.name}: internal error: {type(error).__name__}: {error}")


def _find_children(server: Server, primaries: Primaries, reporter: Reporter, now: datetime) -> Iterator[Child]:
    name = server.name

    def is_archived(wal: str) -> bool:
        return (server.paths.wals / archive_key(wal)).exists()

    if not server.config.is_passive:
        waiting = needs_archiving(
            server.settings, _entries(server.paths.incoming), _entries(server.paths.streaming), is_archived
        )
        if waiting and server.locks.archive_wal().holder() is None:
            yield Child(("archive-wal", name), f"Starting WAL archiving for server {name}")
        yield from _receiver(server, reporter)
    records = server.backups.load().values()
    fail_abandoned(server, records, reporter, now)
    record = find_backup_to_check(
        records,
        is_archived,
        is_backup_running=server.locks.backup().holder() is not None,
        read_histories=lambda: read_histories(server.wal_archive),
    )
    if record is not None and server.locks.backup_id(record.backup_id).holder() is None:
        words = ("check-backup", name, record.backup_id)
        yield Child(words, f"Starting check-backup for backup {record.backup_id} of server {name}")
    # Last, because the primary may be away.
    if server.config.is_passive:
        yield from primaries.find_children(server, reporter, now)


def _receiver(server: Server, reporter: Reporter) -> Iterator[Child]:
    """Have receive-wal running exactly when streaming_archiver is on."""
    holder = server.locks.receive_wal().holder()
    if server.settings.streaming_archiver:
        if holder is None:
            yield Child(("receive-wal", server.name), f"Starting streaming archiver for server {server.name}")
    elif holder:
        reporter.info(f"Stopping receive-wal of server {server.name} (process {holder}): streaming_archiver is off")
        with contextlib.suppress(ProcessLookupError):
            os.kill(holder, signal.SIGINT)


def _enforce_retention(server: Server, reporter: Reporter, now: datetime) -> None:
    if server.settings.retention_policy is None and not server.backups.deletion_marks():
        return
    from barman.retention.delete import enforce

    enforce(server, now, reporter)


def _entries(directory: Path) -> list[Waiting]:
    try:
        with os.scandir(directory) as entries:
            return [Waiting(entry.name, entry.is_file(follow_symlinks=False)) for entry in entries]
    except FileNotFoundError:
        return []
