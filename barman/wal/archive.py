"""archive-wal: bring the WAL files that wait into the archive, and tell of all that went wrong.

A file leaves the directory it came to only when it stands in the archive, durable and listed. A crash at any point
leaves it there; the next run finds it archived already, gives it its line if that is missing, and takes it away.
"""

from __future__ import annotations

import errno
import logging
import os
import resource
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from barman.errors import CommandError, HookAborted, StorageError
from barman.host.clock import monotonic
from barman.postgres.wal_names import parse_wal_name
from barman.wal.batch import BatchResult, Begun, Intake
from barman.wal.encoding import encoding_of
from barman.wal.queue import Queue, Waiting, plan_incoming, plan_streaming
from barman.wal.set_aside import set_aside

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from barman.progress import Reporter
    from barman.server import Server

_log = logging.getLogger(__name__)

# A batch is to last about this long: so much work a crash can undo, so long others wait for the ledger.
_BATCH_S = 1.0
_LARGEST_BATCH = 512
# What is open beside the files of two batches, which stay open until they have their names.
_OTHER_DESCRIPTORS = 64
# With fewer files the workers that are done with theirs would wait too long for the one that is not.
_FILES_PER_WORKER = 4
_FAILURES_IN_A_ROW = 3
_HOPELESS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


class SourceReport(NamedTuple):
    """What became of the files of one source ("streaming" or "file archival"). results: of its batches, in order."""

    source: str
    results: tuple[BatchResult, ...]
    unknown: tuple[str, ...]

    @property
    def archived(self) -> tuple[str, ...]:
        """The names that are in the archive now and were not before."""
        return tuple(name for result in self.results for name in result.archived)

    @property
    def errors(self) -> tuple[tuple[str, str], ...]:
        """Name and reason of every file that could not be archived."""
        return tuple(error for result in self.results for error in result.errors)


class ArchiveReport(NamedTuple):
    """What a run did, by source, in the order in which they were worked on."""

    sources: tuple[SourceReport, ...]

    @property
    def archived(self) -> tuple[str, ...]:
        """The names that are in the archive now and were not before."""
        return tuple(name for source in self.sources for name in source.archived)


def archive_wal(server: Server, reporter: Reporter, *, verbose: bool = True) -> ArchiveReport:
    """Archive the WAL files that wait: those from streaming first, then those from archive_command.

    verbose: tell the operator of every file, else only of what went wrong. What is no WAL, and what is in the archive
    already with another content, is set aside; so are damaged files, as errors. A file that cannot be archived for
    another reason is an error and stays, and does not keep the others back. LockBusy if another process is archiving;
    StorageError, CatalogError or CommandError if nothing can be archived at all: a full disk, a missing program.
    """
    reports: list[SourceReport] = []
    workers = encoding_of(server).workers(_cores())
    with (
        server.locks.archive_wal(),
        ThreadPoolExecutor(workers, thread_name_prefix="archive") as pool,
        ThreadPoolExecutor(workers, thread_name_prefix="beside") as beside,
    ):
        # Apart, so that the next batch is at hand when one has been compressed.
        intake = Intake(server, pool, beside=beside)
        try:
            for source in _sources(server):
                say = reporter.info if verbose else _log.info
                size = 1 if intake.has_hooks else _FILES_PER_WORKER * workers
                reports.append(_Run(server, intake, source, reporter, say).archive(size))
        except HookAborted as stop:
            _log.info("archiving WAL of server '%s' ends early: %s", server.name, stop)
    return ArchiveReport(tuple(reports))


class _Source(NamedTuple):
    title: str
    directory: Path
    limit: int
    plan: Callable[..., Queue]


def _sources(server: Server) -> list[_Source]:
    settings, paths = server.settings, server.paths
    sources = []
    if settings.streaming_archiver:
        limit = settings.streaming_archiver_batch_size
        sources.append(_Source("streaming", paths.streaming, limit, plan_streaming))
    if settings.archiver:
        sources.append(_Source("file archival", paths.incoming, settings.archiver_batch_size, plan_incoming))
    return sources


