"""Moving bytes: many files at a time, at a given pace, until somebody says stop."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from barman.host.files import naming, start_flush

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO

    from barman.progress import Bar

_log = logging.getLogger(__name__)

_CHUNK = 8 << 20
_SLOW_CHUNK = 256 << 10
_SMALL_CHUNK = 1 << 20
# Up to this size reading and writing are cheaper than asking for anything better.
_SMALL_FILE = 64 << 10
# What PostgreSQL writes at a time.
_BLOCK = 8192
# What copy_file_range and sendfile say when they cannot do it between these two files.
_UNABLE = frozenset({errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM})
# Trying again does not help against these.
_FINAL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR})


class Stopped(Exception):
    """Another part of the work failed or was interrupted; this one ends too."""


class Flow:
    """What all workers of one job share: the progress bar, the pace, and the word to stop. For any thread."""

    def __init__(
        self, bar: Bar, *, bandwidth_kib_s: int | None = None, retry_times: int = 0, retry_sleep_s: float = 0
    ) -> None:
        """bandwidth_kib_s: for all workers together; 0 and None are unlimited. retry_times: of one failed file."""
        self._bar = bar
        self._bytes_per_s = (bandwidth_kib_s or 0) * 1024
        self._retry_times = retry_times
        self._retry_sleep_s = retry_sleep_s
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._free_at = 0.0

    @property
    def chunk_size(self) -> int:
        """How many bytes to move between two calls of passed."""
        return _SLOW_CHUNK if self._bytes_per_s else _CHUNK

    def passed(self, size: int) -> None:
        """size bytes more were moved; waits as long as the pace demands. Stopped when the job is to end."""
        free_at = 0.0
        if self._bytes_per_s:
            with self._lock:
                free_at = self._free_at = max(self._free_at, time.monotonic()) + size / self._bytes_per_s
        # Which may take its time, as that of a flow which several others flow into.
        self._bar.advance(size)
        pause_s = free_at - time.monotonic()
        if self._stopping.wait(pause_s) if pause_s > 0 else self._stopping.is_set():
            raise Stopped

    def stop(self) -> None:
        """Have every worker end at its next chunk."""
        self._stopping.set()

    def stubbornly(self, task: Callable[[], None]) -> None:
        """Do task, again after an I/O error as often as allowed; it must bear repetition."""
        for left in range(self._retry_times, -1, -1):
            try:
                task()
            except OSError as error:
                if not left or error.errno in _FINAL:
                    raise
                _log.warning("%s: %s; trying again in %s s", error.filename, error.strerror, self._retry_sleep_s)
                if self._stopping.wait(self._retry_sleep_s):
                    raise Stopped from error
            else:
                return


def work_through(tasks: Iterable[Callable[[], None]], *, workers: int, flow: Flow) -> None:
    """Do every task, some at a time; the first failure, or an interruption, stops the others and is raised.

    tasks is read as workers become free, so it may be long and may itself do work.
    """
    pending: set[Future[None]] = set()
    with ThreadPoolExecutor(max_workers=max(workers, 1)) as pool:
        try:
            for task in tasks:
                if len(pending) >= 4 * workers:
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    _raise_failure(done)
                pending.add(pool.submit(task))
            _raise_failure(wait(pending).done)
        except BaseException:
            flow.stop()
            for future in pending:
                future.cancel()
            raise


def _raise_failure(done: Iterable[Future[None]]) -> None:
    failures = [failure for failure in (future.exception() for future in done) if failure is not None]
    if failures:
        raise next((failure for failure in failures if not isinstance(failure, Stopped)), failures[0])


def copy_file(source: str, target: str, flow: Flow) -> None:
    """Copy a regular file with its mode and times; target is made, or written over. OSError names the file."""

    def copy() -> None:
        # By descriptor: file objects would ask the kernel about each file three times more.
        with _opened(source, os.O_RDONLY) as reader, _opened(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as writer:
            status = os.fstat(reader)
            if status.st_size <= _SMALL_FILE:
                _copy_by_reading(reader, writer, flow, _SMALL_FILE, source=source, target=target)
            else:
                copy_bytes(reader, writer, flow, source=source, target=target)
            with naming(target):
                os.fchmod(writer, stat.S_IMODE(status.st_mode))
                os.utime(writer, ns=(status.st_atime_ns, status.st_mtime_ns))

    flow.stubbornly(copy)


@contextlib.contextmanager
def _opened(path: str, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o666)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def update_file(source: str, target: str, flow: Flow) -> None:
    """Make target, a regular file, equal to source, with mode and times; only blocks that differ are written."""

    def update() -> None:
        with open(source, "rb", buffering=0) as reader, open(target, "r+b", buffering=0) as writer:
            status = os.fstat(reader.fileno())
            size = 0
            while data := reader.read(min(flow.chunk_size, _SMALL_CHUNK)):
                there = os.pread(writer.fileno(), len(data), size)
                with naming(target):
                    for begin, end in _different(data, there):
                        _write_at(writer.fileno(), data[begin:end], size + begin)
                size += len(data)
                flow.passed(len(data))
            writer.truncate(size)
            start_flush(writer.fileno())
            os.fchmod(writer.fileno(), stat.S_IMODE(status.st_mode))
            os.utime(writer.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))

    flow.stubbornly(update)


def _different(data: bytes, there: bytes) -> Iterator[tuple[int, int]]:
    """Yield where data has blocks that there has not, neighbours together."""
    if data == there:
        return
    begin = None
    for at in range(0, len(data), _BLOCK):
        if data[at : at + _BLOCK] == there[at : at + _BLOCK]:
            if begin is not None:
                yield begin, at
            begin = None
        elif begin is None:
            begin = at
    if begin is not None:
        yield begin, len(data)


def copy_bytes(reader: int, writer: int, flow: Flow, *, source: str, target: str) -> int:
    """Copy what is left of a file to another, by descriptor, inside the kernel where it can; return the byte count.

    Shares the blocks where the file system can do that. It is being flushed already. source, target: for the OSError.
    """
    total = 0
    with naming(target):
        for move in (_copy_range, _send):
            with contextlib.suppress(_Unable):
                while size := move(reader, writer, flow.chunk_size):
                    start_flush(writer, total, size)
                    total += size
                    flow.passed(size)
                return total
    return _copy_by_reading(reader, writer, flow, _SMALL_CHUNK, source=source, target=target)


def _copy_by_reading(reader: int, writer: int, flow: Flow, chunk_size: int, *, source: str, target: str) -> int:
    total = 0
    while True:
        with naming(source):
            data = os.read(reader, min(flow.chunk_size, chunk_size))
        if not data:
            return total
        with naming(target):
            write_all(writer, data)
        start_flush(writer, total, len(data))
        total += len(data)
        flow.passed(len(data))


def copy_stream(reader: BinaryIO, writer: int, flow: Flow, *, target: str) -> int:
    """Copy all that reader still yields to a file by descriptor; return the byte count."""
    total = 0
    while data := reader.read(min(flow.chunk_size, _SMALL_CHUNK)):
        with naming(target):
            write_all(writer, data)
        start_flush(writer, total, len(data))
        total += len(data)
        flow.passed(len(data))
    return total


def write_all(writer: int, data: bytes | memoryview) -> None:
    """Write every byte of data to a descriptor."""
    view = memoryview(data)
    while view:
        view = view[os.write(writer, view) :]


def _write_at(writer: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        # On a disk that is nearly full, it may be less than all.
        written = os.pwrite(writer, view, offset)
        view, offset = view[written:], offset + written


class _Unable(Exception):
    """The kernel cannot do it this way between these two files."""


def _copy_range(reader: int, writer: int, size: int) -> int:
    if not hasattr(os, "copy_file_range"):
        raise _Unable
    try:
        return os.copy_file_range(reader, writer, size)
    except OSError as error:
        if error.errno in _UNABLE:
            raise _Unable from error
        raise


def _send(reader: int, writer: int, size: int) -> int:
    try:
        # Without an offset, Linux moves on from where the file is; other systems want one, and a socket.
        return os.sendfile(writer, reader, None, size)
    except (OSError, TypeError) as error:
        if isinstance(error, TypeError) or error.errno in _UNABLE or error.errno == errno.ENOTSOCK:
            raise _Unable from error
        raise
