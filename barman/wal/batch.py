"""A batch of waiting WAL files: look at each, leave out what is not to be archived, archive the rest together."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from typing import TYPE_CHECKING, NamedTuple

from barman.catalog.hook_variables import wal_variables
from barman.catalog.identity import Identity, read_identity
from barman.catalog.wal_archive import ArchivedWal, archive_key
from barman.catalog.xlogdb import WalEntry
from barman.errors import CatalogError, Encrypted, StorageError, Transient, WalError
from barman.host import files
from barman.host.hooks import Event
from barman.postgres.wal_header import LONG_HEADER_SIZE, check_header, parse_page_header
from barman.postgres.wal_names import WalKind, parse_wal_name
from barman.storage.compress.decoded import open_decoded
from barman.storage.encrypt.content_mark import digest_of, read_mark
from barman.storage.storage import Write
from barman.wal.encoding import encoding_of
from barman.wal.inspect import Inspection, inspect_wal
from barman.wal.set_aside import set_aside

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from concurrent.futures import Executor
    from pathlib import Path
    from typing import BinaryIO

    from barman.catalog.wal_archive import PendingWal
    from barman.server import Server

_log = logging.getLogger(__name__)

_CHUNK = 1 << 20
# Where the system does not tell whether a file is still being written, its age must.
_SETTLED_S = 60.0


class BatchResult(NamedTuple):
    """What became of a batch. Names as archived.

    rows: the files that were dealt with, in order: archived, found archived already, or in conflict. archived: those of
    them that are new. conflicts: where those are that have another content in the archive. errors: name and reason of
    files that are damaged or could not be dealt with. unfinished: left for later, since they are still being written.
    """

    rows: tuple[str, ...] = ()
    archived: tuple[str, ...] = ()
    conflicts: Mapping[str, Path] = {}
    errors: tuple[tuple[str, str], ...] = ()
    unfinished: tuple[str, ...] = ()


class _Candidate(NamedTuple):
    """A file fit to be archived. path: where it is; name: as archived."""

    name: str
    path: Path
    inspection: Inspection


class _Unfit(NamedTuple):
    """A file that is not archived. fault: why it is set aside, None if it stays; reason: None if that is no error."""

    name: str
    path: Path
    fault: str | None
    reason: str | None


class Begun(NamedTuple):
    """A batch under way; what its files are, and what the archive had of them already, by name: whether the same."""

    candidates: tuple[_Candidate, ...]
    unfit: tuple[_Unfit, ...]
    present: Mapping[str, bool]
    pending: PendingWal | None


class _Stored(NamedTuple):
    """What the archive has of a batch. entries: lines of new files; same, different: names of files it had already."""

    entries: Mapping[str, WalEntry]
    same: AbstractSet[str]
    different: AbstractSet[str]


class Intake:
    """Archives the batches of one run of one server. Not for use by several threads."""

    def __init__(self, server: Server, pool: Executor, *, beside: Executor | None = None) -> None:
        """pool: compresses files. beside: looks at them before, takes them away afterwards; None: pool, in turn."""
        self._server = server
        self._archive = server.wal_archive
        self._pool = pool
        self._beside = beside or pool
        self._hooks = server.hooks(Event.ARCHIVE)
        self._encoding = encoding_of(server)
        self._cluster = _expected_cluster(server)

    @property
    def has_hooks(self) -> bool:
        """Whether hooks are run, which expect one file at a time."""
        return bool(self._hooks)

    def begin(self, directory: Path, file_names: Sequence[str], *, replacing: bool = False) -> Begun:
        """Look at files of directory and have those compressed that are new, for finish or discard.

        replacing: whatever the archive has of them is taken for new, and replaced. Several batches may be under way, if
        their names differ. Raises as finish does.
        """
        looks = self._look_at_all([directory / name for name in file_names])
        candidates = tuple(look for look in looks if isinstance(look, _Candidate))
        for candidate in candidates:
            self._hooks.before(self._source_variables(candidate))
        with self._hooks_after_failure(candidates):
            present = [one for one in candidates if not replacing and self._archive.exists(one.name)]
            is_same = dict(zip((one.name for one in present), self._beside.map(self._is_same, present), strict=True))
            new = [self._prepare(candidate) for candidate in candidates if candidate.name not in is_same]
            pending = self._archive.begin(new, pool=self._pool) if new else None
        return Begun(candidates, tuple(look for look in looks if isinstance(look, _Unfit)), is_same, pending)

    def finish(self, begun: Begun, *, staying: str | None = None) -> BatchResult:
        """Archive what was begun; on return the files archived are durable, listed, and gone from where they were.

        staying: the one that is to stay there. Raises StorageError or CommandError if any of them cannot be stored,
        HookAborted if a hook says stop; every file is then still there, but may be in the archive, too.
        """
        with self._hooks_after_failure(begun.candidates):
            stored = self._store(begun)
        for candidate in begun.candidates:
            self._run_hooks_after(candidate, stored)
        safe = stored.entries.keys() | stored.same
        going = [one for one in begun.candidates if one.path.name != staying and one.name in safe]
        # Side by side: what the system frees with a file takes its time.
        list(self._beside.map(_take_away, going))
        rows = tuple(candidate.name for candidate in begun.candidates)
        errors, unfinished = self._turn_away(begun.unfit)
        conflicts, failures = self._set_conflicts_aside(one for one in begun.candidates if one.name in stored.different)
        return BatchResult(rows, tuple(stored.entries), conflicts, errors + failures, unfinished)

    @staticmethod
    def discard(begun: Begun) -> None:
        """Give up what was begun; every file is where it was."""
        if begun.pending is not None:
            begun.pending.discard()

    # Looking

    def _look_at_all(self, paths: Sequence[Path]) -> list[_Candidate | _Unfit | None]:
        """Look at files side by side, but one by one until it is known which cluster they are of."""
        looks: list[_Candidate | _Unfit | None] = []
        while self._cluster is None and len(looks) < len(paths):
            look = self._look(paths[len(looks)])
            looks.append(look)
            if isinstance(look, _Candidate) and look.inspection.system_id is not None:
                self._cluster = Identity(look.inspection.system_id)
        looks.extend(self._beside.map(self._look, paths[len(looks) :]))
        return looks

    def _look(self, path: Path) -> _Candidate | _Unfit | None:
        """Look at one file; None if it is gone."""
        name = parse_wal_name(path.name)
        try:
            inspection = inspect_wal(
                path,
                name=name.text,
                system_id=self._cluster.systemid if self._cluster else None,
                version=self._cluster.version if self._cluster else None,
                custom=self._server.custom_filters,
            )
            with path.open("rb") as file:
                is_being_written = files.is_being_written(file)
                # Its writer may have ended in between: what was seen is then not what it is.
                has_changed = _has_changed(os.fstat(file.fileno()), inspection)
        except FileNotFoundError:
            return None
        except OSError as error:
            return _Unfit(name.text, path, None, f"{path}: {error.strerror}")
        is_too_fresh = is_being_written is None and inspection.fault and not _is_settled(inspection)
        if is_being_written or has_changed or is_too_fresh:
            return _Unfit(name.text, path, None, None)
        if inspection.is_blank and name.kind is WalKind.PARTIAL and path.parent == self._server.paths.streaming:
            # A place where pg_receivewal was to begin, and did not: there is nothing in it.
            _log.info("removing %s, which holds no WAL", path)
            path.unlink(missing_ok=True)
            return None
        if inspection.fault is not None:
            return _Unfit(name.text, path, inspection.fault, inspection.reason)
        return _Candidate(name.text, path, inspection)

    def _turn_away(self, unfit: Iterable[_Unfit]) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
        """Set aside what is damaged; return errors and unfinished files as in BatchResult."""
        errors, unfinished = [], []
        for look in unfit:
            if look.reason is None:
                unfinished.append(look.name)
                continue
            reason = look.reason
            if look.fault is not None:
                # Told even if it cannot be moved: then the next run finds it again.
                try:
                    reason += f"; moved to {set_aside(look.path, self._server.paths.errors, look.fault)}"
                except StorageError as error:
                    reason += f"; {error.message}"
            errors.append((look.name, reason))
        return tuple(errors), tuple(unfinished)

    def _set_conflicts_aside(
        self, candidates: Iterable[_Candidate]
    ) -> tuple[Mapping[str, Path], tuple[tuple[str, str], ...]]:
        """Set aside what differs from the archive; return where it is now, and errors as in BatchResult."""
        places, errors = {}, []
        for candidate in candidates:
            try:
                places[candidate.name] = set_aside(candidate.path, self._server.paths.errors, "duplicate")
            except StorageError as error:
                errors.append((candidate.name, f"the archive has it with different content; {error.message}"))
        return places, tuple(errors)

    # Storing

    def _store(self, begun: Begun) -> _Stored:
        """Store what is new, and see that all that is in the archive is listed."""
        entries = begun.pending.finish() if begun.pending is not None else ()
        same = frozenset(name for name, is_same in begun.present.items() if is_same)
        # Of a file that is there already, a crash may have kept back the line.
        self._archive.heal(same)
        return _Stored({entry.name: entry for entry in entries}, same, begun.present.keys() - same)

    def _is_same(self, candidate: _Candidate) -> bool:
        """Whether the archive has the file with the same content, however compressed and encrypted."""
        try:
            with self._archive.open(candidate.name) as stored:
                mark = read_mark(stored)
            if not (self._has_content(candidate, mark) if mark else self._is_equal(candidate)):
                return False
            if os.stat(candidate.path).st_nlink > 1:
                # A second name of the archived file, from a run that was killed; it may have been written over since.
                files.fsync_file(candidate.path)
        except OSError as error:
            raise StorageError(f"{candidate.path}: {error.strerror}") from error
        return True

    def _has_content(self, candidate: _Candidate, digest: str) -> bool:
        with self._open(candidate) as new:
            return digest_of(new) == digest

    def _is_equal(self, candidate: _Candidate) -> bool:
        try:
            with self._open(candidate) as new, self._archive.open_decoded(candidate.name) as old:
                return _are_equal(new, old)
        except Encrypted as error:
            # What the sender encrypted, and sent again, is the same to the byte, and needs no passphrase.
            with candidate.path.open("rb") as new, self._archive.open(candidate.name) as old:
                if _are_equal(new, old):
                    return True
            _log.warning("WAL file %s cannot be compared with the one in the archive: %s", candidate.path, error)
        return False

    def _open(self, candidate: _Candidate) -> BinaryIO:
        server = self._server
        return open_decoded(candidate.path.open("rb"), custom=server.custom_filters, decryption=server.decryption)

    def _prepare(self, candidate: _Candidate) -> ArchivedWal:
        key, seen = archive_key(candidate.name), candidate.inspection
        encoding = self._encoding.without_what(seen)

        def require_unchanged(status: os.stat_result) -> None:
            if _has_changed(status, seen):
                raise Transient(f"{candidate.path} was changed while it was being archived")

        def check() -> None:
            # Late: what gets the name may be this very file, and it was looked at before all others were made ready.
            require_unchanged(os.stat(candidate.path))

        def encode(target: BinaryIO) -> None:
            with candidate.path.open("rb") as source:
                encoding.write(source, target)
                require_unchanged(os.fstat(source.fileno()))

        if encoding.changes:
            write = Write(key, encode, mtime_ns=seen.mtime_ns, mode=seen.mode)
        else:
            write = Write(key, candidate.path, check=check)
        return ArchivedWal(write, *encoding.words(seen))

    # Hooks

    @contextlib.contextmanager
    def _hooks_after_failure(self, candidates: Sequence[_Candidate]) -> Iterator[None]:
        """Tell the hooks when what is done inside fails."""
        try:
            yield
        except BaseException as error:
            for candidate in candidates:
                self._hooks.after(self._source_variables(candidate), error=error)
            raise

    def _run_hooks_after(self, candidate: _Candidate, stored: _Stored) -> None:
        if not self._hooks:
            return
        if candidate.name in stored.different:
            error = WalError(f"{candidate.name} is archived already with different content")
            self._hooks.after(self._source_variables(candidate), error=error)
            return
        entry = stored.entries.get(candidate.name) or self._archive.entry(candidate.name)
        if entry is not None:
            path = self._server.paths.wals / archive_key(candidate.name)
            self._hooks.after(wal_variables(path, entry))

    def _source_variables(self, candidate: _Candidate) -> Mapping[str, str]:
        seen = candidate.inspection
        entry = WalEntry(candidate.name, seen.size, seen.mtime_ns / 1e9, seen.compression, seen.encryption)
        return wal_variables(candidate.path, entry)


def _take_away(candidate: _Candidate) -> None:
    """Remove an archived file from where it came, unless it was changed meanwhile: then the next run looks again.

    Not durably: should the name come back after a power cut, the next run finds the file archived.
    """
    try:
        if not _has_changed(os.stat(candidate.path), candidate.inspection):
            os.unlink(candidate.path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise StorageError(f"cannot remove {candidate.path}, which is archived: {error.strerror}") from error


def _has_changed(status: os.stat_result, inspection: Inspection) -> bool:
    return (status.st_size, status.st_mtime_ns) != (inspection.size, inspection.mtime_ns)


def _is_settled(inspection: Inspection) -> bool:
    return time.time() - inspection.mtime_ns / 1e9 > _SETTLED_S


def _are_equal(one: BinaryIO, other: BinaryIO) -> bool:
    """Whether both files hold the same from where they stand."""
    while (chunk := _read_fully(one)) == _read_fully(other):
        if not chunk:
            return True
    return False


def _read_fully(file: BinaryIO) -> bytes:
    """Read a chunk that is shorter only at the end, whatever pieces the reader gives."""
    chunk = file.read(_CHUNK)
    while chunk and len(chunk) < _CHUNK and (more := file.read(_CHUNK - len(chunk))):
        chunk += more
    return chunk


def _expected_cluster(server: Server) -> Identity | None:
    """Return which cluster all WAL must come from: that of the backups, else that of the newest archived segment."""
    try:
        identity = read_identity(server.paths)
    except CatalogError as error:
        _log.warning("%s; the newest archived segment tells the cluster instead", error)
        identity = None
    newest = None if identity else server.wal_archive.newest_segment()
    if newest is None:
        return identity
    try:
        with server.wal_archive.open_decoded(newest) as file:
            header = parse_page_header(file.read(LONG_HEADER_SIZE))
    except (StorageError, WalError):
        return None
    is_good = header.system_id is not None and check_header(header, name=newest) is None
    return Identity(header.system_id or "", header.version) if is_good else None
