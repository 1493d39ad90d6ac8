"""Reaching another host by the ssh command of the configuration, with one login for many programs."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import shlex
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from barman.errors import CommandError, ConfigError, Unreachable
from barman.host import runner
from barman.host.scratch import scratch_directory
from barman.host.ssh_cipher import cipher_options, parse_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from types import TracebackType

    from typing_extensions import Self

# Options that take a value, in the same word or the next. Source: ssh(1).
_WITH_VALUE = frozenset("BbcDEeFIiJLlmOopQRSWw")
# A question on the terminal would never be answered.
_UNATTENDED = ("-o", "BatchMode=yes")
# A host that is new was put into the configuration on purpose; what is not OpenSSH may know only the older word.
_TRUSTING = ("-o", "StrictHostKeyChecking=accept-new")
_TRUSTING_OTHERS = ("-o", "StrictHostKeyChecking=no")
# A host that is frozen, or a network that is cut, ends the connection after five minutes.
_WATCHFUL = ("-o", "ServerAliveInterval=60", "-o", "ServerAliveCountMax=5")
# A network that drops what is sent to it would keep us for two minutes, and with us cron.
_CONNECT_LIMIT_S = 20
_LOGIN_LIMIT_S = 60.0
_ASKING_LIMIT_S = 10.0
_MOST_AT_ONCE = 10
_PERIOD_S = 1.0
_POLL_S = 0.01
_STOP_GRACE_S = 5.0


@dataclass(frozen=True, slots=True)
class RemoteShell:
    """A way to run programs on another host.

    argv: the command of the configuration as words, user and host in it. prefix: words that follow there, for the other
    side to put before every command, as in `ssh backup1 sudo -u barman`.
    """

    argv: tuple[str, ...]
    prefix: tuple[str, ...] = ()

    @property
    def is_openssh(self) -> bool:
        """Whether it is called like OpenSSH's client, and so knows its options; a script of any other name may not."""
        return os.path.basename(self.argv[0]) == "ssh"

    @property
    def name(self) -> str:
        """What messages call the other end: its host, with the user if there is one; a script's last word."""
        places = _operands(self.argv) if self.is_openssh else []
        return self.argv[places[0] if places else -1]

    def words(self, *extra: str) -> list[str]:
        """Return the command to put a remote command behind; never asks anything on a terminal."""
        if not self.is_openssh:
            return [*self.argv, *_UNATTENDED, *_TRUSTING_OTHERS, *extra]
        return [*self.argv, *_UNATTENDED, *_unsettled(self.argv), *_WATCHFUL, *extra, *self.prefix]

    def text(self, *extra: str) -> str:
        """Return words as one text, which rsync takes apart again."""
        return shlex.join(self.words(*extra))

    def run(self, command: str, *, timeout_s: float, env: Mapping[str, str]) -> runner.Completed:
        """Run a command of the remote user's shell, and return how it ended; CommandError if it takes too long."""
        return runner.run([*self.words(), self.shielded(command)], timeout_s=timeout_s, env=env, check=False)

    def shielded(self, command: str) -> str:
        """Return a shell command as one that words of ours may be put before, if there are any."""
        return shlex.join(("sh", "-c", command)) if self.prefix else command


def parse_ssh_command(text: str) -> RemoteShell:
    """Return the configured command, split as a shell would; ConfigError if that cannot be done."""
    try:
        argv = tuple(shlex.split(text))
    except ValueError as error:
        raise ConfigError(f"ssh_command cannot be split into words ({error}): {text}") from error
    if not argv:
        raise ConfigError("ssh_command is empty")
    shell = RemoteShell(argv)
    if not shell.is_openssh:
        return shell
    [begin] = _operands(argv)[1:2] or [len(argv)]
    return RemoteShell(argv[:begin], argv[begin:])


def _operands(argv: Sequence[str]) -> list[int]:
    """Return where the words are that are no options of ssh, nor values of such: the host, then a command."""
    found = []
    words = iter(enumerate(argv[1:], 1))
    for place, word in words:
        if not word.startswith("-"):
            found.append(place)
            continue
        valued = next((at for at, letter in enumerate(word) if letter in _WITH_VALUE), None)
        if valued == len(word) - 1:
            next(words, None)
    return found


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
    return options + cipher_options(chosen, default)


@functools.cache
def ask_configuration(argv: tuple[str, ...]) -> Mapping[str, str]:
    """Return what ssh would go by, each option's name in lower case; {} if it does not tell. Source: ssh(1), -G.

    What is said of an option more than once is joined by newlines.
    """
    with contextlib.suppress(CommandError):
        return parse_settings(runner.run([*argv, "-G"], timeout_s=_ASKING_LIMIT_S).stdout)
    return {}


