"""Running other programs: one way to start, watch, limit and end them."""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, NamedTuple, cast

from barman.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import IO, BinaryIO

_TAIL_LINES = 20
_CHUNK = 65536
_STOP_GRACE_S = 5.0
_TICK_S = 1.0
# Who died before the kernel was told to send the signal is not the parent any more.
_IF_WE_LIVE = '[ "$PPID" = "$0" ] && exec "$@"'


class Completed(NamedTuple):
    """How a program ended. status: exit status, negative for a signal. Output: decoded as file names are.

    With on_line only the last lines of both are kept.
    """

    status: int
    stdout: str
    stderr: str


def run(  # noqa: PLR0913  the one place where programs are started; all but argv by keyword
    argv: Sequence[str],
    *,
    timeout_s: float | None,
    env: Mapping[str, str] | None = None,
    input: bytes | None = None,  # noqa: A002  subprocess calls it so
    stdin: BinaryIO | None = None,
    stdout: BinaryIO | None = None,
    cwd: str | os.PathLike[str] | None = None,
    check: bool = True,
    on_line: Callable[[str], None] | None = None,
    on_tick: Callable[[], None] | None = None,
    die_with_parent: bool = True,
    stop_signal: int = signal.SIGTERM,
    shown: Sequence[str] | None = None,
    pass_fds: Sequence[int] = (),
) -> Completed:
    """Run a program to its end and return how it ended.

    It runs in its own session, so a Ctrl-C reaches us alone: on any exception here, and at the time limit, its whole
    group gets stop_signal and after five seconds SIGKILL. So does what is left of the group when the program is killed
    itself, of which its children know nothing; what a program that ends well leaves behind may hold its output, and we
    wait for that. die_with_parent: it gets stop_signal too when we are killed (Linux). timeout_s: None is no limit.
    input: bytes for its standard input; or stdin, a file; otherwise it reads nothing. stdout: a file that takes its
    output; otherwise output is captured. on_line: called with every line of both outputs as it comes, without its end.
    on_tick: called about once a second; like on_line it may raise to end the program. shown: argv with secrets masked,
    for messages. pass_fds: descriptors it gets under the same numbers.

    Raises CommandError when it cannot be started, takes too long, or, if check, ends with anything but 0.
    """
    call = _Call(list(argv), tuple(shown or argv), env, input, stdin, stdout, cwd, on_line, on_tick, pass_fds)
    return _run(
        call,
        timeout_s=timeout_s,
        check=check,
        death_signal=stop_signal if die_with_parent else None,
        stop_signal=stop_signal,
    )


def run_shell(
    text: str,
    *,
    timeout_s: float | None,
    env: Mapping[str, str] | None = None,
    stdin: BinaryIO | None = None,
    stdout: BinaryIO | None = None,
    check: bool = True,
    on_line: Callable[[str], None] | None = None,
    on_tick: Callable[[], None] | None = None,
) -> Completed:
    """Run what is shell text by contract (hook scripts, custom filters, user commands); otherwise as run."""
    call = _Call(text, (text,), env, None, stdin, stdout, None, on_line, on_tick)
    return _run(call, timeout_s=timeout_s, check=check, death_signal=signal.SIGTERM, stop_signal=signal.SIGTERM)


def start(argv: Sequence[str], *, env: Mapping[str, str], stderr: BinaryIO) -> subprocess.Popen[bytes]:
    """Start a program that runs beside us, and ends with us; ending it before is the caller's.

    It reads nothing, and its output goes nowhere but to stderr, a file. CommandError if it cannot be started.
    """
    try:
        return subprocess.Popen(
            _dying_with_us(argv, env, signal.SIGTERM),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env=dict(env),
            start_new_session=True,
        )
    except OSError as error:
        raise _not_started(argv, error) from error


