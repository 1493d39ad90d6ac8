"""Reaching another host by the ssh command of the configuration, with one login for many programs."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shlex
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from barman.errors import CommandError, ConfigError, Unreachable
from barman.host import runner

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# Options that take a value, in the same word or the next. Source: ssh(1).
_WITH_VALUE = frozenset("BbcDEeFIiJLlmOopQRSWw")
# A question on the terminal would never be answered.
_UNATTENDED = ("-o", "BatchMode=yes")
# A host that is new was put into the configuration on purpose; what is not OpenSSH may know only the older word.
_TRUSTING = ("-o", "StrictHostKeyChecking=accept-new")
_TRUSTING_OTHERS = ("-o", "StrictHostKeyChecking=no")
# With AES in hardware it moves a third more than what OpenSSH prefers, and is as good.
_FAST_CIPHER = "aes128-gcm@openssh.com"
# A host that is frozen, or a network that is cut, ends the connection after five minutes.
_WATCHFUL = ("-o", "ServerAliveInterval=60", "-o", "ServerAliveCountMax=5")
# A network that drops what is sent to it would keep us for two minutes, and with us cron.
_CONNECT_LIMIT_S = 20
_LOGIN_LIMIT_S = 60.0
_ASKING_LIMIT_S = 10.0
_POLL_S = 0.02
_STOP_GRACE_S = 5.0


@dataclass(frozen=True, slots=True)
class RemoteShell:
    """A way to run programs on another host. argv: the command of the configuration as words, user and host in it."""

    argv: tuple[str, ...]

    @property
    def is_openssh(self) -> bool:
        """Whether it is called like OpenSSH's client, and so knows its options; a script of any other name may not."""
        return os.path.basename(self.argv[0]) == "ssh"

    @property
    def name(self) -> str:
        """What messages call the other end: its host, with the user if there is one; a script's last word."""
        words = iter(self.argv[1:] if self.is_openssh else ())
        for word in words:
            if not word.startswith("-"):
                return word
            valued = next((place for place, letter in enumerate(word) if letter in _WITH_VALUE), None)
            if valued == len(word) - 1:
                next(words, None)
        return self.argv[-1]

    def words(self, *extra: str) -> list[str]:
        """Return the command to put a remote command behind; never asks anything on a terminal."""
        if not self.is_openssh:
            return [*self.argv, *_UNATTENDED, *_TRUSTING_OTHERS, *extra]
        return [*self.argv, *_UNATTENDED, *_unsettled(self.argv), *_WATCHFUL, *extra]

    def text(self, *extra: str) -> str:
        """Return words as one text, which rsync takes apart again."""
        return shlex.join(self.words(*extra))

    def run(self, command: str, *, timeout_s: float, env: Mapping[str, str]) -> runner.Completed:
        """Run a command of the remote user's shell, and return how it ended; CommandError if it takes too long."""
        return runner.run([*self.words(), command], timeout_s=timeout_s, env=env, check=False)


def parse_ssh_command(text: str) -> RemoteShell:
    """Return the configured command, split as a shell would; ConfigError if that cannot be done."""
    try:
        argv = tuple(shlex.split(text))
    except ValueError as error:
        raise ConfigError(f"ssh_command cannot be split into words ({error}): {text}") from error
    if not argv:
        raise ConfigError("ssh_command is empty")
    return RemoteShell(argv)


@functools.cache
def _unsettled(argv: tuple[str, ...]) -> tuple[str, ...]:
    """Return options for what the user left open, on the command line and in ssh's configuration.

    A new host is trusted (a changed key never is), a host that does not answer is given up, and the cipher is one this
    processor is fast with.
    """
    chosen, default = ask_configuration(argv), ask_configuration((argv[0], "-F", "none", "localhost"))
    if not chosen:
        # An ssh too old to tell.
        return _TRUSTING_OTHERS
    options: tuple[str, ...] = _TRUSTING if chosen.get("stricthostkeychecking") == "ask" else ()
    if chosen.get("connecttimeout") == "none":
        options += ("-o", f"ConnectTimeout={_CONNECT_LIMIT_S}")
    ciphers = chosen.get("ciphers", "").split(",")
    if chosen.get("ciphers") == default.get("ciphers") and _FAST_CIPHER in ciphers and _has_aes():
        options += ("-o", f"Ciphers={','.join(sorted(ciphers, key=lambda cipher: cipher != _FAST_CIPHER))}")
    return options


