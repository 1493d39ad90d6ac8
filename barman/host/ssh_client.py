"""Commands and small files on another host by paramiko: one login, no program of ours for each command.

It logs in with a key to a host whose key is known. Everything in which there is more to decide (new and changed host
keys, other ways to prove who one is) is Unfit, and OpenSSH's. To be imported when such a login is opened, not before:
that takes a tenth of a second.
"""

from __future__ import annotations

import contextlib
import fnmatch
import logging
import os
import select
import shlex
import socket
import threading
import time
from typing import TYPE_CHECKING

import paramiko

from barman.errors import CommandError, Unreachable
from barman.host.remote import QUICK_S, Remote
from barman.host.runner import Completed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from barman.host.plain_ssh import Login

_CONNECT_LIMIT_S = 20.0
_LOGIN_LIMIT_S = 60.0
_KEEPALIVE_S = 60
# What was sent and is not acknowledged for so long ends the connection, as OpenSSH's does by its own questions.
_SILENCE_LIMIT_MS = 300_000
_CHUNK = 32768
_STDERR_KEPT = 65536
# Nothing tells that the other side takes more input.
_POLL_S = 0.005
_CLOSE_LIMIT_S = 5.0
# An end that came from outside says nothing of how the program ended.
_NO_STATUS = -1


class Unfit(Exception):
    """This login is not for us: OpenSSH may manage it, and knows what to say if not."""


@contextlib.contextmanager
def log_in(login: Login, name: str, env: Mapping[str, str]) -> Iterator[Remote]:
    """Log in, and yield the host; the login ends with the block, and no thread stays behind.

    name: of the host, for messages. env: the environment, of which the login sends what it is told to. Unfit, before
    anything is yielded, where OpenSSH is to log in; Unreachable if the host does not answer.
    """
    # It logs every failure with a trace; ours say it in one line.
    logging.getLogger("paramiko").propagate = False
    client = paramiko.SSHClient()
    try:
        _know_host(client, login)
        _connect(client, login, name)
        yield _Client(name, client, _variables(login, env))
    finally:
        transport = client.get_transport()
        client.close()
        if transport is not None:
            transport.join(_CLOSE_LIMIT_S)


def _know_host(client: paramiko.SSHClient, login: Login) -> None:
    """Load the keys of the host; Unfit if it is not known, or anything is said that is not understood here."""
    keys = client.get_host_keys()
    for path in login.known_hosts:
        try:
            with open(path, encoding="utf-8") as lines:
                if any(line.lstrip().startswith("@") for line in lines):
                    raise Unfit(f"{path} names authorities or revoked keys")
            keys.load(path)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise Unfit(f"cannot read {path}: {error}") from error
    host = login.host if login.port == 22 else f"[{login.host}]:{login.port}"
    if keys.lookup(host) is None:
        raise Unfit(f"the key of {host} is not known")


def _connect(client: paramiko.SSHClient, login: Login, name: str) -> None:
    identities = [path for path in login.identities if os.path.isfile(path)]
    if any(os.path.exists(f"{path}-cert.pub") for path in identities):
        raise Unfit("there is a certificate")
    began = time.monotonic()
    link = _dial(login, name)
    try:
        client.connect(
            login.host,
            login.port,
            login.user,
            sock=link,
            key_filename=identities,  # type: ignore[arg-type]  # its documentation allows several
            allow_agent=login.agent,
            look_for_keys=False,
            timeout=_LOGIN_LIMIT_S,
            banner_timeout=_CONNECT_LIMIT_S,
            auth_timeout=_LOGIN_LIMIT_S,
        )
    except (paramiko.SSHException, EOFError, OSError, ValueError) as error:
        transport = client.get_transport()
        link.close()
        if transport is None or not transport.remote_version:
            raise Unreachable(f"cannot log in to {name}: it accepts connections but does not answer") from error
        if time.monotonic() - began >= _LOGIN_LIMIT_S:
            raise Unreachable(f"cannot log in to {name}: no login within {_LOGIN_LIMIT_S:g} seconds") from error
        raise Unfit(str(error)) from error
    established = client.get_transport()
    if established is not None:
        established.set_keepalive(_KEEPALIVE_S)


def _dial(login: Login, name: str) -> socket.socket:
    try:
        link = socket.create_connection((login.host, login.port), timeout=login.connect_timeout_s or _CONNECT_LIMIT_S)
    except socket.gaierror as error:
        raise Unreachable(f"cannot log in to {name}: Could not resolve hostname {login.host}") from error
    except OSError as error:
        reason = "timed out" if isinstance(error, TimeoutError) else error.strerror
        raise Unreachable(
            f"cannot log in to {name}: connect to host {login.host} port {login.port}: {reason}"
        ) from error
    # Every command is several small messages: kept back until the one before is acknowledged, they take 40 ms.
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENCE_LIMIT_MS)
    return link


def _variables(login: Login, env: Mapping[str, str]) -> dict[str, str]:
    sent = {key: value for key, value in env.items() if any(fnmatch.fnmatchcase(key, one) for one in login.send)}
    return sent | dict(login.variables)


