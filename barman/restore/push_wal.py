"""Sending WAL to another host: decoded here in batches, the next while the last is on its way."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING

from barman.host.files import remove_tree
from barman.host.scratch import scratch_directory
from barman.progress import NoBar
from barman.restore.remote_host import remove_there
from barman.restore.write_wal import wal_workers, wal_writer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from barman.progress import Bar
    from barman.restore.job import Job
    from barman.restore.push import There
    from barman.restore.wal_plan import WalCopy

_BATCH_BYTES = 256 << 20


class WalPusher:
    """Sends the WAL of one plan."""

    def __init__(self, job: Job, there: There) -> None:
        self._job = job
        self._plan = job.plan
        self._there = there

    def write(self, histories: Sequence[int], *, compare: bool) -> None:
        """Send history files, by timeline, and segments, if any are to be copied.

        compare: files that are there may be equal.
        """
        plan = self._plan
        if plan.wal_directory is None:
            return
        with (
            self._job.reporter.bar("Copying WAL", total=plan.wal.count, unit="segments") as bar,
            scratch_directory("barman-restore-") as scratch,
            ThreadPoolExecutor(max_workers=1) as sender,
        ):
            sending: Future[None] | None = None
            for number, batch in enumerate(_batches(plan.wal.copies(), plan.wal.segment_size)):
                directory = scratch / str(number)
                self._decode(directory, histories if number == 0 else (), batch, bar)
                if sending is not None:
                    sending.result()
                sending = sender.submit(self._send, directory, plan.wal_directory, compare=compare)
            if sending is not None:
                sending.result()

    def reusable(self, root: Path) -> Iterator[str]:
        """Yield the names, below root, of what may stay where the plan's WAL goes, if that is there."""
        directory = self._plan.wal_directory
        if directory is not None and directory.is_relative_to(root):
            inside = directory.relative_to(root)
            yield str(inside)
            yield from (str(inside / copy.name) for copy in self._plan.wal.copies())

    def clear(self, directory: Path) -> None:
        """Remove what is in the WAL directory but segments that may be equal."""
        wanted = set(self.reusable(directory))
        found = [entry.name for entry in self._there.pusher.list_there(directory)]
        remove_there(self._there.session, directory, [name for name in found if name not in wanted])

    def _decode(self, directory: Path, histories: Sequence[int], batch: Sequence[WalCopy], bar: Bar) -> None:
        writer = wal_writer(self._job, directory, self._job.flow(NoBar(), paced=False), links=True)
        writer.write(histories, batch, workers=wal_workers(self._job.settings.parallel_jobs), bar=bar)

    def _send(self, directory: Path, target: Path, *, compare: bool) -> None:
        names = [os.path.relpath(path, directory) for path in directory.rglob("*")]
        # Names and times are no proof: PostgreSQL gives segments it no longer needs the names of later ones.
        self._there.pusher.push_wal(directory, target, sorted(names), compare=compare)
        remove_tree(directory)


def _batches(copies: Iterator[WalCopy], segment_size: int) -> Iterator[list[WalCopy]]:
    """Yield all copies in batches that need little room; one at least, for the history files."""
    count = max(1, _BATCH_BYTES // segment_size)
    batch = list(islice(copies, count))
    while True:
        yield batch
        batch = list(islice(copies, count))
        if not batch:
            return
