"""Running programs as the unprivileged user, waiting for things, and ending what a test left behind."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tests.support.places import run_directory
from tests.support.users import as_user, unprivileged_user

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Result:
    """How a program ended. status: exit status, negative for a signal."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def text(self) -> str:
        """Everything it said."""
        return self.stdout + self.stderr

    def json(self) -> Any:
        """Parse standard output as JSON."""
        return json.loads(self.stdout)

    def __str__(self) -> str:
        """The call and all it said, for a failed assertion."""
        said = f"--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"
        return f"$ {shlex.join(self.argv)}\nexit status {self.status}\n{said}"


class ProgramFailed(AssertionError):
    """A program that had to succeed did not."""


def environment(scratch: Path | None = None, **extra: str) -> dict[str, str]:
    """A small, known environment for programs under test; scratch marks the process as that directory's."""
    user = unprivileged_user()
    made = {
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": str(scratch or run_directory()),
        "USER": user.pw_name,
        "LOGNAME": user.pw_name,
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "BARMAN_TEST_OWNER": str(scratch or run_directory()),
    }
    return made | extra


_PEAK = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | bytes = b"",
    timeout_s: float = 120,
    check: bool = False,
) -> Result:
    """Run argv as the unprivileged user and return how it ended; check=True raises ProgramFailed unless status 0.

    After timeout_s its whole process group is killed and ProgramFailed raised.
    """
    words = tuple(str(word) for word in argv)
    began = time.monotonic()
    with start(words, env=env, cwd=cwd) as process:
        try:
            out, err = process.communicate(stdin.encode() if isinstance(stdin, str) else stdin, timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            result = Result(words, -signal.SIGKILL, _text(out), _text(err), timeout_s)
            raise ProgramFailed(f"no end after {timeout_s} s: {result}") from None
    result = Result(words, process.returncode, _text(out), _text(err), time.monotonic() - began)
    if check and result.status:
        raise ProgramFailed(str(result))
    return result


def run_for_peak(argv: Sequence[str | Path], *, env: Mapping[str, str], check: bool = True) -> tuple[Result, int]:
    """Run argv as run does; return how it ended, and the most memory it, or what it started, had at a time, in KiB."""
    result = run([sys.executable, "-c", _PEAK, *argv], env=env, check=check)
    return result, int(result.stdout.splitlines()[-1])


def start(
    argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start argv as the unprivileged user in a session of its own, with pipes, and return the running process."""
    return subprocess.Popen(
        [str(word) for word in argv],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(env or environment()),
        cwd=cwd or "/",
        start_new_session=True,
        umask=0o022,
        **as_user(),
    )


def wait_until(condition: Callable[[], T], what: str, *, timeout_s: float = 30, step_s: float = 0.05) -> T:
    """Call condition until it returns something true, and return that; AssertionError naming what after timeout_s."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s} s in vain for: {what}")
        time.sleep(step_s)


def processes_of(directory: Path) -> dict[int, str]:
    """Live processes that belong to a scratch directory, by pid, with their command lines.

    One belongs when its environment says so or when its command line names the directory.
    """
    found = {}
    owner = f"BARMAN_TEST_OWNER={directory}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            named = any(str(directory).encode() in word for word in words)
            if named or owner in (entry / "environ").read_bytes().split(b"\0"):
                found[int(entry.name)] = b" ".join(words).decode(errors="replace").strip()
    return {pid: words for pid, words in found.items() if is_alive(pid)}


def is_alive(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def children_of(pid: int) -> list[int]:
    """All descendants of a process."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found, ahead = [], [pid]
    while ahead:
        parent = ahead.pop()
        young = [child for child, its_parent in parents.items() if its_parent == parent]
        found += young
        ahead += young
    return found


def end_processes_of(directory: Path) -> dict[int, str]:
    """Kill what still belongs to a scratch directory, until nothing does; return what was found first."""
    first = processes_of(directory)
    left = first
    deadline = time.monotonic() + 20
    while left:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise AssertionError(f"processes that cannot be killed: {left}")
        time.sleep(0.02)
        left = processes_of(directory)
    return first


def _text(data: bytes) -> str:
    return data.decode(errors="surrogateescape")
