"""Who is doing what: lock files shared with every Barman on this home.

A lock is flock(2) on ``.SERVER-TASK.lock``; its content is the holder's pid and means something only while the lock is
held. The file stays after release. Source: Barman's on-disk protocol, checked against 3.19.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import time
from typing import TYPE_CHECKING, NamedTuple

from barman.errors import LockBusy, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from types import TracebackType

    from filelock import BaseFileLock

# Other processes probe a lock by taking it for an instant: a busy lock is tried again for this long.
_GRACE_S = 0.3
_POLL_S = 0.01
_TASK = re.compile(r"(?:(?P<backup>\d{8}T\d{6})(?:-(?=sync-backup))?)?(?P<task>[a-z-]*)")
_SERVER_TASKS = frozenset({"cron", "archive-wal", "receive-wal", "backup", "xlogdb", "sync-wal"})
_BACKUP_TASKS = frozenset({"", "sync-backup"})


class HeldLock(NamedTuple):
    """A lock somebody holds. task: its name ("backup-id" for the lock of one backup); backup_id: where it has one."""

    task: str
    backup_id: str | None
    pid: int


class NamedLock:
    """One lock file. Not reentrant: a process that holds it finds it busy."""

    def __init__(self, path: Path, doing: str, *, waits: bool = False) -> None:
        """doing: what the holder does, for the message. waits: whether the with statement waits for ever."""
        self.path = path
        self._doing = doing
        self._waits = waits
        self._held: BaseFileLock | None = None

    def acquire(self, *, wait: bool | float | None = None) -> None:
        """Take the lock; LockBusy if another process has it.

        wait: False gives up after a fraction of a second, True never, a number after so many seconds; None is what
        this lock usually does. StorageError if the lock file cannot be made.
        """
        from filelock import FileLock, Timeout

        wait = self._waits if wait is None else wait
        seconds = -1 if wait is True else max(float(wait), _GRACE_S)
        while True:
            lock = FileLock(self.path, mode=0o600, thread_local=False)
            try:
                lock.acquire(timeout=seconds, poll_interval=_POLL_S)
                if self._write_pid():
                    self._held = lock
                    return
                lock.release()
            except Timeout:
                raise self._busy() from None
            except OSError as error:
                lock.release()
                raise StorageError(f"cannot lock {self.path}: {error.strerror}") from error

    def release(self) -> None:
        """Let the lock go; the file stays."""
        if self._held is not None:
            self._held.release()
            self._held = None

    def remove(self) -> None:
        """Remove the lock file while holding it, because what it guards is gone, and let the lock go."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        self.release()

    @contextlib.contextmanager
    def shared(self, doing: str) -> Iterator[None]:
        """Hold the lock together with others who only use what it guards; LockBusy while somebody changes it.

        Nobody can take the lock as long as one of them is there, and who tries is told what it is used for: doing.
        """
        descriptor = self._acquire_shared(f"{os.getpid()} {doing}\n".encode(errors="surrogateescape"))
        try:
            yield
        finally:
            os.close(descriptor)

    def holder(self) -> int | None:
        """Return the pid of the process that has the lock, 0 if it did not say; None if it is free.

        Asks with a shared lock for an instant, so that two who ask do not disturb each other.
        """
        return _holder(self.path)

    def __enter__(self) -> NamedLock:  # noqa: PYI034  typing.Self needs Python 3.11
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _acquire_shared(self, line: bytes) -> int:
        """Return a descriptor that holds the lock until it is closed, after adding a line that says who and what for.

        Whoever comes first removes what those before have left, for which it has the lock alone for an instant.
        """
        deadline = time.monotonic() + _GRACE_S
        while True:
            try:
                descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            except OSError as error:
                raise StorageError(f"cannot lock {self.path}: {error.strerror}") from error
            try:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    with contextlib.suppress(OSError):
                        os.ftruncate(descriptor, 0)
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
                # The lock is what counts; on a full disk nobody learns what for.
                with contextlib.suppress(OSError):
                    os.write(descriptor, line)
                # Its cleanup may have removed the file between our opening and locking it.
                if os.path.samestat(os.fstat(descriptor), os.stat(self.path)):
                    return descriptor
            except FileNotFoundError:
                pass
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(descriptor)
                    raise self._busy() from None
                time.sleep(_POLL_S)
            os.close(descriptor)

    def _write_pid(self) -> bool:
        """Write our pid into the file we hold; False if the path no longer names a file (its cleanup was faster)."""
        try:
            descriptor = os.open(self.path, os.O_WRONLY)
        except FileNotFoundError:
            return False
        content = b"%d\n" % os.getpid()
        try:
            # Not to 0: ext4 flushes a file that was emptied when it is closed, some ms for every lock.
            os.ftruncate(descriptor, len(content))
            os.write(descriptor, content)
        except OSError as error:
            # On a full disk what frees space must go on; nobody may take an older pid for ours then.
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)
        return True

    def _busy(self) -> LockBusy:
        users = _users(self.path)
        if users:
            others = f", and {len(users) - 1} more" if users[1:] else ""
            pid, doing = users[0]
            return LockBusy(f"another process is {doing} (process {pid}{others})", holder=pid)
        holder = self.holder()
        by = f" (process {holder})" if holder else ""
        return LockBusy(f"another process is already {self._doing}{by}", holder=holder)


