"""The storage driver for a directory of this machine."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import stat
import threading
from collections import deque
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, TypeVar, cast

from barman.errors import NotFound, Permanent, StorageError, Transient
from barman.host import files
from barman.storage.storage import Entry, Write

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Executor

_T = TypeVar("_T")

_log = logging.getLogger(__name__)

_COPY_CHUNK = 1 << 20
_SYNCING = 8
_AWAKE_S = 1.0
_TRANSIENT = frozenset({errno.EAGAIN, errno.EINTR, errno.EBUSY, errno.ETIMEDOUT, errno.ESTALE})
# Made by mkfs at the top of a file system, where only root may look into it.
_NO_OBJECTS = "lost+found/"
# link(2) cannot do it here, copying can: other or linkless file system, too many links, protected_hardlinks.
_UNLINKABLE = frozenset({errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES})


# What fsync says when data could not be written; it says so once, the next one succeeds. Source: Linux, fsync(2).
_UNWRITTEN = frozenset({errno.EIO, errno.ENOSPC, errno.EDQUOT})


class LocalStorage:
    """Objects are the files below root, but for dot files and what lies in lost+found.

    Objects written from a path are hard links to it where the file system allows, copies elsewhere.
    """

    def __init__(self, root: Path) -> None:
        """root may not exist yet."""
        self._root = root

    def path(self, key: str) -> Path:
        """Return where the object is, or would be; for programs that read files."""
        return self._root / key

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """See Storage."""
        with _translating(self._root / prefix):
            yield from self._walk("", prefix)

    def stat(self, key: str) -> Entry:
        """See Storage."""
        with _translating(self.path(key)):
            return _entry(key, os.stat(self.path(key)))

    def exists(self, key: str) -> bool:
        """See Storage."""
        try:
            self.stat(key)
        except NotFound:
            return False
        return True

    def open(self, key: str) -> BinaryIO:
        """See Storage."""
        with _translating(self.path(key)):
            return self.path(key).open("rb")

    def write_batch(self, writes: Sequence[Write], *, workers: int = 1) -> Sequence[Entry]:
        """See Storage."""
        with ThreadPoolExecutor(max_workers=max(1, workers), thread_name_prefix="write") as pool:
            return self.begin_batch(writes, pool=pool).finish()

    def begin_batch(self, writes: Sequence[Write], *, pool: Executor) -> _Batch:
        """See Storage."""
        batch = _Batch(self._root, pool)
        try:
            for write in writes:
                batch.begin(write)
        except BaseException:
            batch.discard()
            raise
        return batch

    def sync(self, keys: Sequence[str]) -> None:
        """See Storage."""
        with ThreadPoolExecutor(max_workers=_SYNCING, thread_name_prefix="fsync") as pool:
            list(pool.map(self._sync, keys))
        for directory in dict.fromkeys(directory for key in keys for directory in _directories(self._root, key)):
            with _translating(directory), contextlib.suppress(FileNotFoundError):
                files.fsync_directory(directory)

    def delete_batch(self, keys: Sequence[str]) -> None:
        """See Storage. Directories that are left empty stay: another process may be about to write into them."""
        groups: dict[str, list[str]] = {}
        for key in keys:
            groups.setdefault(key.rpartition("/")[0], []).append(key)
        if len(groups) == 1:
            self._delete(*groups.popitem())
        elif groups:
            # Directory by directory: what waits is the journal of the file system, and it lets several wait together.
            with ThreadPoolExecutor(max_workers=_SYNCING, thread_name_prefix="delete") as pool:
                list(pool.map(self._delete, groups.keys(), groups.values()))

    def _delete(self, directory: str, keys: Sequence[str]) -> None:
        """Delete objects that lie in one directory, and make that durable."""
        for key in keys:
            # Not a Path: this is done for many thousands of files.
            path = f"{self._root}/{key}"
            with _translating(path), contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        with _translating(self._root / directory), contextlib.suppress(FileNotFoundError):
            files.fsync_directory(self._root / directory)

    def _sync(self, key: str) -> None:
        with _translating(self.path(key)), contextlib.suppress(FileNotFoundError):
            files.fsync_file(self.path(key))

    def _walk(self, directory: str, prefix: str) -> Iterator[Entry]:
        """Yield the objects in directory ("" or ending in "/"), in key order, that start with prefix."""
        try:
            with os.scandir(self._root / directory) as entries:
                # A directory sorts as its keys do: with the slash.
                found = sorted((entry.name + "/" * entry.is_dir(), entry) for entry in entries)
        except FileNotFoundError:
            return
        for name, entry in found:
            key = directory + name
            if name.startswith(".") or key == _NO_OBJECTS or not (key.startswith(prefix) or prefix.startswith(key)):
                continue
            if name.endswith("/"):
                yield from self._walk(key, prefix)
            elif key.startswith(prefix):
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat()
                    if stat.S_ISREG(status.st_mode):
                        yield _entry(key, status)


class _Temporary(NamedTuple):
    """A finished file without its final name. It stays open, so that nobody takes it for one whose writer is gone."""

    path: str
    file: BinaryIO

    def discard(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        # Closing writes what is buffered, and on a full disk fails again.
        with contextlib.suppress(OSError):
            self.file.close()


class _Batch:
    """A batch under way: contents are produced and made durable side by side, then named in order."""

    def __init__(self, root: Path, pool: Executor) -> None:
        self._root = root
        self._producing = pool
        # Waiting for the disk needs no core: it happens beside the producing of the next contents.
        self._syncing = ThreadPoolExecutor(max_workers=_SYNCING, thread_name_prefix="fsync")
        self._cancelled = threading.Event()
        self._begun: deque[tuple[Write, Future[Future[_Temporary | None]]]] = deque()
        self._directories: dict[Path, None] = {}
        self._parents: set[Path] = set()

    def begin(self, write: Write) -> None:
        """Start to produce one object's content."""
        target = self._root / write.key
        if target.parent not in self._parents:
            with _translating(target):
                files.make_directories(target.parent)
                files.remove_stale_temporaries(target.parent)
            self._parents.add(target.parent)
            # With those above: a killed process may have made them without making their names durable.
            self._directories |= dict.fromkeys(_directories(self._root, write.key))
        self._begun.append((write, self._producing.submit(self._produce, write, target)))

    def finish(self) -> list[Entry]:
        """Wait for all contents, give each its name, in order, and make the names durable."""
        try:
            return self._finish()
        finally:
            self.discard()

    def discard(self) -> None:
        """Give up what has no name yet; wait until nobody works on it, and remove it."""
        self._cancelled.set()
        wait([producing for _write, producing in self._begun if not producing.cancel()])
        self._syncing.shutdown()
        while self._begun:
            _forget(self._begun.popleft()[1])

    def _finish(self) -> list[Entry]:
        entries = []
        for directory in self._parents:
            with _translating(directory):
                _made(directory)
        try:
            while self._begun:
                write, producing = self._begun[0]
                with _translating(self._root / write.key):
                    temporary = _result(_result(producing))
                    if write.check is not None:
                        write.check()
                    entries.append(_name(write, temporary, self._root / write.key))
                self._begun.popleft()
        finally:
            # What has its name already is to be durable, also when a later one failed.
            for directory in self._directories:
                with _translating(directory):
                    files.fsync_directory(directory)
        return entries

    def _produce(self, write: Write, target: Path) -> Future[_Temporary | None]:
        """Write the content to a temporary file; return a future of it once synced, of None for a path to be linked."""
        with _translating(self._root / write.key):
            if isinstance(write.content, Path) and _is_linkable(write, target):
                return self._syncing.submit(_sync_source, write, target)
            return self._syncing.submit(_sync, _fill_temporary(write, target, self._cancelled))


