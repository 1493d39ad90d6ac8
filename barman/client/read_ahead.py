"""The process that fetches segments ahead of PostgreSQL, over one connection, and outlives the restore_command.

At most one works on a spool directory, holding the lock of a file in it. That file tells its pid and which segments it
is about to bring; when it has ended, why. It goes on as long as there is WAL and somebody takes what it brings.
Hot-safe.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING, BinaryIO, cast

from barman.client import plain_fetch, received
from barman.client.remote import FAILED, ClientError, build_get_argv, bulk_options, complain, patience, quote
from barman.errors import BarmanError, WalError
from barman.host.pipe import widen
from barman.postgres.wal_names import is_segment_name, next_segment, previous_segment
from barman.wal.hot_program import STOP_RECOVERY
from barman.wal.tar_stream import CutError, TarReader

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from barman.client.spool import Spool
    from barman.host.patience import Patience

_LOCK = ".read-ahead.lock"
_AT_END = "end"
_POLL_S = 0.01
_WAIT_LIMIT_S = 60
_IDLE_LIMIT_S = 30
_END_LIMIT_S = 10
_MOST_FILES = 100_000
# What argparse exits with: a Barman that does not know --stream.
_USAGE = 2
_NOT_FOUND = 1


def await_segment(spool: Spool, name: str) -> bool:
    """Return once name is here, or nobody is about to bring it; whether somebody is at work, on whatever."""
    deadline = time.monotonic() + _WAIT_LIMIT_S
    with contextlib.suppress(FileNotFoundError), open(_lock_path(spool), "rb") as lock:
        while time.monotonic() < deadline and not spool.has(name):
            if _try_lock(lock):
                return False
            lock.seek(0)
            promised = lock.read().decode().split()[1:]
            # It has promised nothing yet if it has only just begun.
            if promised and name not in promised:
                break
            time.sleep(_POLL_S)
        return not _try_lock(lock)
    return False


def end(spool: Spool) -> None:
    """End who is fetching into the spool, as its segments are not those wanted; return when it is gone."""
    with contextlib.suppress(FileNotFoundError), open(_lock_path(spool), "rb") as lock:
        deadline = time.monotonic() + _END_LIMIT_S
        while not _try_lock(lock) and time.monotonic() < deadline:
            lock.seek(0)
            # It holds the lock, so this is its pid, and nobody else's yet.
            if pid := lock.read().decode().partition(" ")[0]:
                with contextlib.suppress(ProcessLookupError, ValueError):
                    os.kill(int(pid), signal.SIGTERM)
            time.sleep(_POLL_S)


def begin(options: argparse.Namespace, spool: Spool, first: str, *, system_id: str | None, wait: bool) -> int | None:
    """Start fetching from segment first on; None if somebody else is at it.

    system_id: of the cluster they must be of, None if that is not known. wait: whether to return only when it is known
    what became of first. Without, nothing is started either if the last one to fetch found no more to fetch. Returns
    the exit code of the restore_command then: 0 if first is in the spool.
    """
    # Not for appending: Linux would then append whatever is written at any place.
    lock = open(os.open(_lock_path(spool), os.O_RDWR | os.O_CREAT, 0o600), "r+b")  # noqa: SIM115 - it must outlive us
    is_free = _try_lock(lock)
    lock.seek(0)
    if not is_free or (not wait and lock.read() == _AT_END.encode()):
        lock.close()
        return None
    lock.truncate(0)
    answer, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(answer)
        status = 1
        try:
            Fetcher(options, spool, lock, system_id, tell if wait else None).run(first)
            status = 0
        finally:
            # Not a return into the program we are a copy of.
            os._exit(status)
    lock.close()
    os.close(tell)
    with open(answer, "rb") as pipe:
        told = pipe.read() if wait else b"0"
    if not told:
        raise ClientError(f"fetching {first} was interrupted")
    return int(told)


class Fetcher:
    """The process that fetches."""

    def __init__(
        self, options: argparse.Namespace, spool: Spool, lock: BinaryIO, system_id: str | None, tell: int | None
    ) -> None:
        """tell: where to write the exit code as soon as it is known what became of the first segment."""
        self._options = options
        self._spool = spool
        self._lock = lock
        self._system_id = system_id
        self._tell = tell
        self._under_way: list[str] = []
        self._delivered: list[str] = []
        self._last: str | None = None
        self._next: str | None = None
        self._has_received = False
        self._mutex = threading.Lock()

    def run(self, first: str) -> None:
        """Fetch until there is nothing more, or nobody takes what is here."""
        os.setsid()
        os.chdir("/")
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        if self._tell is None:
            _let_go_of_output()
        self._promise(first)
        try:
            self._delivered = self._present(first) if self._spool.is_for(self._system_id) else []
            self._spool.begin_anew(self._delivered, self._system_id)
            self._answer(self._run(first))
        except ClientError as error:
            self._fail(error.message, error.status, error.hint)
        except BarmanError as error:
            self._fail(error.message, 1, error.hint)
        except OSError as error:
            self._fail(f"cannot fetch {first}: {error.strerror}: {error.filename}", STOP_RECOVERY)

    def _present(self, first: str) -> list[str]:
        """Which segments that wait already will be asked for: those that lead up to first without a gap."""
        waiting = {name for name in os.listdir(self._spool.directory) if is_segment_name(name)}
        before = [name for name in waiting if name[:8] == first[:8] and name < first]
        names: list[str] = []
        if before:
            segment_size = os.path.getsize(self._spool.path(max(before)))
            name = previous_segment(first, segment_size)
            while name in waiting:
                names.append(name)
                name = previous_segment(name, segment_size)
        return names

    def _run(self, first: str) -> int:
        arguments = ["--stream", quote(str(_MOST_FILES))]
        argv = build_get_argv(self._options, first, arguments, more=bulk_options(self._options))
        try:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        except OSError as error:
            raise ClientError(f"cannot run ssh: {error.strerror}") from error
        complaints: list[bytes] = []
        with process:
            listener = threading.Thread(target=_collect, args=(process.stderr, complaints), daemon=True)
            listener.start()
            try:
                with patience(self._options, FAILED) as limit:
                    is_complete = self._receive(cast("BinaryIO", process.stdout), limit)
            finally:
                if process.poll() is None:
                    # Nothing more is wanted, or it has said all it had to say.
                    process.stdout.close()  # type: ignore[union-attr]
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(_END_LIMIT_S)
                    process.terminate()
            listener.join(_END_LIMIT_S)
        if process.returncode == _USAGE and not self._has_received:
            return self._fetch_one_by_one(first)
        if process.returncode == _NOT_FOUND or (is_complete and process.returncode == 0):
            self._note(_AT_END)
        if self._tell is None:
            return 0
        os.write(2, b"".join(complaints))
        status = plain_fetch.exit_code(process.returncode, self._options)
        if status == 0:
            raise ClientError(f"WAL file {first} did not arrive, and no reason why", STOP_RECOVERY)
        return status

    # Receiving

    def _receive(self, stream: BinaryIO, limit: Patience) -> bool:
        """Bring what the stream holds; False if it broke off, or nobody took what came."""
        # Not at the top: whoever only takes a segment does not need it.
        from concurrent.futures import ThreadPoolExecutor

        widen(stream)
        archive = TarReader(stream)
        with ThreadPoolExecutor(min(4, (os.cpu_count() or 1) + 1)) as pool:
            waiting: list[Future[None]] = []
            while True:
                try:
                    name = self._receive_one(archive, limit)
                except CutError:
                    return False
                if name is None:
                    break
                waiting.append(pool.submit(self._finish, self._temporary(name), name))
                waiting = [future for future in waiting if not future.done() or future.result()]
                if self._tell is not None:
                    # Somebody waits for this one.
                    waiting.pop().result()
                if not self._await_room():
                    return False
                limit.renew()
            for future in waiting:
                future.result()
        # Two blocks of zeros end an archive; where there is not even a second one, the stream broke off.
        return bool(stream.read())

    def _receive_one(self, archive: TarReader, limit: Patience) -> str | None:
        """Write the next segment of the stream to its temporary place; return its name, None at the end."""
        try:
            member = archive.next_member()
        except CutError:
            raise
        except WalError as error:
            raise ClientError(f"the far side sent something else: {error.message}") from error
        if member is None:
            return None
        if not member.is_file or not is_segment_name(member.name):
            raise ClientError(f"the far side sent {member.name!r}, which is no segment")
        self._has_received = True
        self._promise(member.name)
        with open(self._temporary(member.name), "wb") as target:

            def take(piece: memoryview) -> None:
                limit.renew()
                target.write(piece)

            archive.copy(member.size, take)
        return member.name

    def _finish(self, path: str, name: str) -> None:
        """Decompress a file, check it, and give it its name."""
        try:
            received.finish(path, name)
            received.require_segment(path, name, system_id=self._system_id)
            self._spool.note_fetched(name)
            # Before the name is there: who finds it may ask for the next one at once.
            self._promise_following(name, os.path.getsize(path))
            os.rename(path, self._spool.path(name))
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(path)
            raise
        self._arrived(name)

    def _await_room(self) -> bool:
        """Return when there is room for another segment; False if nobody takes any."""
        deadline = time.monotonic() + _IDLE_LIMIT_S
        before = -1
        while (count := self._count()) >= self._options.parallel:
            if count != before:
                deadline = time.monotonic() + _IDLE_LIMIT_S
            elif time.monotonic() > deadline:
                return False
            before = count
            time.sleep(_POLL_S)
        return True

    def _count(self) -> int:
        with self._mutex:
            self._delivered = [name for name in self._delivered if self._spool.has(name)]
            return len(self._under_way) + len(self._delivered)

    def _temporary(self, name: str) -> str:
        return os.path.join(self._spool.directory, f".{name}.tmp")

    # Saying what comes

    def _promise(self, name: str) -> None:
        with self._mutex:
            if name not in self._under_way:
                self._under_way.append(name)
            self._last = name
            self._next = None
            self._note_promises()

    def _promise_following(self, name: str, segment_size: int) -> None:
        with self._mutex:
            # Of several under way an earlier one may be ready last: it says nothing of what comes.
            if name == self._last:
                self._next = next_segment(name, segment_size)
                self._note_promises()

    def _arrived(self, name: str) -> None:
        with self._mutex:
            self._under_way.remove(name)
            self._delivered.append(name)
            self._note_promises()
        self._answer(0)

    def _note_promises(self) -> None:
        self._note(" ".join([str(os.getpid()), *self._under_way, self._next or ""]))

    def _note(self, text: str) -> None:
        # In place, since the lock is on this very file. One that is caught halfway is read again.
        os.pwrite(self._lock.fileno(), text.encode(), 0)
        os.ftruncate(self._lock.fileno(), len(text))

    def _answer(self, status: int) -> None:
        """Tell who waits what became of the first segment, once, and let go of PostgreSQL's log."""
        if self._tell is None:
            return
        tell, self._tell = self._tell, None
        _let_go_of_output()
        os.write(tell, str(status).encode())
        os.close(tell)

    def _fail(self, message: str, status: int, hint: str | None = None) -> None:
        if self._tell is not None:
            complain(message, hint)
        self._answer(status)

    # From a Barman that sends one file at a time

    def _fetch_one_by_one(self, first: str) -> int:
        arguments = plain_fetch.transfer_options(self._options, partial=False)

        def fetch(name: str, *, quiet: bool) -> int:
            path = self._temporary(name)
            status = plain_fetch.fetch(self._options, name, path, arguments, quiet=quiet)
            if status == 0:
                self._finish(path, name)
            return status

        status = fetch(first, quiet=False)
        if status != 0:
            return status
        names = [name for name in self._peek(first) if not self._spool.has(name)]
        for name in names:
            self._promise(name)
        _run_all([lambda name=name: fetch(name, quiet=True) for name in names])  # type: ignore[misc]
        return 0

    def _peek(self, first: str) -> Sequence[str]:
        """Return the names of the segments that follow and are there."""
        argv = build_get_argv(self._options, first, ["--peek", quote(str(self._options.parallel))])
        listed = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False
        ).stdout
        return [name for name in listed.decode("ascii", "replace").split() if is_segment_name(name) and name != first]


def _run_all(works: Sequence[Callable[[], object]]) -> None:
    """Run all, each in a thread, and wait for them; what fails will be asked for again."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max(1, len(works))) as pool:
        for future in [pool.submit(work) for work in works]:
            with contextlib.suppress(BarmanError, OSError):
                future.result()


def _collect(pipe: BinaryIO, lines: list[bytes]) -> None:
    lines.extend(re.findall(rb"[^\n]*\n?", pipe.read()))


def _let_go_of_output() -> None:
    """Leave PostgreSQL's log and the terminal behind."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    os.close(null)


def _lock_path(spool: Spool) -> str:
    return os.path.join(spool.directory, _LOCK)


def _try_lock(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