class _Client(Remote):
    """A host that paramiko is logged in to."""

    def __init__(self, name: str, client: paramiko.SSHClient, variables: Mapping[str, str]) -> None:
        super().__init__(name)
        self._client = client
        self._variables = variables

    def run(
        self,
        argv: Sequence[str],
        *,
        input: bytes = b"",  # noqa: A002
        timeout_s: float | None = QUICK_S,
        check: bool = True,
    ) -> Completed:
        """See Remote.run. Of what the program says on its standard error only the end is kept."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._guard(timeout_s, argv), self._channel(timeout_s) as channel:
            channel.exec_command(shlex.join(argv).encode("utf-8", "surrogateescape"))
            exchange = _Exchange(channel, input)
            if not exchange.pump(deadline):
                raise self._too_late(argv, timeout_s)
            done = Completed(channel.recv_exit_status(), exchange.stdout, exchange.stderr)
        if done.status == _NO_STATUS:
            raise self._cut(argv, None)
        if check:
            self.require_success(done, argv)
        return done

    @contextlib.contextmanager
    def _guard(self, timeout_s: float | None, argv: Sequence[str]) -> Iterator[None]:
        """Turn failures of the connection into ours, and end it when sending does not: it waits without limit."""
        began = time.monotonic()
        late = threading.Timer(timeout_s + 1, self._client.close) if timeout_s is not None else None
        if late is not None:
            late.daemon = True
            late.start()
        try:
            yield
        except (paramiko.SSHException, EOFError, OSError) as error:
            if timeout_s is not None and time.monotonic() - began >= timeout_s:
                raise self._too_late(argv, timeout_s) from error
            raise self._cut(argv, error) from error
        finally:
            if late is not None:
                late.cancel()
                late.join()

    @contextlib.contextmanager
    def _channel(self, timeout_s: float | None) -> Iterator[paramiko.Channel]:
        transport = self._client.get_transport()
        if transport is None:
            raise EOFError
        channel = transport.open_session(timeout=timeout_s)
        try:
            for name, value in self._variables.items():
                channel.set_environment_variable(name, value)
            channel.settimeout(timeout_s)
            yield channel
        finally:
            channel.close()

    def _too_late(self, argv: Sequence[str], timeout_s: float | None) -> CommandError:
        shown = shlex.join([*argv, "on", self.name])
        return CommandError(f"'{shown}' did not end within {timeout_s:g} seconds", argv=argv)

    def _cut(self, argv: Sequence[str], error: Exception | None) -> CommandError:
        reason = str(error) if error is not None and str(error) else "it was closed by the other side"
        return CommandError(f"the connection to {self.name} failed: {reason}", argv=argv)


class _Exchange:
    """What a program reads and writes, moved in turns, so that neither waits for the other."""

    def __init__(self, channel: paramiko.Channel, data: bytes) -> None:
        self._channel = channel
        self._input = memoryview(data)
        self._stdout: list[bytes] = []
        self._stderr = b""
        self._open = {"stdin", "stdout", "stderr"}

    @property
    def stdout(self) -> str:
        return os.fsdecode(b"".join(self._stdout))

    @property
    def stderr(self) -> str:
        return os.fsdecode(self._stderr)

    def pump(self, deadline: float | None) -> bool:
        """Run until the program ends; False if deadline (monotonic) came first."""
        self._channel.setblocking(False)  # noqa: FBT003  a socket's
        while self._open & {"stdout", "stderr"} or not self._channel.exit_status_ready():
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            if not self._move():
                self._wait(left)
        return True

    def _move(self) -> bool:
        """Move what can be moved at once; whether anything was."""
        moved = self._send()
        for name, receive, keep in (
            ("stdout", self._channel.recv, self._stdout.append),
            ("stderr", self._channel.recv_stderr, self._keep_stderr),
        ):
            if name in self._open:
                moved |= self._receive(name, receive, keep)
        return moved

    def _send(self) -> bool:
        if "stdin" not in self._open:
            return False
        try:
            sent = self._channel.send(bytes(self._input[:_CHUNK])) if self._input else 0
        except TimeoutError:
            return False
        except OSError:
            # It ended, or does not want to know: its exit status tells.
            self._input = self._input[:0]
            sent = 0
        self._input = self._input[sent:]
        if not self._input:
            self._open.discard("stdin")
            with contextlib.suppress(OSError):
                self._channel.shutdown_write()
        return True

    def _receive(self, name: str, receive: Callable[[int], bytes], keep: Callable[[bytes], object]) -> bool:
        try:
            data = receive(_CHUNK)
        except TimeoutError:
            return False
        if not data:
            self._open.discard(name)
        keep(data)
        return True

    def _keep_stderr(self, data: bytes) -> None:
        self._stderr = (self._stderr + data)[-_STDERR_KEPT:]

    def _wait(self, left: float | None) -> None:
        if not self._open & {"stdout", "stderr"}:
            self._channel.status_event.wait(left)
            return
        patience = min(_POLL_S, left or _POLL_S) if "stdin" in self._open else left
        select.select([self._channel], [], [], patience)