def _result(future: Future[_T]) -> _T:
    """Wait for a result, awake now and then: a signal in the instant before a wait is noticed only after it."""
    while not wait([future], timeout=_AWAKE_S).done:
        pass
    return future.result()


def _forget(producing: Future[Future[_Temporary | None]]) -> None:
    """Remove the temporary file, if it is still there."""
    if producing.cancelled() or producing.exception() is not None:
        return
    syncing = producing.result()
    if syncing.exception() is None and (temporary := syncing.result()) is not None:
        temporary.discard()


class _Cancellable:
    """A file that refuses to be written once the batch is given up, so that its writer ends soon."""

    def __init__(self, file: BinaryIO, cancelled: threading.Event) -> None:
        self._file = file
        self._cancelled = cancelled

    def write(self, data: bytes | memoryview, /) -> int:
        if self._cancelled.is_set():
            raise CancelledError
        return self._file.write(data)

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)


def _made(directory: Path) -> Path:
    """Return directory, which somebody may have removed while it was empty."""
    files.make_directories(directory)
    return directory


def _is_linkable(write: Write, target: Path) -> bool:
    """Whether the file itself can become the object: same file system, and nothing about it is to be changed."""
    if write.mtime_ns is not None or write.mode is not None:
        return False
    source = os.lstat(str(write.content))
    return stat.S_ISREG(source.st_mode) and source.st_dev == os.stat(_made(target.parent)).st_dev


