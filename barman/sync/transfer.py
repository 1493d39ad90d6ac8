"""Bringing files over from the primary with rsync, several at a time."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from barman.errors import CommandError
from barman.host import rsync
from barman.host.rsync_watch import Listener, Silence, comparing_limit_s, list_with_rsync, run_rsync
from barman.host.session import NOT_FOUND
from barman.host.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from barman.host.rsync import Entry
    from barman.progress import Bar
    from barman.server import Server
    from barman.sync.primary import Primary

_log = logging.getLogger(__name__)

# A connection that is cut ends by itself, sooner; this is for programs and file systems that are stuck.
_PATIENCE_S = 600.0


def transfers(server: Server) -> int:
    """Return how many transfers there are at a time, each with a login of its own."""
    return max(1, server.settings.parallel_jobs)


class Route(NamedTuple):
    """From where to where. source: a directory of the primary. scratch: for temporaries, on target's file system."""

    source: str
    target: Path
    scratch: Path


class Transfer:
    """rsync from the primary, over every login there is; what fails is repeated as often as the settings allow."""

    def __init__(self, server: Server, primary: Primary, *, patience_s: float = _PATIENCE_S) -> None:
        """server: ours, with its limits. patience_s: how long rsync may show no progress before it is ended."""
        self._settings = server.settings
        session = primary.session(logins=transfers(server))
        self._name = session.name
        self._lanes = session.lanes
        self._environment = {**server.environment(), "LC_ALL": "C", "TZ": "UTC"}
        self._patience_s = patience_s
        self._workers = Workers(self._lanes, on_tick=lambda: None)

    @property
    def lanes(self) -> int:
        """How many transfers there are at a time."""
        return len(self._lanes)

    def list_tree(self, directory: str, filters: Sequence[str]) -> list[Entry]:
        """Return all below a directory of the primary, links as links. CommandError if it cannot be listed."""
        found: list[Entry] = []
        silence = Silence(self._patience_s, what=f"cannot list {directory} of the primary {self._name}")
        argv = rsync.list_argv(rsync.Source(directory, self._lanes[0]), filters, follow=False)
        done, complaints = list_with_rsync(
            argv, found.append, env=self._environment, on_tick=[self._workers.check], silence=silence
        )
        if not complaints.is_harmless(done.status):
            raise self._failed(argv, done.status, complaints)
        return found

    def work_off(self, tasks: Iterable[Callable[[str], None]]) -> None:
        """Do every task, each with a login of its own; the first failure stops the others, and is raised."""
        self._workers.work_off(tasks)

    def fetch(
        self,
        route: Route,
        names: Sequence[str],
        *,
        lane: str,
        bar: Bar,
        basis: Path | None = None,
        compared_bytes: int | None = None,
        sharers: int = 1,
    ) -> None:
        """Have rsync copy files, by name below the source, to the target, each whole or not at all.

        Missing ones are passed over. basis: a directory of which equal files are linked. compared_bytes: compare by
        content, so many bytes; None: by size and time. sharers: how many transfers share the bandwidth. CommandError.
        """
        for at in range(0, len(names), rsync.MOST_NAMES):
            some = names[at : at + rsync.MOST_NAMES]
            self._fetch(route, some, lane=lane, bar=bar, basis=basis, compared_bytes=compared_bytes, sharers=sharers)

    def _fetch(
        self,
        route: Route,
        names: Sequence[str],
        *,
        lane: str,
        bar: Bar,
        basis: Path | None,
        compared_bytes: int | None,
        sharers: int,
    ) -> None:
        left = self._settings.basebackup_retry_times
        while True:
            try:
                # Its own, so that what appears there is what this rsync writes.
                with TemporaryDirectory(dir=route.scratch, ignore_cleanup_errors=True) as scratch:
                    argv = self._argv(
                        Route(route.source, route.target, Path(scratch)),
                        lane,
                        basis,
                        compares=compared_bytes is not None,
                        sharers=sharers,
                    )
                    self._copy(argv, names, route.target, scratch, bar, compared_bytes or 0)
            except CommandError as error:
                if left <= 0:
                    raise
                _log.warning("%s; trying again in %s seconds", error.message, self._settings.basebackup_retry_sleep)
                left -= 1
                self._workers.pause(self._settings.basebackup_retry_sleep)
            else:
                return

    def _argv(self, route: Route, lane: str, basis: Path | None, *, compares: bool, sharers: int) -> list[str]:
        limit = self._settings.bandwidth_limit
        argv = rsync.copy_argv(
            rsync.Source(route.source, lane),
            os.fspath(route.target),
            scratch=os.fspath(route.scratch),
            basis=None if basis is None else os.fspath(basis),
            compare=compares,
            link=basis is not None,
            bandwidth_kib_s=max(1, limit // max(sharers, 1)) if limit else None,
            compress=self._settings.network_compression,
            follow=False,
        )
        return [argv[0], "--checksum", *argv[1:]] if compares and basis is None else argv

    def _copy(
        self, argv: list[str], names: Sequence[str], target: Path, scratch: str, bar: Bar, compared_bytes: int
    ) -> None:
        complaints = rsync.Complaints()
        limit_s = comparing_limit_s(self._patience_s, compared_bytes)
        silence = Silence(limit_s, what=f"cannot copy from the primary {self._name}")
        listener = Listener(target, scratch, complaints, bar.advance, silence=silence)
        done = run_rsync(
            argv,
            names,
            env=self._environment,
            on_line=listener.take,
            on_tick=[self._workers.check, listener.tick],
        )
        listener.finish()
        if not complaints.is_harmless(done.status):
            raise self._failed(argv, done.status, complaints)

    def _failed(self, argv: Sequence[str], status: int, complaints: rsync.Complaints) -> CommandError:
        hint = "Is rsync installed there?" if status == NOT_FOUND else None
        message = f"cannot copy from the primary {self._name}: {complaints.reason(status)}"
        return CommandError(message, argv=argv, status=status, hint=hint)
