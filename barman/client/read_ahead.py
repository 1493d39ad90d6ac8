"""The spool: segments fetched before PostgreSQL asks for them, by a process that outlives the restore_command.

At most one such process works on a spool directory, holding the lock of a file in it. That file is empty until the
process knows what there is to fetch, and then holds the names. A file of the spool has its final name only when it is
complete. Hot-safe.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import signal
import stat
import time
from typing import TYPE_CHECKING, BinaryIO

from barman.client.received import CHUNK, is_whole
from barman.client.spool import make_own_directory
from barman.postgres.wal_names import is_segment_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_LOCK = ".read-ahead.lock"
_WAIT_LIMIT_S = 60
_POLL_S = 0.01


class Spool:
    """The spool directory of one host's restore_command."""

    def __init__(self, directory: str) -> None:
        """directory: it need not exist as long as nothing is fetched ahead."""
        self._directory = directory

    def create(self) -> None:
        """Create the directory, not its parents. ClientError if it cannot be used or belongs to somebody else."""
        make_own_directory(self._directory)

    def path(self, name: str) -> str:
        """Return where a complete segment stands."""
        return os.path.join(self._directory, name)

    def take(self, name: str, destination: str) -> bool:
        """Move a segment to destination; False if it is not here (a file that is not whole is dropped)."""
        source = self.path(name)
        try:
            status = os.lstat(source)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return False
        if not stat.S_ISREG(status.st_mode) or status.st_uid not in (os.geteuid(), 0):
            return False
        if not is_whole(name, status.st_size):
            os.unlink(source)
            return False
        try:
            os.rename(source, destination)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with open(source, "rb") as file, replacing(destination) as target:
                shutil.copyfileobj(file, target, CHUNK)
            os.unlink(source)
        return True

    def await_segment(self, name: str) -> None:
        """Return once name is here, or nobody is about to fetch it."""
        deadline = time.monotonic() + _WAIT_LIMIT_S
        with contextlib.suppress(FileNotFoundError), open(os.path.join(self._directory, _LOCK), "rb") as lock:
            while time.monotonic() < deadline and not os.path.exists(self.path(name)):
                if _try_lock(lock):
                    return
                lock.seek(0)
                names = lock.read().decode().split()
                if names and name not in names:
                    return
                time.sleep(_POLL_S)

    def count_after(self, name: str) -> int:
        """Return how many segments that come after name, on its timeline, are here."""
        with contextlib.suppress(FileNotFoundError):
            return sum(
                is_segment_name(other) and other[:8] == name[:8] and other > name
                for other in os.listdir(self._directory)
            )
        return 0

    def fetch_in_background(self, find_names: Callable[[], Sequence[str]], fetch: Callable[[str, str], None]) -> None:
        """Start a process that fetches segments, unless one is at it, and return at once.

        find_names: says which segments there are. fetch(name, path): makes path the complete segment, or raises; it is
        called for several at the same time, each in its own process.
        """
        lock = open(os.path.join(self._directory, _LOCK), "ab+")  # noqa: SIM115 - the lock must outlive us
        if not _try_lock(lock):
            lock.close()
            return
        lock.truncate(0)
        if os.fork() == 0:
            _detach()
            status = 1
            try:
                self._fetch_all(lock, find_names(), fetch)
                status = 0
            finally:
                # Not a return into the program we are a copy of.
                os._exit(status)
        lock.close()

    def _fetch_all(self, lock: BinaryIO, names: Sequence[str], fetch: Callable[[str, str], None]) -> None:
        missing = [name for name in names if not os.path.exists(self.path(name))]
        lock.write(" ".join(missing or ["-"]).encode())
        lock.flush()
        workers = [_fork(lambda name=name: fetch(name, self.path(name))) for name in missing]  # type: ignore[misc]
        for worker in workers:
            os.waitpid(worker, 0)


@contextlib.contextmanager
def replacing(path: str) -> Iterator[BinaryIO]:
    """Open a file that takes the place of path when the block ends well.

    Not durable: PostgreSQL syncs a restored segment itself before it relies on it. The temporary name is always the
    same, so that what a killed program leaves is overwritten by the next one.
    """
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _fork(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return child


def _detach() -> None:
    """Leave the terminal, PostgreSQL's signals and its log behind."""
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)


def _try_lock(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