def spawn_detached(argv: Sequence[str], *, env: Mapping[str, str] | None = None, keep_descriptors: bool = False) -> int:
    """Start a program that outlives us, in its own session, and return its pid.

    Its standard input is empty; its output goes nowhere, or with keep_descriptors where ours goes. CommandError if it
    cannot be started.
    """
    actions: list[tuple[int, int, str, int, int]] = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
    if not keep_descriptors:
        actions += [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)]
    try:
        return os.posix_spawnp(
            argv[0], list(argv), dict(os.environ if env is None else env), file_actions=actions, setsid=True
        )
    except OSError as error:
        raise _not_started(argv, error) from error


def which(program: str, path_prefix: str | None = None) -> str | None:
    """Return the path of program, looked for in path_prefix (directories joined by ":") and then in PATH."""
    return shutil.which(program, path=_search_path(path_prefix))


def environment(path_prefix: str | None = None, **extra: str) -> dict[str, str]:
    """Return our environment for a program: path_prefix put before PATH, extra added."""
    return {**os.environ, "PATH": _search_path(path_prefix), **extra}


def _search_path(path_prefix: str | None) -> str:
    path = os.environ.get("PATH", os.defpath)
    return f"{path_prefix}:{path}" if path_prefix else path


class _Call(NamedTuple):
    """What to start, and what it is connected to. command: a list, or shell text; shown: what messages may say."""

    command: list[str] | str
    shown: tuple[str, ...]
    env: Mapping[str, str] | None
    input: bytes | None
    stdin: BinaryIO | None
    stdout: BinaryIO | None
    cwd: str | os.PathLike[str] | None
    on_line: Callable[[str], None] | None
    on_tick: Callable[[], None] | None
    pass_fds: Sequence[int] = ()

    @property
    def name(self) -> str:
        return self.command if isinstance(self.command, str) else shlex.join(self.shown)


def _run(call: _Call, *, timeout_s: float | None, check: bool, death_signal: int | None, stop_signal: int) -> Completed:
    argv = ["/bin/sh", "-c", call.command] if isinstance(call.command, str) else call.command
    try:
        process = subprocess.Popen(
            argv if death_signal is None else _dying_with_us(argv, call.env, death_signal),
            stdin=subprocess.PIPE if call.input is not None else call.stdin or subprocess.DEVNULL,
            stdout=call.stdout or subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=None if call.env is None else dict(call.env),
            cwd=call.cwd,
            start_new_session=True,
            pass_fds=call.pass_fds,
        )
    except OSError as error:
        raise _not_started(call.shown, error) from error
    with process, _ending(process, stop_signal):
        output = _Output(process, call, stop_signal)
        if not output.pump(None if timeout_s is None else time.monotonic() + timeout_s):
            raise CommandError(
                f"'{call.name}' did not end within {timeout_s:g} seconds",
                argv=call.shown,
                stderr=output.text(process.stderr),
            )
    completed = Completed(process.returncode, output.text(process.stdout), output.text(process.stderr))
    if check and completed.status != 0:
        raise _failed(call, completed)
    return completed


