"""verify-wal --repair: fetch what is missing or damaged from the source once more, as long as it is still there.

What is fetched is verified before it takes the place of anything, and then archived like any other WAL. A damaged file
is copied to the errors directory first.
"""

from __future__ import annotations

import itertools
import shutil
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from barman.catalog.wal_archive import archive_key
from barman.errors import BarmanError, LockBusy, StorageError
from barman.host import files
from barman.host.scratch import scratch_directory, sweep
from barman.postgres.wal_names import is_segment_name, next_segment
from barman.postgres.wal_runs import collect_runs, has_segment, join_runs
from barman.storage.encrypt.content_mark import digest_of
from barman.wal.batch import Intake
from barman.wal.continuity import read_histories, view_wal
from barman.wal.error_names import free_error_path
from barman.wal.gaps import missing_runs
from barman.wal.source import open_sources
from barman.wal.verify import MOST_DEFECTS, Defect, Kind, checker_for, find_holes, known_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from barman.postgres.wal_runs import SegmentRuns
    from barman.progress import Reporter
    from barman.server import Server
    from barman.wal.gaps import Histories
    from barman.wal.segment_check import Cluster
    from barman.wal.source import Source

# Fetched, verified and archived at a time: so much has to fit on the disk twice.
_PORTION = 16
_PORTION_BYTES = 256 << 20
_FAILURES_IN_A_ROW = 3
_CHUNK = 1 << 20
_SCRATCH = ".repair-"
_FETCHED = (Kind.MISSING, Kind.DAMAGED, Kind.HISTORY)


class Repair(NamedTuple):
    """What became of a repair. repaired: names, in order. remaining: the defects that are still there."""

    repaired: tuple[str, ...]
    remaining: tuple[Defect, ...]


def repair_wal(server: Server, defects: Sequence[Defect], reporter: Reporter) -> Repair:
    """Repair what can be repaired of the defects that verify_wal found.

    Archiving goes on between two portions. What a repair that was killed has left goes, too. StorageError if nothing
    can be written.
    """
    try:
        sweep(server.paths.root, _SCRATCH)
    except OSError as error:
        raise StorageError(f"{server.paths.root}: {error.strerror}") from error
    if not defects:
        return Repair((), ())
    cluster = known_cluster(server)
    with (
        ThreadPoolExecutor(2, thread_name_prefix="repair") as pool,
        open_sources(server, cluster.segment_size) as sources,
    ):
        work = _Repair(server, cluster, Intake(server, pool), reporter)
        work.list_anew(defects)
        while True:
            known = len(work.repaired)
            wanted = _wanted(defects, work.damaged, read_histories(server.wal_archive), cluster.segment_size)
            for source in sources:
                work.fetch_from(source, wanted)
            defects = work.remaining(defects)
            # A history that was fetched may have led to further holes.
            if not defects or len(work.repaired) == known:
                break
    return Repair(tuple(sorted(work.repaired)), tuple(map(work.explained, defects)))


class _Wanted(NamedTuple):
    """Files that would repair something: segments, of which there may be a million, as runs; and others."""

    runs: SegmentRuns
    others: frozenset[str]
    segment_size: int

    def has(self, name: str) -> bool:
        """Whether the file is wanted."""
        return has_segment(self.runs, name, self.segment_size) if is_segment_name(name) else name in self.others


def _wanted(defects: Sequence[Defect], damaged: set[str], histories: Histories, segment_size: int) -> _Wanted:
    names = damaged.union(defect.name for defect in defects if defect.kind in _FETCHED)
    missing: dict[int, list[tuple[int, int]]] = {}
    for defect in defects:
        if defect.gap is not None:
            for timeline, runs in missing_runs(defect.gap, histories, segment_size).items():
                missing.setdefault(timeline, []).extend(runs)
    return _Wanted(
        join_runs(collect_runs(names, segment_size), missing),
        frozenset(name for name in names if name.endswith(".history")),
        segment_size,
    )


