"""Files that survive a power cut: temporary name, fsync, rename, fsync of the directory. Hot-safe.

Every function raises OSError, always with the name of the file it was about.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import re
import shutil
import signal
import stat
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    AnyPath = str | os.PathLike[str]

_FILES_PER_TASK = 64
_TEMPORARY = re.compile(r"\..+\.\d+\.\d+\.tmp")
_serial = itertools.count()


class TreeTotals(NamedTuple):
    """What a tree holds. bytes: sizes of its regular files; linked_bytes: what of it is in other trees, too.

    That is of a file with another hard link all, and of another, if that is asked for, the blocks it shares.
    """

    files: int
    bytes: int
    linked_bytes: int


@contextlib.contextmanager
def naming(path: AnyPath) -> Iterator[None]:
    """Give an OSError raised inside a file name, if it has none (fsync and write know only a descriptor)."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = os.fspath(path)
        raise


def temporary_name(path: AnyPath) -> str:
    """Return a fresh name beside path: a dot file that ends in .tmp, which every reader of barman's places ignores."""
    directory, name = os.path.split(os.fspath(path))
    return os.path.join(directory, f".{name}.{os.getpid()}.{next(_serial)}.tmp")


def open_temporary(path: AnyPath) -> tuple[str, BinaryIO]:
    """Create a temporary file beside path; return its name and the file, open for writing and locked.

    The lock (flock) tells remove_stale_temporaries that the writer lives. It goes with the file's last descriptor.
    """
    while True:
        temporary = temporary_name(path)
        file = open(temporary, "xb")  # noqa: SIM115  the caller closes it
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return temporary, file
        # Somebody took it for a stale one in the moment before it was locked.
        file.close()