def _directories(root: Path, key: str) -> list[Path]:
    """Return the directories that name an object, the innermost first, root last."""
    return [root / parent for parent in PurePosixPath(key).parents]


def _sync_source(write: Write, target: Path) -> _Temporary | None:
    """Make the file that is to be linked durable; if that fails, a copy of it, which is not to be linked."""
    try:
        files.fsync_file(str(write.content))
    except OSError as error:
        if error.errno not in _UNWRITTEN:
            raise
        _log.warning("%s cannot be made durable (%s): copying it", write.content, error.strerror)
        return _sync(_fill_temporary(write, target))
    return None


def _fill_temporary(write: Write, target: Path, cancelled: threading.Event | None = None) -> _Temporary:
    """Write the content to a temporary file beside target."""
    temporary = _Temporary(*files.open_temporary(_made(target.parent) / target.name))
    try:
        with files.naming(temporary.path):
            file = cast("BinaryIO", _Cancellable(temporary.file, cancelled)) if cancelled else temporary.file
            _fill(file, write)
    except BaseException:
        temporary.discard()
        raise
    return temporary


def _sync(temporary: _Temporary) -> _Temporary:
    try:
        with files.naming(temporary.path):
            os.fsync(temporary.file.fileno())
    except OSError:
        temporary.discard()
        raise
    return temporary


def _fill(file: BinaryIO, write: Write) -> None:
    """Write content, mode and time to the open temporary file."""
    mode, mtime_ns = write.mode, write.mtime_ns
    if isinstance(write.content, bytes):
        file.write(write.content)
    elif isinstance(write.content, Path):
        with write.content.open("rb") as source:
            status = os.fstat(source.fileno())
            shutil.copyfileobj(source, file, _COPY_CHUNK)
        mode = stat.S_IMODE(status.st_mode) if mode is None else mode
        mtime_ns = status.st_mtime_ns if mtime_ns is None else mtime_ns
    else:
        write.content(file)
    file.flush()
    if mode is not None:
        os.fchmod(file.fileno(), mode)
    if mtime_ns is not None:
        os.utime(file.fileno(), ns=(mtime_ns, mtime_ns))


def _name(write: Write, temporary: _Temporary | None, target: Path) -> Entry:
    """Give the finished content its final name."""
    if temporary is None and not _link(Path(str(write.content)), target):
        # Rare enough to be done here, one after the other.
        temporary = _sync(_fill_temporary(write, target))
    if temporary is not None:
        with temporary.file:
            os.rename(temporary.path, target)
    return _entry(write.key, os.stat(target))


def _link(source: Path, target: Path) -> bool:
    """Make target a second name of source, replacing what is there; False if this file system cannot."""
    try:
        os.link(source, target)
    except FileExistsError:
        temporary = files.temporary_name(target)
        os.link(source, temporary)
        # When both are the same file already, rename does nothing and leaves the temporary name.
        os.rename(temporary, target)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    except OSError as error:
        if error.errno not in _UNLINKABLE:
            raise
        return False
    return True


def _entry(key: str, status: os.stat_result) -> Entry:
    return Entry(key, status.st_size, status.st_mtime_ns)


@contextlib.contextmanager
def _translating(path: Path | str) -> Iterator[None]:
    """Turn an OSError into the StorageError it means, naming the file."""
    try:
        yield
    except OSError as error:
        kind: type[StorageError] = Permanent
        if error.errno == errno.ENOENT:
            kind = NotFound
        elif error.errno in _TRANSIENT:
            kind = Transient
        raise kind(f"{path}: {error.strerror}") from error