class _Run:
    """One source, from its listing to its last file."""

    def __init__(
        self, server: Server, intake: Intake, source: _Source, reporter: Reporter, say: Callable[[str], None]
    ) -> None:
        self._server = server
        self._intake = intake
        self._source = source
        self._reporter = reporter
        self._say = say
        self._results: list[BatchResult] = []
        # By the first name of the batch.
        self._begun: dict[str, Begun | StorageError | CommandError] = {}
        self._failures = 0

    def archive(self, smallest: int) -> SourceReport:
        """Work through the source. smallest: how many files a batch should have at least."""
        queue = self._source.plan(_list(self._source.directory), limit=self._source.limit)
        names = [name for name in queue.names if name != queue.staying or not self._is_archived(name)]
        self._announce(len(names), queue.total)
        try:
            self._work_through(names, queue.staying, smallest)
        finally:
            self._discard_all()
        self._set_unknown_aside(queue.unknown)
        return SourceReport(self._source.title, tuple(self._results), queue.unknown)

    def _work_through(self, names: Sequence[str], staying: str | None, smallest: int) -> None:
        """Archive names, batch by batch; while one is stored, the next is looked at and compressed."""
        size = smallest
        began = monotonic()
        batch = self._begin(_next_batch(names, size))
        while batch:
            names = names[len(batch) :]
            following = [] if self._intake.has_hooks else self._begin(_next_batch(names, size, beside=batch))
            if not self._finish(batch, staying):
                # Nothing may overtake what is tried again.
                self._discard_all()
                following = []
            now = monotonic()
            if not self._intake.has_hooks:
                size = max(smallest, min(_adapt(size, len(batch), now - began), _largest_batch()))
            began = now
            batch = following or self._begin(_next_batch(names, size))

    def _begin(self, batch: Sequence[str]) -> Sequence[str]:
        """Begin batch, and return it. A failure shows when it is finished."""
        if batch:
            try:
                self._begun[batch[0]] = self._intake.begin(self._source.directory, batch)
            except (StorageError, CommandError) as error:
                self._begun[batch[0]] = error
        return batch

    def _finish(self, batch: Sequence[str], staying: str | None) -> bool:
        """Archive what was begun; if that fails, file by file, so that one does not keep back others: then False."""
        begun = self._begun.pop(batch[0])
        try:
            if isinstance(begun, Exception):
                raise begun
            self._tell(self._intake.finish(begun, staying=staying))
        except (StorageError, CommandError) as error:
            if _is_hopeless(error):
                raise
            self._discard_all()
            if len(batch) > 1:
                _log.warning(
                    "server '%s': %s WAL files could not be archived together, trying one by one: %s",
                    self._server.name, len(batch), error,
                )  # fmt: skip
                for name in batch:
                    self._finish(self._begin([name]), staying)
            else:
                self._failures += not _is_about_content(error)
                if self._failures == _FAILURES_IN_A_ROW:
                    raise
                self._tell(BatchResult(errors=((batch[0], error.message),)))
            return False
        self._failures = 0
        return True

    def _discard_all(self) -> None:
        while self._begun:
            begun = self._begun.popitem()[1]
            if not isinstance(begun, Exception):
                self._intake.discard(begun)

    def _announce(self, count: int, total: int) -> None:
        batch = f" (batch size: {count})" if 0 < count < total else ""
        self._say(f"Processing xlog segments from {self._source.title} for {self._server.name}{batch}")
        if count == 0:
            self._say("\tno file found")

    def _is_archived(self, file_name: str) -> bool:
        """Whether a segment that stays for pg_receivewal has been archived by an earlier run."""
        return not self._server.wal_archive.missing([parse_wal_name(file_name).text])

    def _tell(self, result: BatchResult) -> None:
        self._results.append(result)
        for name in result.rows:
            self._say(f"\t{name}")
            if name in result.conflicts:
                self._say(
                    f"\tError: {name} is already present in server {self._server.name}. File moved to errors directory."
                )
                _log.warning(
                    "WAL file %s of server '%s' is archived already with different content; moved to %s",
                    name, self._server.name, result.conflicts[name],
                )  # fmt: skip
        for name in result.unfinished:
            _log.info("WAL file %s of server '%s' is still being written; left for later", name, self._server.name)
        for name, reason in result.errors:
            self._reporter.error(f"WAL file {name} of server '{self._server.name}' is not archived: {reason}")

    def _set_unknown_aside(self, names: Sequence[str]) -> None:
        moved = [name for name in names if self._set_aside(name)]
        if not moved:
            return
        self._say(
            f"Some unknown objects have been found while processing xlog segments for {self._server.name}."
            " Objects moved to errors directory:"
        )
        for name in moved:
            self._say(f"\t{name}")

    def _set_aside(self, name: str) -> bool:
        path = self._source.directory / name
        try:
            place = set_aside(path, self._server.paths.errors, "unknown")
        except StorageError as error:
            self._reporter.error(error.message)
            return False
        _log.warning("%s of server '%s' is no WAL file; moved to %s", path, self._server.name, place)
        return True


def _list(directory: Path) -> list[Waiting]:
    try:
        with os.scandir(directory) as entries:
            return [Waiting(entry.name, entry.is_file(follow_symlinks=False)) for entry in entries]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"cannot list {directory}: {error.strerror}") from error


def _next_batch(names: Sequence[str], size: int, *, beside: Sequence[str] = ()) -> Sequence[str]:
    """Return the first names, at most size, without two that mean the same file in different case, beside included."""
    seen = {parse_wal_name(name).text for name in beside}
    for count, name in enumerate(names[:size]):
        text = parse_wal_name(name).text
        if text in seen:
            return names[:count]
        seen.add(text)
    return names[:size]


def _adapt(size: int, done: int, seconds: float) -> int:
    """Return how many files the next batch should have to last as long as a batch should."""
    fitting = int(done * _BATCH_S / max(seconds, 0.001))
    return min(fitting, 4 * size)


def _largest_batch() -> int:
    """Return how many files a batch may have, so that two of them do not use up the descriptors of this process."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return _LARGEST_BATCH
    return max(1, min((limit - _OTHER_DESCRIPTORS) // 2, _LARGEST_BATCH))


def _is_hopeless(error: Exception) -> bool:
    """Whether what stopped this file stops every other as well."""
    if isinstance(error, CommandError):
        return error.status is None
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in _HOPELESS


def _is_about_content(error: Exception) -> bool:
    """Whether it is the content of this one file, here or in the archive, that is at fault, and not a medium."""
    cause = error.__cause__
    return isinstance(error, StorageError) and not (isinstance(cause, OSError) and cause.errno is not None)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