class Logins:
    """Logins on one host, begun before they are needed; programs started over them need no handshake of their own.

    What is not OpenSSH logs in for every program by itself. Nothing happens before begin or lanes is called. For one
    thread at a time; a context manager, with which they end, and what they run; or they end with us.
    """

    def __init__(
        self, shell: RemoteShell, *, env: Mapping[str, str], batch: int = _MOST_AT_ONCE, period_s: float = _PERIOD_S
    ) -> None:
        """env: for ssh. Not more than batch logins are begun in period_s seconds: an sshd turns crowds away."""
        self.shell = shell
        self._env = env
        self._batch = batch
        self._period_s = period_s
        self._begun: list[Future[_Login]] = []
        self._number = itertools.count()
        self._closing = threading.Event()
        self._held = contextlib.ExitStack()
        # A single thread, which lives as long as the logins: a program that is to end with us ends with the thread that
        # started it. Source: Linux, prctl(2), PR_SET_PDEATHSIG.
        self._pool = ThreadPoolExecutor(max_workers=1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def begin(self, count: int = 1) -> None:
        """See to it that so many logins are under way, or made; wait for nothing."""
        if not self.shell.is_openssh:
            return
        for number in range(count):
            if number == len(self._begun):
                self._begun.append(self._pool.submit(self._log_in))
            elif _is_lost(self._begun[number]):
                _end([self._begun[number]])
                self._begun[number] = self._pool.submit(self._log_in)

    def lanes(self, count: int = 1, *, limit_s: float = _LOGIN_LIMIT_S) -> Sequence[str]:
        """Return one command line for each of count logins, which rsync takes as its remote shell.

        Unreachable if a login fails, or is not made within limit_s seconds; the next call tries again, as it does with
        one that was lost.
        """
        if not self.shell.is_openssh:
            return [self.shell.text()] * count
        self.begin(count)
        return [future.result().lane(limit_s) for future in self._begun[:count]]

    def run(self, command: str, *, timeout_s: float) -> runner.Completed:
        """Run a command of the remote user's shell over the first login, and return how it ended; as lanes."""
        [lane] = self.lanes(limit_s=timeout_s)
        return runner.run(
            [*shlex.split(lane), self.shell.shielded(command)], timeout_s=timeout_s, env=self._env, check=False
        )

    def close(self) -> None:
        """End all logins; once is enough, and more does no harm."""
        self._closing.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        _end(self._begun)
        self._begun.clear()
        self._held.close()

    def _log_in(self) -> _Login:
        number = next(self._number)
        if number == 0:
            # Short, because the path of a socket may have a hundred characters; and nobody else's business.
            self._directory = self._held.enter_context(scratch_directory("barman-ssh-"))
        elif number % self._batch == 0:
            self._closing.wait(self._period_s)
        return _Login(self.shell, os.path.join(self._directory, str(number)), self._env)


class _Login:
    """One connection that others share. Source: ssh_config(5), ControlMaster."""

    def __init__(self, shell: RemoteShell, path: str, env: Mapping[str, str]) -> None:
        """path: of the socket by which it is shared. CommandError if there is no ssh."""
        self._shell = shell
        self._path = path
        self._was_asked = False
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  end closes it
        master = ("-o", "ControlMaster=yes", "-o", f"ControlPath={path}", "-o", "ControlPersist=no", "-N")
        try:
            self._process = runner.start(shell.words(*master), env=env, stderr=self._said)
        except BaseException:
            self._said.close()
            raise

    @property
    def has_ended(self) -> bool:
        """Whether it failed, or was lost."""
        return self._process.poll() is not None

    @property
    def is_used_up(self) -> bool:
        """Whether it has ended, and somebody has been told, or was logged in before."""
        return self._was_asked and self.has_ended

    def lane(self, limit_s: float) -> str:
        """Wait until one is logged in, and return the command line that shares it; Unreachable."""
        self._was_asked = True
        deadline = time.monotonic() + limit_s
        while not os.path.exists(self._path):
            if self.has_ended:
                raise self._failed(f"ssh ended with exit status {self._process.returncode}")
            if time.monotonic() > deadline:
                raise self._failed(f"no login within {limit_s:g} seconds")
            time.sleep(_POLL_S)
        return self._shell.text("-o", "ControlMaster=no", "-o", f"ControlPath={self._path}")

    def ask_to_end(self) -> None:
        """Have it end, with what it runs."""
        self._process.terminate()

    def end(self) -> None:
        """Wait until it has ended, but not for long."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_GRACE_S)
        self._process.kill()
        self._process.wait()
        self._said.close()

    def _failed(self, otherwise: str) -> Unreachable:
        self._said.seek(0)
        said = os.fsdecode(self._said.read()) if self.has_ended else ""
        # The host is named already, and so is ssh.
        reason = (_last_reason(said) or otherwise).removeprefix(f"{self._shell.name}: ").removeprefix("ssh: ")
        return Unreachable(
            f"cannot log in to {self._shell.name}: {reason}",
            argv=self._shell.argv,
            hint="Try it by hand, as the user barman runs as: "
            + shlex.join((*self._shell.argv, *self._shell.prefix, "true")),
        )


def _last_reason(said: str) -> str | None:
    """Return the line that says why ssh ended, if there is any."""
    words, usage, _ = said.partition("usage: ssh")
    # The last line says why; before it come banners and notes about host keys.
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    if lines:
        return lines[-1]
    return "ssh does not understand the command" if usage else None


def _is_lost(begun: Future[_Login]) -> bool:
    return begun.done() and (begun.exception() is not None or begun.result().is_used_up)


def _end(begun: Sequence[Future[_Login]]) -> None:
    logins = [future.result() for future in begun if not future.cancelled() and not future.exception()]
    for login in logins:
        login.ask_to_end()
    for login in logins:
        login.end()


@contextlib.contextmanager
def open_sessions(
    shell: RemoteShell, count: int, *, env: Mapping[str, str], batch: int, period_s: float
) -> Iterator[Sequence[str]]:
    """Log in count times, and yield one command line for each login; they end with the block. See Logins."""
    with Logins(shell, env=env, batch=batch, period_s=period_s) as logins:
        yield logins.lanes(count)