class Locks:
    """The locks of one server."""

    def __init__(self, directory: Path, server: str) -> None:
        """directory: where the lock files are, the same for all servers."""
        self.directory = directory
        self.server = server

    def cron(self) -> NamedLock:
        """Held by a maintenance tick while it looks after this server."""
        return self._lock("cron", f"running cron on server {self.server}")

    def archive_wal(self) -> NamedLock:
        """Held by every archiving run."""
        return self._lock("archive-wal", f"archiving WAL of server {self.server}")

    def receive_wal(self) -> NamedLock:
        """Held by receive-wal for its whole life."""
        return self._lock("receive-wal", f"receiving WAL of server {self.server}")

    def backup(self) -> NamedLock:
        """Held by backup, delete and import."""
        return self._lock("backup", f"backing up, deleting from or importing into server {self.server}")

    def backup_id(self, backup_id: str) -> NamedLock:
        """Held by who changes this backup: check-backup, delete, retention, export."""
        return self._lock(backup_id, f"working on backup {backup_id} of server {self.server}")

    def lease(self, backup_id: str, doing: str) -> AbstractContextManager[None]:
        """Use this backup together with others who only read it; LockBusy while somebody changes it.

        doing: "restoring", for instance; whoever wants to delete the backup is told.
        """
        return self.backup_id(backup_id).shared(f"{doing} backup {backup_id} of server {self.server}")

    def xlogdb(self) -> NamedLock:
        """Held around every change of the WAL catalogue; waits."""
        return self._lock("xlogdb", f"using the WAL catalogue of server {self.server}", waits=True)

    def sync_backup(self, backup_id: str) -> NamedLock:
        """Held by a passive node while it copies this backup."""
        return self._lock(f"{backup_id}-sync-backup", f"copying backup {backup_id} of server {self.server}")

    def sync_wal(self) -> NamedLock:
        """Held by a passive node while it copies WAL; waits."""
        return self._lock("sync-wal", f"copying WAL of server {self.server}", waits=True)

    def _lock(self, task: str, doing: str, *, waits: bool = False) -> NamedLock:
        return NamedLock(self.directory / f".{self.server}-{task}.lock", doing, waits=waits)


def config_update_lock(directory: Path) -> NamedLock:
    """Held by whoever changes configuration files."""
    return NamedLock(directory / ".config-update.lock", "updating the configuration")


def held_locks(directory: Path, server_names: Sequence[str], server: str) -> list[HeldLock]:
    """Return the locks of server that somebody holds, by file name.

    server_names: all configured names. Names may contain "-", so a file belongs to the longest name that fits.
    """
    found = []
    for path in sorted(directory.glob(".*.lock")):
        parsed = _parse_name(path.name, server_names)
        if parsed is None or parsed[0] != server:
            continue
        pid = _holder(path)
        if pid is not None:
            found.append(HeldLock(parsed[1], parsed[2], pid))
    return found


def cleanup(directory: Path) -> None:
    """Remove the lock files nobody holds.

    Each is removed while we hold it, so whoever opened it meanwhile finds it unlinked and starts again.
    """
    for path in directory.glob(".*.lock"):
        with contextlib.suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Under our feet it may have been removed and made anew by another.
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                path.unlink()


def _parse_name(file_name: str, server_names: Sequence[str]) -> tuple[str, str, str | None] | None:
    """Return server, task and backup id from the name of a lock file; None if it is no server's."""
    stem = file_name[1 : -len(".lock")]
    for name in sorted(server_names, key=len, reverse=True):
        match = _TASK.fullmatch(stem[len(name) + 1 :]) if stem.startswith(f"{name}-") else None
        if match and match["task"] in (_BACKUP_TASKS if match["backup"] else _SERVER_TASKS):
            return name, match["task"] or "backup-id", match["backup"]
    return None


def _users(path: Path) -> list[tuple[int, str]]:
    """Return pid and purpose of those who share the lock now; lines of processes that have ended do not count."""
    found = []
    with contextlib.suppress(OSError):
        for line in path.read_text(errors="surrogateescape").splitlines():
            pid, _, doing = line.partition(" ")
            if doing and pid.isdigit() and _is_alive(int(pid)):
                found.append((int(pid), doing))
    return found


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _holder(path: Path) -> int | None:
    try:
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                digits = file.read(32).strip()
                return int(digits) if digits.isdigit() else 0
    except FileNotFoundError:
        pass
    except OSError as error:
        raise StorageError(f"cannot look at the lock {path}: {error.strerror}") from error
    return None
