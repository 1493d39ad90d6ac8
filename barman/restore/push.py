"""Sending directories to another host with rsync, several workers at a time, each over its own login."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from barman.errors import CommandError
from barman.host import rsync
from barman.host.rsync_watch import list_with_rsync, run_rsync
from barman.host.workers import Workers, portions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from barman.config.settings import ServerSettings
    from barman.host.runner import Completed
    from barman.host.session import Session
    from barman.progress import Bar, Reporter
    from barman.restore.inventory import File, Inventory
    from barman.restore.remote_host import RemoteFacts


class There(NamedTuple):
    """The host a restore writes to, if it is another one. facts: of all places that count there."""

    session: Session
    facts: RemoteFacts
    pusher: Pusher


class Pusher:
    """Sends files to one host; everything may be repeated."""

    def __init__(
        self, session: Session, settings: ServerSettings, environment: Mapping[str, str], reporter: Reporter
    ) -> None:
        """settings: how often to try, how fast, compressed or not. environment: for rsync."""
        self._session = session
        self._settings = settings
        self._environment = {**environment, "LC_ALL": "C", "TZ": "UTC"}
        self._reporter = reporter
        self._workers = Workers(session.lanes, on_tick=lambda: None)

    @property
    def workers(self) -> Workers[str]:
        """The workers, one for each login."""
        return self._workers

    def push(self, inventories: Sequence[Inventory]) -> None:
        """Send trees to where nothing is yet but their target directories. CommandError naming what failed."""
        total = sum(inventory.bytes for inventory in inventories)
        with self._reporter.bar("Copying the base backup", total=total, unit="bytes") as bar:
            if len(self._session.lanes) == 1:
                self._workers.work_off([partial(self._send, one, one.names, bar) for one in inventories])
                return
            self._workers.work_off([partial(self._send_skeleton, inventory) for inventory in inventories])
            pairs = [(inventory, file) for inventory in inventories for file in inventory.files]
            tasks = []
            for portion in portions(pairs, size_of=lambda pair: pair[1].size, workers=len(self._session.lanes)):
                for inventory in inventories:
                    names = [file.name for owner, file in portion if owner is inventory]
                    if names:
                        tasks.append(partial(self._send, inventory, names, bar))
            self._workers.work_off(tasks)

    def update(self, inventory: Inventory, changed: Sequence[File], doubtful: Sequence[File], bar: Bar) -> None:
        """Make what is there equal: changed files are sent, doubtful ones compared first."""
        tasks = [partial(self._send_skeleton, inventory)]
        self._workers.work_off(tasks)
        lanes = len(self._session.lanes)
        for files, compare in ((changed, False), (doubtful, True)):
            self._workers.work_off(
                [
                    partial(self._send, inventory, [file.name for file in portion], bar, whole=False, compare=compare)
                    for portion in portions(files, size_of=lambda file: file.size, workers=lanes)
                ]
            )

    def push_names(self, source: Path, target: Path, names: Sequence[str], bar: Bar) -> None:
        """Send what is named below source to target, over the first login."""
        self._insist(os.fspath(source), target, names, self._session.lanes[0], bar, whole=True)

    def push_wal(self, source: Path, target: Path, names: Sequence[str], *, compare: bool) -> None:
        """Send what is named below source, or what links there lead to; compare: files that are there may be equal."""
        lane = self._session.lanes[0]
        self._insist(os.fspath(source), target, names, lane, None, whole=True, compare=compare, follow=True)

    def list_there(self, directory: Path, filters: Sequence[str] = ()) -> list[rsync.Entry]:
        """Return what is in a directory there, links as links; nothing if it is not there."""
        found: list[rsync.Entry] = []
        where = rsync.Source(os.fspath(directory), self._session.lanes[0])
        argv = rsync.list_argv(where, filters, follow=False)
        done, complaints = list_with_rsync(argv, found.append, env=self._environment, on_tick=[self._workers.check])
        if not complaints.is_harmless(done.status):
            raise CommandError(f"cannot list {directory} on {self._session.name}: {complaints.reason(done.status)}")
        return [entry for entry in found if entry.name != "."]

    def pull(self, directory: Path, target: Path, filters: Sequence[str]) -> None:
        """Copy what filters let through from a directory there to one here."""
        self._pull(rsync.Source(os.fspath(directory), self._session.lanes[0]), target, filters)

    def copy_here(self, directory: Path, target: Path, filters: Sequence[str]) -> None:
        """Copy what filters let through from a directory of this host."""
        self._pull(rsync.Source(os.fspath(directory), None), target, filters)

    def _pull(self, source: rsync.Source, target: Path, filters: Sequence[str]) -> None:
        complaints = rsync.Complaints()
        done = self._run(rsync.pull_argv(source, os.fspath(target), filters), (), partial(_take, complaints, None))
        if not complaints.is_harmless(done.status):
            where = "this host" if source.shell is None else self._session.name
            raise CommandError(f"cannot read {source.directory} on {where}: {complaints.reason(done.status)}")

    def _send_skeleton(self, inventory: Inventory, lane: str) -> None:
        names = [*inventory.directories, *inventory.links]
        if names:
            self._insist(os.fspath(inventory.tree.source), inventory.tree.target, names, lane, None, whole=True)

    def _send(
        self,
        inventory: Inventory,
        names: Sequence[str],
        bar: Bar,
        lane: str,
        *,
        whole: bool = True,
        compare: bool = False,
    ) -> None:
        tree = inventory.tree
        self._insist(os.fspath(tree.source), tree.target, names, lane, bar, whole=whole, compare=compare)

    def _insist(
        self,
        source: str,
        target: Path,
        names: Sequence[str],
        lane: str,
        bar: Bar | None,
        *,
        whole: bool,
        compare: bool = False,
        follow: bool = False,
    ) -> None:
        """Send, as often again as the settings allow."""
        limit = self._settings.bandwidth_limit
        argv = rsync.push_argv(
            source,
            rsync.Source(os.fspath(target), lane),
            whole=whole,
            compare=compare,
            follow=follow,
            bandwidth_kib_s=max(1, limit // len(self._session.lanes)) if limit else None,
            compress=self._settings.network_compression,
        )
        for left in range(self._settings.basebackup_retry_times, -1, -1):
            complaints = rsync.Complaints()
            done = self._run(argv, names, partial(_take, complaints, bar))
            if done.status == 0:
                return
            message = f"cannot copy to {self._session.name}: {complaints.reason(done.status)}"
            if not left:
                raise CommandError(message, argv=argv, status=done.status)
            pause_s = self._settings.basebackup_retry_sleep
            self._reporter.warning(f"{message}; trying again in {pause_s} seconds ({left} more)")
            self._workers.pause(pause_s)

    def _run(self, argv: Sequence[str], names: Sequence[str], take: Callable[[str], None]) -> Completed:
        return run_rsync(argv, names, env=self._environment, on_line=take, on_tick=[self._workers.check])


def _take(complaints: rsync.Complaints, bar: Bar | None, line: str) -> None:
    copied = rsync.parse_copied(line)
    if copied is None:
        complaints.take(line)
    elif bar is not None:
        bar.advance(copied.size)