class _Repair:
    """The repair of one server, portion by portion."""

    def __init__(self, server: Server, cluster: Cluster, intake: Intake, reporter: Reporter) -> None:
        self.repaired: set[str] = set()
        self.damaged: set[str] = set()
        # Why a file was not repaired, and why none was from a source.
        self._failures: dict[str, str] = {}
        self._obstacles: list[str] = []
        self._server = server
        self._cluster = cluster
        self._intake = intake
        self._reporter = reporter
        self._checker = checker_for(server, cluster)

    def list_anew(self, defects: Sequence[Defect]) -> None:
        """Correct the list where the files are right; note what is damaged."""
        archive = self._server.wal_archive
        self.damaged = {defect.name for defect in defects if defect.kind is Kind.DAMAGED}
        with self._archiving():
            self.repaired |= {
                entry.name for entry in archive.heal([one.name for one in defects if one.kind is Kind.UNLISTED])
            }
            sizes = [one.name for one in defects if one.kind is Kind.SIZE and one.name not in self.damaged]
            for name, line in archive.xlogdb.get(sizes).items():
                fault = self._checker.check([name])
                if fault or line.encryption is not None:
                    self.damaged.add(name)
                else:
                    archive.xlogdb.append([line._replace(size=archive.storage.stat(archive_key(name)).size)])
                    self.repaired.add(name)

    def fetch_from(self, source: Source, wanted: _Wanted) -> None:
        """Repair what source still has of the files wanted, in portions; note what becomes of each."""
        try:
            names = sorted(name for name in source.names() if wanted.has(name) and name not in self.repaired)
        except (BarmanError, OSError) as error:
            self._obstacles.append(_message(error))
            return
        portions = deque(_portions(names, self._cluster.segment_size))
        in_a_row = 0
        with self._reporter.bar(f"Repairing WAL of {self._server.name}", total=len(names), unit="segments") as bar:
            while portions and in_a_row < _FAILURES_IN_A_ROW:
                portion = portions.popleft()
                came = self._repair(source, portion)
                # Where nothing comes, the first one is in the way of the others.
                left = [name for name in portion[not came :] if name not in came]
                portions.extendleft(reversed(list(_portions(left, self._cluster.segment_size))))
                in_a_row = 0 if came else in_a_row + 1
                bar.advance(len(portion) - len(left))
        for name in (name for others in portions for name in others):
            self._failures[name] = self._failures[portion[0]]

    def remaining(self, defects: Sequence[Defect]) -> list[Defect]:
        """Return those of defects that are still there, and the holes there are now: narrower ones, and others."""
        server = self._server
        singles = [defect for defect in defects if defect.kind not in (Kind.GAP, Kind.HISTORY)]
        view = view_wal(server, server.backups.load(), segment_size=self._cluster.segment_size)
        holes = itertools.islice(find_holes(server, view), MOST_DEFECTS)
        return [*(one for one in singles if one.name not in self.repaired), *holes]

    def explained(self, defect: Defect) -> Defect:
        """Return a defect that is still there with the reason why."""
        if not (defect.kind in (*_FETCHED, Kind.GAP) or defect.name in self.damaged) or not _is_kept(defect.name):
            return defect
        reason = self._failures.get(defect.name) or "; ".join(self._obstacles)
        reason = reason or f"{self._server.name} has removed it already, or never had it"
        return defect._replace(reason=f"{defect.reason}; not repaired: {reason}")

    def _repair(self, source: Source, names: Sequence[str]) -> list[str]:
        """Repair a portion, as far as it can be fetched; return what came."""
        try:
            with scratch_directory(_SCRATCH, self._server.paths.root) as scratch:
                try:
                    source.fetch(names, scratch)
                except BarmanError as error:
                    self._failures |= dict.fromkeys(names, error.message)
                came = [name for name in names if (scratch / name).exists()]
                self._store(scratch, came)
        except OSError as error:
            raise StorageError(f"{error.filename or self._server.paths.root}: {error.strerror}") from error
        return came

    def _store(self, scratch: Path, names: Sequence[str]) -> None:
        """Verify what was fetched, and have it take its place."""
        faults = self._checker.check_files(scratch, names)
        self._failures |= {name: f"the source's own copy is damaged: {fault}" for name, fault in faults.items()}
        good = [name for name in names if name not in faults]
        damaged = self.damaged.intersection(good)
        # What is the same here was never damaged: a record it shares with its neighbour was.
        same = {name for name in damaged if self._is_same(scratch / name, name)}
        self.repaired |= same
        new = [name for name in good if name not in same]
        if not new:
            return
        with self._archiving():
            for name in sorted(damaged - same):
                self._reporter.info(f"Damaged WAL file {name} is kept as {self._keep(name)}")
            result = self._intake.finish(self._intake.begin(scratch, new, replacing=True))
        self.repaired |= set(result.archived)
        self._failures |= dict(result.errors)

    @contextmanager
    def _archiving(self) -> Iterator[None]:
        """Be the one who archives, once others have ended."""
        lock = self._server.locks.archive_wal()
        try:
            lock.acquire()
        except LockBusy as busy:
            self._reporter.info(f"Waiting: {busy.message}")
            lock.acquire(wait=True)
        try:
            yield
        finally:
            lock.release()

    def _is_same(self, path: Path, name: str) -> bool:
        try:
            with path.open("rb") as new, self._server.wal_archive.open_decoded(name) as old:
                return digest_of(new) == digest_of(old)
        except (StorageError, OSError):
            return False

    def _keep(self, name: str) -> str:
        """Copy a damaged file of the archive to the errors directory, durably; return where it is."""
        errors = self._server.paths.errors
        try:
            files.make_directories(errors)
            target = free_error_path(str(errors), name, "damaged")
            with self._server.wal_archive.open(name) as source, files.replacing(target) as copy:
                shutil.copyfileobj(source, copy, _CHUNK)
        except OSError as error:
            raise StorageError(f"cannot copy {name} to {errors}: {error.strerror}") from error
        return target


def _portions(names: Sequence[str], segment_size: int) -> Iterator[list[str]]:
    """Yield the names in portions of segments that follow each other; others one by one."""
    largest = max(1, min(_PORTION, _PORTION_BYTES // segment_size))
    portion: list[str] = []
    for name in names:
        if portion and (len(portion) == largest or not _follows(portion[-1], name, segment_size)):
            yield portion
            portion = []
        portion.append(name)
    if portion:
        yield portion


def _follows(name: str, other: str, segment_size: int) -> bool:
    return is_segment_name(name) and next_segment(name, segment_size) == other


def _is_kept(name: str) -> bool:
    """Whether this is a kind of file that a source may still have for us."""
    return is_segment_name(name) or name.endswith(".history")


def _message(error: Exception) -> str:
    return error.message if isinstance(error, BarmanError) else str(error)