@functools.cache
def ask_configuration(argv: tuple[str, ...]) -> Mapping[str, str]:
    """Return what ssh would go by, each option's name in lower case; {} if it does not tell. Source: ssh(1), -G.

    What is said of an option more than once is joined by newlines.
    """
    found: dict[str, str] = {}
    with contextlib.suppress(CommandError):
        for line in runner.run([*argv, "-G"], timeout_s=_ASKING_LIMIT_S).stdout.splitlines():
            name, space, value = line.partition(" ")
            if space:
                found[name] = f"{found[name]}\n{value}" if name in found else value
    return found


@functools.cache
def _has_aes() -> bool:
    """Whether the processor encrypts AES by itself. Source: Linux, /proc/cpuinfo."""
    try:
        return (
            re.search(r"^(?:flags|Features)\s*:.*\baes\b", Path("/proc/cpuinfo").read_text(), re.MULTILINE) is not None
        )
    except OSError:
        return False


@contextlib.contextmanager
def open_sessions(
    shell: RemoteShell, count: int, *, env: Mapping[str, str], batch: int, period_s: float
) -> Iterator[Sequence[str]]:
    """Log in count times, and yield one command line for each login, which rsync takes as its remote shell.

    Programs started by it share that login: no handshake each. What is not OpenSSH logs in for every program by itself.
    Not more than batch logins are begun within period_s seconds: an sshd turns away those who come in crowds. All of
    them end with the block, or with us, and with them what they run. Unreachable if a login fails.
    """
    if not shell.is_openssh:
        yield [shell.text()] * count
        return
    # Short, because the path of a socket may have a hundred characters; and nobody else's business.
    with tempfile.TemporaryDirectory(prefix="barman-ssh-") as directory, contextlib.ExitStack() as logins:
        paths = [os.path.join(directory, str(number)) for number in range(count)]
        started: list[subprocess.Popen[bytes]] = []
        for number, path in enumerate(paths):
            if number and number % batch == 0:
                time.sleep(period_s)
            started.append(logins.enter_context(_login(shell, path, env)))
        deadline = time.monotonic() + _LOGIN_LIMIT_S
        for process, path in zip(started, paths, strict=True):
            _await_login(shell, process, path, deadline)
        yield [shell.text("-o", "ControlMaster=no", "-o", f"ControlPath={path}") for path in paths]


@contextlib.contextmanager
def _login(shell: RemoteShell, path: str, env: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    master = ("-o", "ControlMaster=yes", "-o", f"ControlPath={path}", "-o", "ControlPersist=no", "-N")
    with tempfile.TemporaryFile() as said:
        process = runner.start(shell.words(*master), env=env, stderr=said)
        try:
            yield process
        except CommandError as error:
            said.seek(0)
            text = os.fsdecode(said.read()).strip()
            raise error if not text or process.poll() is None else _not_in(shell, text) from error
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_GRACE_S)
            process.kill()
            process.wait()


def _await_login(shell: RemoteShell, process: subprocess.Popen[bytes], path: str, deadline: float) -> None:
    while not os.path.exists(path):
        if process.poll() is not None:
            raise _not_in(shell, f"ssh ended with exit status {process.returncode}")
        if time.monotonic() > deadline:
            raise _not_in(shell, f"no login within {_LOGIN_LIMIT_S:g} seconds")
        time.sleep(_POLL_S)


def _not_in(shell: RemoteShell, text: str) -> Unreachable:
    # The last line says why; before it come banners and notes about host keys.
    return Unreachable(f"cannot log in to {shell.name}: {text.splitlines()[-1].strip()}", argv=shell.argv)
