"""Bringing files over from the primary with rsync, several at a time."""

from __future__ import annotations

import logging
import os
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from barman.errors import CommandError
from barman.host import rsync, runner
from barman.host.session import NOT_FOUND
from barman.host.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from barman.host.rsync import Entry
    from barman.progress import Bar
    from barman.server import Server
    from barman.sync.primary import Primary

_log = logging.getLogger(__name__)


class Route(NamedTuple):
    """From where to where. source: a directory of the primary. scratch: on the file system of target."""

    source: str
    target: Path
    scratch: Path


class Transfer:
    """rsync from the primary, over every login there is; what fails is repeated as often as the settings allow."""

    def __init__(self, server: Server, primary: Primary) -> None:
        """server: ours, with its limits."""
        self._settings = server.settings
        self._name = primary.session.name
        self._lanes = primary.session.lanes
        self._environment = {**server.environment(), "LC_ALL": "C", "TZ": "UTC"}
        self._workers = Workers(self._lanes, on_tick=lambda: None)

    @property
    def lanes(self) -> int:
        """How many transfers there are at a time."""
        return len(self._lanes)

    def list_tree(self, directory: str, filters: Sequence[str]) -> list[Entry]:
        """Return all below a directory of the primary, links as links. CommandError if it cannot be listed."""
        found: list[Entry] = []
        complaints = rsync.Complaints()

        def take(line: str) -> None:
            entry = rsync.parse_entry(line)
            if entry is None:
                complaints.take(line)
            else:
                found.append(entry)

        argv = rsync.list_argv(rsync.Source(directory, self._lanes[0]), filters, follow=False)
        done = self._run(argv, take, None)
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
        compare: bool = False,
        sharers: int = 1,
    ) -> None:
        """Have rsync copy files, by name below the source, to the target, each whole or not at all.

        Missing ones are passed over. basis: a directory of which equal files are linked. compare: by content. sharers:
        how many transfers share the bandwidth. CommandError.
        """
        limit = self._settings.bandwidth_limit
        argv = rsync.copy_argv(
            rsync.Source(route.source, lane),
            os.fspath(route.target),
            scratch=os.fspath(route.scratch),
            basis=None if basis is None else os.fspath(basis),
            compare=compare,
            link=basis is not None,
            bandwidth_kib_s=max(1, limit // max(sharers, 1)) if limit else None,
            compress=self._settings.network_compression,
            follow=False,
        )
        if compare and basis is None:
            argv.insert(1, "--checksum")
        left = self._settings.basebackup_retry_times
        while True:
            complaints = rsync.Complaints()
            done = self._run(argv, partial(_take, complaints, bar), names)
            if complaints.is_harmless(done.status):
                return
            error = self._failed(argv, done.status, complaints)
            if left <= 0:
                raise error
            _log.warning("%s; trying again in %s seconds", error.message, self._settings.basebackup_retry_sleep)
            left -= 1
            self._workers.pause(self._settings.basebackup_retry_sleep)

    def _run(self, argv: list[str], on_line: Callable[[str], None], names: Sequence[str] | None) -> runner.Completed:
        _log.debug("running %s", argv)
        return runner.run(
            argv,
            timeout_s=None,
            env=self._environment,
            input=None if names is None else b"".join(os.fsencode(name) + b"\0" for name in names),
            check=False,
            on_line=on_line,
            on_tick=self._workers.check,
        )

    def _failed(self, argv: Sequence[str], status: int, complaints: rsync.Complaints) -> CommandError:
        hint = "Is rsync installed there?" if status == NOT_FOUND else None
        message = f"cannot copy from the primary {self._name}: {complaints.reason(status)}"
        return CommandError(message, argv=argv, status=status, hint=hint)


def _take(complaints: rsync.Complaints, bar: Bar, line: str) -> None:
    copied = rsync.parse_copied(line)
    if copied is None:
        complaints.take(line)
    else:
        bar.advance(copied.size)