class _Output:
    """Moves what a process reads and writes, line by line where somebody listens."""

    def __init__(self, process: subprocess.Popen[bytes], call: _Call, stop_signal: int) -> None:
        self._process = process
        self._for_orphans = itertools.chain(
            [stop_signal] * int(_STOP_GRACE_S // _TICK_S), itertools.repeat(signal.SIGKILL)
        )
        self._input = memoryview(call.input or b"")
        self._on_line = call.on_line
        self._on_tick = call.on_tick
        self._tick_at = time.monotonic() + _TICK_S
        self._kept: dict[object, list[bytes]] = {}
        self._selector = selectors.DefaultSelector()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                self._kept[stream] = [b""]
                self._register(stream, selectors.EVENT_READ)
        if process.stdin is not None:
            self._register(process.stdin, selectors.EVENT_WRITE)

    def pump(self, deadline: float | None) -> bool:
        """Run until the process ends; False if deadline (monotonic) came first."""
        with self._selector:
            while self._selector.get_map():
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return False
                for key, _ in self._selector.select(_TICK_S if left is None else min(left, _TICK_S)):
                    self._move(cast("IO[bytes]", key.fileobj))
                self._tick()
        try:
            self._process.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return False
        return True

    def text(self, stream: IO[bytes] | None) -> str:
        """Return what was kept of stream."""
        return os.fsdecode(b"".join(self._kept.get(stream, ())))

    def _tick(self) -> None:
        if time.monotonic() < self._tick_at:
            return
        if (self._process.poll() or 0) < 0:
            _signal_group(self._process, next(self._for_orphans))
        if self._on_tick is not None:
            self._on_tick()
        self._tick_at = time.monotonic() + _TICK_S

    def _register(self, stream: IO[bytes], event: int) -> None:
        os.set_blocking(stream.fileno(), False)
        self._selector.register(stream, event)

    def _move(self, stream: IO[bytes]) -> None:
        if stream is self._process.stdin:
            self._write(stream)
            return
        data = os.read(stream.fileno(), _CHUNK)
        if not data:
            self._close(stream)
        self._keep(stream, data)

    def _write(self, stream: IO[bytes]) -> None:
        try:
            self._input = self._input[os.write(stream.fileno(), self._input[:_CHUNK]) :]
        except BrokenPipeError:
            # It ended, or does not want to know: its exit status tells.
            self._input = self._input[:0]
        if not self._input:
            self._close(stream)

    def _close(self, stream: IO[bytes]) -> None:
        self._selector.unregister(stream)
        stream.close()

    def _keep(self, stream: IO[bytes], data: bytes) -> None:
        kept = self._kept[stream]
        if self._on_line is None:
            kept.append(data)
            return
        lines = (kept.pop() + data).splitlines(keepends=True)
        unfinished = lines.pop() if lines and data and not lines[-1].endswith((b"\n", b"\r")) else b""
        for line in lines:
            self._on_line(os.fsdecode(line.rstrip(b"\r\n")))
        kept.extend(lines)
        del kept[:-_TAIL_LINES]
        kept.append(unfinished)


@contextlib.contextmanager
def _ending(process: subprocess.Popen[bytes], stop_signal: int) -> Iterator[None]:
    """End the process with all its group when the block is left by an exception."""
    try:
        yield
    except BaseException:
        _signal_group(process, stop_signal)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_GRACE_S)
        # Also when it has ended: its children may live on.
        _signal_group(process, signal.SIGKILL)
        raise


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


@functools.cache
def _setpriv() -> str | None:
    return shutil.which("setpriv") if sys.platform.startswith("linux") else None


def _dying_with_us(argv: Sequence[str], env: Mapping[str, str] | None, number: int) -> list[str]:
    """Return argv in the care of setpriv, which has the kernel send it signal number when we die.

    If we died before that, it does not begin. Not done by a function between fork and exec: that is unsafe once there
    are threads. Where there is no setpriv (not Linux), argv as it is. FileNotFoundError if its program is not there,
    which setpriv would tell too late.
    """
    setpriv = _setpriv()
    if setpriv is None:
        return list(argv)
    if shutil.which(argv[0], path=(os.environ if env is None else env).get("PATH", os.defpath)) is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), argv[0])
    word = signal.Signals(number).name.removeprefix("SIG")
    return [setpriv, "--pdeathsig", word, "--", "/bin/sh", "-c", _IF_WE_LIVE, str(os.getpid()), *argv]


def _not_started(shown: Sequence[str], error: OSError) -> CommandError:
    return CommandError(f"cannot run '{shown[0]}': {error.strerror}", argv=shown)


def _failed(call: _Call, completed: Completed) -> CommandError:
    lines = completed.stderr.strip().splitlines()[-_TAIL_LINES:]
    how = f"ended with exit status {completed.status}"
    if completed.status < 0:
        how = f"was ended by signal {-completed.status}"
    reason = f": {lines[-1].strip()}" if lines else ""
    return CommandError(
        f"'{call.name}' {how}{reason}", argv=call.shown, status=completed.status, stderr="\n".join(lines)
    )
