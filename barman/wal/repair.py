"""verify-wal --repair: fetch what is missing or damaged from the source once more, as long as it is still there.

What is fetched is verified before it takes the place of anything, and then archived like any other WAL. A damaged file
is copied to the errors directory first.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from barman.catalog.wal_archive import archive_key
from barman.errors import BarmanError, CommandError, StorageError
from barman.host import files, runner
from barman.host.session import open_remote
from barman.postgres.conninfo import mask_secrets, streaming_conninfo
from barman.postgres.lsn import format_lsn
from barman.postgres.tools import find_tool, pg_receivewal_argv
from barman.postgres.wal_names import WalKind, is_segment_name, next_segment, parse_wal_name, segment_start
from barman.storage.encrypt.content_mark import digest_of
from barman.wal.batch import Intake
from barman.wal.continuity import read_histories
from barman.wal.error_names import free_error_path
from barman.wal.gaps import missing_segments
from barman.wal.verify import Defect, Kind, checker_for, known_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from barman.host.remote import Remote
    from barman.progress import Reporter
    from barman.server import Server
    from barman.wal.gaps import Histories
    from barman.wal.segment_check import Cluster, SegmentChecker

_log = logging.getLogger(__name__)

# Fetched, verified and archived at a time: so much has to fit on the disk twice.
_PORTION = 16
_PORTION_BYTES = 256 << 20
_FETCH_TIMEOUT_S = 600.0
_CHUNK = 1 << 20
_SCRATCH = ".repair-"
_FETCHED = (Kind.MISSING, Kind.DAMAGED, Kind.HISTORY)
_REMOVED = "has already been removed"


class Repair(NamedTuple):
    """What became of a repair. repaired: names, in order. remaining: the defects that are still there."""

    repaired: tuple[str, ...]
    remaining: tuple[Defect, ...]


def repair_wal(server: Server, defects: Sequence[Defect], reporter: Reporter) -> Repair:
    """Repair what can be repaired of the defects that verify_wal found.

    LockBusy while WAL is being archived; StorageError if nothing can be written.
    """
    cluster = known_cluster(server)
    with server.locks.archive_wal(), ThreadPoolExecutor(2, thread_name_prefix="repair") as pool, ExitStack() as login:
        work = _Repair(server, cluster, Intake(server, pool), reporter, login)
        work.list_anew(defects)
        wanted = _wanted(defects, read_histories(server.wal_archive), cluster.segment_size)
        wanted |= {defect.name: defect for defect in defects if defect.name in work.damaged}
        with reporter.bar(f"Repairing WAL of {server.name}", total=len(wanted), unit="segments") as bar:
            for portion in _portions(sorted(wanted), cluster.segment_size):
                work.repair(portion)
                bar.advance(len(portion))
    return Repair(tuple(sorted(work.repaired)), tuple(_remaining(defects, wanted, work.repaired, work.failures)))


def _wanted(defects: Sequence[Defect], histories: Histories, segment_size: int) -> dict[str, Defect]:
    """Return the files that would repair the defects, by name."""
    wanted: dict[str, Defect] = {}
    for defect in defects:
        if defect.gap is not None:
            wanted |= dict.fromkeys(missing_segments(defect.gap, histories, segment_size), defect)
        elif defect.kind in _FETCHED and parse_wal_name(defect.name).kind in (WalKind.SEGMENT, WalKind.HISTORY):
            wanted[defect.name] = defect
    return wanted


def _remaining(
    defects: Sequence[Defect], wanted: Mapping[str, Defect], repaired: set[str], failures: Mapping[str, str]
) -> Iterator[Defect]:
    names: dict[int, list[str]] = {}
    for name, defect in wanted.items():
        names.setdefault(id(defect), []).append(name)
    for defect in defects:
        left = [name for name in names.get(id(defect), [defect.name]) if name not in repaired]
        if left:
            reason = failures.get(left[0])
            yield defect if reason is None else defect._replace(reason=f"{defect.reason}; not repaired: {reason}")


class _Repair:
    """The repair of one server, portion by portion, while its archive is locked."""

    def __init__(self, server: Server, cluster: Cluster, intake: Intake, reporter: Reporter, login: ExitStack) -> None:
        """login: holds the login on the source, once there is one."""
        self.repaired: set[str] = set()
        self.damaged: set[str] = set()
        self.failures: dict[str, str] = {}
        self._server = server
        self._cluster = cluster
        self._intake = intake
        self._reporter = reporter
        self._login = login
        self._source: Remote | None = None
        self._checker: SegmentChecker = checker_for(server, cluster)

    def list_anew(self, defects: Sequence[Defect]) -> None:
        """Correct the list where the files are right; note what is damaged."""
        archive = self._server.wal_archive
        self.damaged = {defect.name for defect in defects if defect.kind is Kind.DAMAGED}
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

    def repair(self, names: Sequence[str]) -> None:
        """Repair segments that follow each other, or one other file; note what became of each."""
        damaged = self.damaged.intersection(names)
        with self._scratch() as scratch:
            fetched = self._fetch(scratch, names)
            faults = self._checker.check_files(scratch, fetched)
            self.failures |= {name: f"the source's own copy is damaged: {fault}" for name, fault in faults.items()}
            good = [name for name in fetched if name not in faults]
            # What is the same here was never damaged: a record it shares with its neighbour was.
            same = {name for name in damaged.intersection(good) if self._is_same(scratch / name, name)}
            self.repaired |= same
            new = [name for name in good if name not in same]
            for name in damaged.intersection(new):
                self._reporter.info(f"Damaged WAL file {name} is kept as {self._keep(name)}")
            if new:
                result = self._intake.finish(self._intake.begin(scratch, new, replacing=True))
                self.repaired |= set(result.archived)
                self.failures |= dict(result.errors)

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        root = self._server.paths.root
        try:
            # Nobody else repairs while we hold the lock: what is there was left by a run that was killed.
            for stale in root.glob(_SCRATCH + "*"):
                files.remove_tree(stale)
            directory = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=root))
        except OSError as error:
            raise StorageError(f"{root}: {error.strerror}") from error
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def _fetch(self, scratch: Path, names: Sequence[str]) -> list[str]:
        """Fetch what is still there, by streaming, and what that does not give over ssh; return what came."""
        is_history = parse_wal_name(names[0]).kind is WalKind.HISTORY
        if self._server.settings.effective_wal_streaming_conninfo is not None and not is_history:
            try:
                self._stream(scratch, names)
            except BarmanError as error:
                self._note(names, error.message)
        missing = [name for name in names if not (scratch / name).exists()]
        if missing and self._server.settings.ssh_command is not None:
            try:
                self._copy(scratch, missing)
            except BarmanError as error:
                self._note(missing, error.message)
        came = [name for name in names if (scratch / name).exists()]
        self._note([name for name in names if name not in came and name not in self.failures], "no way to fetch it")
        return came

    def _note(self, names: Sequence[str], reason: str) -> None:
        for name in names:
            self.failures[name] = f"{self.failures[name]}; {reason}" if name in self.failures else reason

    def _stream(self, scratch: Path, names: Sequence[str]) -> None:
        """Stream the segments; the server may have removed the first of them already."""
        failure = self._receive(scratch, names)
        if failure is not None and _REMOVED in failure and len(names) > 1:
            # Servers remove the oldest first: find the first that is there.
            low, high = 0, len(names) - 1
            while low < high:
                middle = (low + high) // 2
                low, high = (
                    (low, middle) if self._receive(scratch, names[middle : middle + 1]) is None else (middle + 1, high)
                )
            failure = self._receive(scratch, names[low:])
            self._note(names[:low], f"{self._server.name} has removed it already")
        if failure is not None:
            self._note([name for name in names if not (scratch / name).exists()], failure)

    def _receive(self, scratch: Path, names: Sequence[str]) -> str | None:
        """Stream segments that follow each other into scratch; return why not, None if all came."""
        settings = self._server.settings
        tool = find_tool("pg_receivewal", settings.path_prefix, old_name="pg_receivexlog")
        conninfo = streaming_conninfo(settings.effective_wal_streaming_conninfo or "", settings.streaming_archiver_name)
        size = self._cluster.segment_size
        # It begins with the segment of which there is an unfinished file.
        for leftover in scratch.glob("*.partial"):
            leftover.unlink()
        for name in names:
            (scratch / name).unlink(missing_ok=True)
        (scratch / f"{names[0]}.partial").touch()
        argv = pg_receivewal_argv(
            tool,
            conninfo=conninfo,
            directory=scratch,
            end_lsn=format_lsn(segment_start(names[-1], size) + size),
        )
        done = runner.run(
            argv,
            timeout_s=_FETCH_TIMEOUT_S,
            env=runner.environment(settings.path_prefix, LC_ALL="C", **conninfo.environment()),
            check=False,
            shown=[mask_secrets(word) for word in argv],
        )
        if all((scratch / name).exists() for name in names):
            return None
        lines = [line for line in conninfo.scrub(done.stderr).splitlines() if "ERROR:" in line or "error:" in line]
        return lines[0].rpartition("rror: ")[2].rpartition("ERROR: ")[2].strip() if lines else "it was not sent"

    def _copy(self, scratch: Path, names: Sequence[str]) -> None:
        """Copy the files from the data directory of the source."""
        directory = self._data_directory()
        if directory is None:
            raise CommandError("the data directory of the source is not known")
        try:
            source = self._reach_source()
            for name in names:
                content = source.read_file(os.path.join(directory, "pg_wal", name))
                if content is None:
                    self._note([name], f"{source.name} has it no more")
                else:
                    (scratch / name).write_bytes(content)
        except CommandError:
            # The next portion tries with a login of its own.
            self._source = None
            self._login.close()
            raise

    def _reach_source(self) -> Remote:
        """Return the host of the source; one login serves the whole repair."""
        if self._source is None:
            opened = open_remote(self._server.settings.ssh_command or "", env=self._server.environment())
            self._source = self._login.enter_context(opened)
        return self._source

    def _data_directory(self) -> str | None:
        """Where the data directory is, or was when the last backup was taken."""
        try:
            with self._server.postgres() as postgres:
                return postgres.facts().data_directory
        except BarmanError as error:
            _log.info("server %s: %s", self._server.name, error)
        records = self._server.backups.load()
        known = [record.pgdata for _, record in sorted(records.items()) if record.pgdata]
        return known[-1] if known else None

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
