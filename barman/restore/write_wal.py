"""Giving the restored cluster its WAL: fetched from the archive and decoded, many files at a time."""

from __future__ import annotations

import functools
import io
import os
from typing import TYPE_CHECKING

from barman.errors import NotFound, StorageError, WalError
from barman.host.files import make_directories, naming
from barman.host.transfer import copy_bytes, copy_stream, work_through
from barman.postgres.lsn import format_lsn
from barman.postgres.timelines import history_name
from barman.postgres.wal_names import segment_start
from barman.restore.fetch import make_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from barman.catalog.wal_archive import WalArchive
    from barman.host.transfer import Flow
    from barman.progress import Bar, Reporter
    from barman.restore.plan import RestorePlan
    from barman.restore.wal_plan import WalCopy

_FILE_MODE = 0o600


class WalWriter:
    """Writes the WAL of one plan into its directory."""

    def __init__(
        self, plan: RestorePlan, directory: Path, archive: WalArchive, streaming: Path, reporter: Reporter, flow: Flow
    ) -> None:
        """streaming: where unfinished segments may be."""
        self._plan = plan
        self._directory = directory
        self._archive = archive
        self._streaming = streaming
        self._reporter = reporter
        self._flow = flow

    def write(self, histories: Iterable[int], copies: Iterable[WalCopy], *, workers: int, bar: Bar) -> None:
        """Write history files, by timeline, and segments; on return all are complete, though not yet durable.

        A damaged or missing segment is a WalError naming it, unless recovery may do without it: then it is a warning.
        """
        make_directories(self._directory)
        make_directory(os.fspath(self._directory), 0o700)
        if self._plan.marks_archived:
            make_directory(os.fspath(self._directory / "archive_status"), 0o700)
        work_through(self._tasks(histories, copies, bar), workers=workers, flow=self._flow)

    def _tasks(self, histories: Iterable[int], copies: Iterable[WalCopy], bar: Bar) -> Iterator[Callable[[], None]]:
        for timeline in histories:
            yield functools.partial(self._write_history, history_name(timeline))
        for copy in copies:
            yield functools.partial(self._write_segment, copy, bar)

    def _write_history(self, name: str) -> None:
        with self._archive.open_decoded(name) as reader:
            self._copy(reader, name)
        self._mark_archived(name)

    def _write_segment(self, copy: WalCopy, bar: Bar) -> None:
        try:
            self._flow.stubbornly(functools.partial(self._write_checked, copy))
        except (StorageError, WalError) as error:
            (self._directory / copy.name).unlink(missing_ok=True)
            if not copy.is_needed:
                self._reporter.warning(f"WAL file {copy.stored} is left out: {error}")
                return
            start = format_lsn(segment_start(copy.name, self._plan.wal.segment_size))
            raise WalError(
                f"WAL file {copy.stored} cannot be restored: {error}",
                hint=f"Recovery is possible up to {start} (--target-lsn).",
            ) from error
        self._mark_archived(copy.name)
        bar.advance(1)

    def _write_checked(self, copy: WalCopy) -> None:
        expected = self._plan.wal.segment_size
        with self._open(copy) as reader:
            size = self._copy(reader, copy.name)
        if size < expected and copy.stored.endswith(".partial"):
            # PostgreSQL refuses a file that is shorter, and knows by its content where an unfinished one ends.
            os.truncate(self._directory / copy.name, expected)
        elif size != expected:
            raise WalError(f"it has {size} bytes instead of {expected}")

    def _open(self, copy: WalCopy) -> BinaryIO:
        if copy.stored.endswith(".partial"):
            # The archive may have got it, finished or not, since the plan was made.
            for name in (copy.name, copy.stored):
                try:
                    return self._archive.open_decoded(name)
                except NotFound:
                    continue
            return (self._streaming / copy.stored).open("rb")
        return self._archive.open_decoded(copy.stored)

    def _copy(self, reader: BinaryIO, name: str) -> int:
        target = os.fspath(self._directory / name)
        with naming(target):
            writer = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _FILE_MODE)
        try:
            try:
                source = reader.fileno()
            except (OSError, io.UnsupportedOperation):
                return copy_stream(reader, writer, self._flow, target=target)
            os.lseek(source, reader.tell(), os.SEEK_SET)
            return copy_bytes(source, writer, self._flow, source=name, target=target)
        finally:
            os.close(writer)

    def _mark_archived(self, name: str) -> None:
        if self._plan.marks_archived:
            (self._directory / "archive_status" / f"{name}.done").touch(mode=_FILE_MODE)


def wal_workers(jobs: int) -> int:
    """Return how many segments to decode at a time: it is the processor that limits, not the disk."""
    return max(jobs, min(os.cpu_count() or 1, 4))
