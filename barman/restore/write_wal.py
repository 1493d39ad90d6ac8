"""Giving the restored cluster its WAL: fetched from the archive and decoded, many files at a time."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import stat
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
    from barman.restore.job import Job
    from barman.restore.plan import RestorePlan
    from barman.restore.wal_plan import WalCopy

_FILE_MODE = 0o600


class WalWriter:
    """Writes the WAL of one plan into its directory."""

    def __init__(
        self,
        plan: RestorePlan,
        directory: Path,
        archive: WalArchive,
        streaming: Path,
        reporter: Reporter,
        flow: Flow,
        *,
        links: bool = False,
    ) -> None:
        """streaming: where unfinished segments may be. links: what needs no decoding is not copied, but linked to."""
        self._links = links
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
        if copy.stored.endswith(".partial"):
            self._write_partial(copy)
            return
        expected = self._plan.wal.segment_size
        stored = self._archive.open(copy.stored)
        modified_ns = _modified_ns(stored)
        if modified_ns is not None and self._is_there(copy.name, modified_ns):
            stored.close()
            return
        with self._archive.decode(stored) as reader:
            if is_linked := self._links and reader is stored:
                size = os.fstat(stored.fileno()).st_size
                (self._directory / copy.name).unlink(missing_ok=True)
                os.symlink(os.path.abspath(stored.name), self._directory / copy.name)
            else:
                size = self._copy(reader, copy.name)
        if size != expected:
            raise WalError(f"it has {size} bytes instead of {expected}")
        if modified_ns is not None and not is_linked:
            # Last of all: it says that the file is whole.
            os.utime(self._directory / copy.name, ns=(modified_ns, modified_ns))

    def _write_partial(self, copy: WalCopy) -> None:
        expected = self._plan.wal.segment_size
        with self._open_partial(copy) as reader:
            size = self._copy(reader, copy.name)
        if size > expected:
            raise WalError(f"it has {size} bytes instead of {expected}")
        # PostgreSQL refuses a file that is shorter, and knows by its content where an unfinished one ends.
        os.truncate(self._directory / copy.name, expected)

    def _open_partial(self, copy: WalCopy) -> BinaryIO:
        # The archive may have got it, finished or not, since the plan was made.
        for name in (copy.name, copy.stored):
            try:
                return self._archive.open_decoded(name)
            except NotFound:
                continue
        return (self._streaming / copy.stored).open("rb")

    def _is_there(self, name: str, modified_ns: int) -> bool:
        """Whether a restore has written a segment already, from the file of the archive that was changed then."""
        with contextlib.suppress(FileNotFoundError):
            found = os.lstat(self._directory / name)
            return (
                stat.S_ISREG(found.st_mode)
                and found.st_size == self._plan.wal.segment_size
                and found.st_mtime_ns == modified_ns
            )
        return False

    def _copy(self, reader: BinaryIO, name: str) -> int:
        target = os.fspath(self._directory / name)
        with contextlib.suppress(FileNotFoundError):
            # It may have other names, and is not to be written into.
            os.unlink(target)
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


def wal_writer(job: Job, directory: Path, flow: Flow, *, links: bool = False) -> WalWriter:
    """Return what writes the WAL of a job into directory; links: as of WalWriter."""
    archive, streaming = job.server.wal_archive, job.server.paths.streaming
    return WalWriter(job.plan, directory, archive, streaming, job.reporter, flow, links=links)


def reusable_wal(plan: RestorePlan) -> set[str]:
    """Return the paths of what may stay where the plan's WAL goes: the directory, and files named like segments of it.

    Whether they are those segments is looked at when they are written. Nothing unless it is a directory.
    """
    directory = plan.wal_directory
    if directory is None or directory.is_symlink() or not directory.is_dir():
        return set()
    wanted = {copy.name for copy in plan.wal.copies()}
    with os.scandir(directory) as entries:
        found = {entry.path for entry in entries if entry.name in wanted and entry.is_file(follow_symlinks=False)}
    return {os.fspath(directory), *found}


def _modified_ns(file: BinaryIO) -> int | None:
    """Return when a file was changed last; None if it is none of this host."""
    try:
        return os.fstat(file.fileno()).st_mtime_ns
    except (OSError, io.UnsupportedOperation):
        return None


def wal_workers(jobs: int) -> int:
    """Return how many segments to decode at a time: it is the processor that limits, not the disk."""
    return max(jobs, min(os.cpu_count() or 1, 4))