def remove_stale_temporaries(directory: AnyPath) -> None:
    """Remove the temporary files in directory whose writer is gone; the directory may be missing."""
    with contextlib.suppress(FileNotFoundError), os.scandir(directory) as entries:
        for entry in entries:
            if _TEMPORARY.fullmatch(entry.name):
                with contextlib.suppress(FileNotFoundError, BlockingIOError), open(entry.path, "rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(entry.path)


@contextlib.contextmanager
def replacing(path: AnyPath, *, mode: int | None = None) -> Iterator[BinaryIO]:
    """Open a file that takes the place of path when the block ends well; on an exception path stays as it was.

    On return content and name are durable. mode: permission bits; None keeps those of the file replaced, and means
    the umask for a new one.
    """
    if mode is None:
        with contextlib.suppress(FileNotFoundError):
            mode = stat.S_IMODE(os.stat(path).st_mode)
    temporary, file = open_temporary(path)
    try:
        with naming(path), file:
            yield file
            file.flush()
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
            os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    fsync_directory(os.path.dirname(os.fspath(path)) or ".")


def write_durably(path: AnyPath, data: bytes, *, mode: int | None = None) -> None:
    """Make data the content of path, atomically and durably; mode as in replacing."""
    with replacing(path, mode=mode) as file:
        file.write(data)


def start_flush(descriptor: int, offset: int = 0, size: int = 0) -> None:
    """Have the kernel begin to write what a file holds from offset on (size 0: all), for an fsync to come.

    It may forget those pages, too: a copy is not read again soon. Nothing is promised, and nothing raised. Source:
    Linux, mm/fadvise.c, which starts the writing of dirty pages it is told to drop.
    """
    with contextlib.suppress(OSError, AttributeError):
        os.posix_fadvise(descriptor, offset, size, os.POSIX_FADV_DONTNEED)


def fsync_file(path: AnyPath) -> None:
    """Make the content of an existing file durable; symbolic links are not followed."""
    _fsync(path, os.O_RDONLY | os.O_NOFOLLOW)


def fsync_directory(path: AnyPath) -> None:
    """Make the names in a directory durable."""
    _fsync(path, os.O_RDONLY | os.O_DIRECTORY)


def _fsync(path: AnyPath, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        with naming(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_being_written(file: BinaryIO) -> bool | None:
    """Whether any process has this file, which is open for reading, open for writing; None if it cannot be told.

    Asks the kernel for a read lease, which it grants only without writers. It is told to owners only, and not by every
    file system. Source: Linux, fcntl(2), "Leases".
    """
    try:
        # Should a writer come in the instant we have the lease, the signal for it must be one that does nothing.
        fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    except AttributeError:
        # Not Linux.
        return None
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def make_directories(path: AnyPath) -> None:
    """Create path and its missing parents, durably; nothing happens if it is there."""
    path = os.path.abspath(path)
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for directory in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory)
        fsync_directory(os.path.dirname(directory))


def unlink_durably(path: AnyPath) -> None:
    """Remove a file so that it stays removed; nothing happens if it is not there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    with contextlib.suppress(FileNotFoundError):
        fsync_directory(os.path.dirname(os.fspath(path)) or ".")


def remove_tree(path: AnyPath) -> None:
    """Remove a directory and all below it so that it stays removed; nothing happens if it is not there.

    Symbolic links below it are removed, never followed; if it is one itself, that is an error.
    """
    if os.path.islink(path):
        raise OSError(errno.ENOTDIR, "it is a symbolic link", os.fspath(path))
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        # Perhaps not all of it: another process may be removing the same files.
        if os.path.lexists(path):
            shutil.rmtree(path)
    # Also if it is gone already: whoever removed it may have been killed before this.
    with contextlib.suppress(FileNotFoundError):
        fsync_directory(os.path.dirname(os.path.abspath(path)))


def fsync_tree(
    root: AnyPath,
    *,
    workers: int,
    on_file: Callable[[int], None] | None = None,
    shared: Callable[[str], int] | None = None,
    links_are_durable: bool = False,
) -> TreeTotals:
    """Make every file and directory below root, and root's own name, durable: one barrier; return what is there.

    workers: how many files are synced at a time. on_file: called with the size of every file once it is durable, from
    any thread. shared: says how many bytes of a file are shared with others. links_are_durable: what has another hard
    link was made durable under that one: only its name here is new, and goes with the directory. Symbolic links are not
    followed.
    """
    from concurrent.futures import ThreadPoolExecutor

    directories: list[str] = []
    totals = TreeTotals(0, 0, 0)
    with ThreadPoolExecutor(max_workers=workers) as pool:
        pending = []
        for files in _walk(os.fspath(root), directories):
            pending.append(pool.submit(_fsync_files, files, on_file, shared, links_are_durable=links_are_durable))
            if len(pending) > 4 * workers:
                totals = _add(totals, pending.pop(0).result())
        for future in pending:
            totals = _add(totals, future.result())
        for _ in pool.map(fsync_directory, directories):
            pass
    fsync_directory(os.path.dirname(os.path.abspath(root)))
    return totals


def _walk(root: str, directories: list[str]) -> Iterator[Sequence[os.DirEntry[str]]]:
    """Yield the regular files below root in short lists, and note every directory."""
    waiting = [root]
    files: list[os.DirEntry[str]] = []
    while waiting:
        directory = waiting.pop()
        directories.append(directory)
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    files.append(entry)
                    if len(files) == _FILES_PER_TASK:
                        yield files
                        files = []
    yield files


def _fsync_files(
    files: Sequence[os.DirEntry[str]],
    on_file: Callable[[int], None] | None,
    shared: Callable[[str], int] | None,
    *,
    links_are_durable: bool,
) -> TreeTotals:
    size = linked = 0
    for entry in files:
        # Not entry.stat(): the entry may cache what was true before the copy of this file ended.
        status = os.lstat(entry.path)
        if status.st_nlink == 1 or not links_are_durable:
            fsync_file(entry.path)
        size += status.st_size
        if status.st_nlink > 1:
            linked += status.st_size
        elif shared is not None:
            linked += shared(entry.path)
        if on_file is not None:
            on_file(status.st_size)
    return TreeTotals(len(files), size, linked)


def _add(one: TreeTotals, other: TreeTotals) -> TreeTotals:
    return TreeTotals(one.files + other.files, one.bytes + other.bytes, one.linked_bytes + other.linked_bytes)
