"""One login on another host, for all the programs and files of one operation.

Where rsync is needed it is OpenSSH's own connection, shared: what the user set up (jump hosts, certificates, agents,
hardware keys) counts, and rsync goes over the same login. An ssh command that is not OpenSSH's logs in for every
program. For commands alone it is paramiko's, wherever that comes to the same.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pwd
import shlex
import shutil
import warnings
from typing import TYPE_CHECKING

from barman.errors import CommandError
from barman.host import runner
from barman.host.plain_ssh import find_obstacle, plan_login
from barman.host.remote import QUICK_S, Remote, last_line
from barman.host.ssh import ask_configuration, open_sessions, parse_ssh_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import BinaryIO

    from barman.host.ssh import RemoteShell

# What a shell and ssh say of a program that is not there, and of a connection that is not.
NOT_FOUND = 127
CONNECTION_FAILED = 255

_log = logging.getLogger(__name__)


class Session(Remote):
    """A host OpenSSH is logged in to. lanes: command lines for rsync's --rsh, one for each login."""

    def __init__(self, name: str, lanes: Sequence[str], env: Mapping[str, str]) -> None:
        """env: for the ssh program here; the other side has its own."""
        super().__init__(name)
        self.lanes = tuple(lanes)
        self._env = dict(env)

    def run(
        self,
        argv: Sequence[str],
        *,
        input: bytes = b"",  # noqa: A002  as runner.run calls it
        stdin: BinaryIO | None = None,
        timeout_s: float | None = QUICK_S,
        check: bool = True,
        lane: str | None = None,
        on_line: Callable[[str], None] | None = None,
        on_tick: Callable[[], None] | None = None,
    ) -> runner.Completed:
        """See Remote.run. stdin: a file, instead of input. lane: the login to use; None: the first.

        on_line, on_tick: as of runner.run.
        """
        done = runner.run(
            [*shlex.split(lane or self.lanes[0]), shlex.join(argv)],
            timeout_s=timeout_s,
            env=self._env,
            input=None if stdin is not None else input,
            stdin=stdin,
            check=False,
            on_line=on_line,
            on_tick=on_tick,
            shown=(*argv, "on", self.name),
        )
        if done.status == CONNECTION_FAILED:
            raise CommandError(
                f"the connection to {self.name} failed: {last_line(done)}", argv=argv, status=done.status
            )
        if check:
            self.require_success(done, argv)
        return done


@contextlib.contextmanager
def open_session(
    ssh_command: str, *, env: Mapping[str, str], logins: int = 1, batch: int = 10, period_s: float = 1.0
) -> Iterator[Session]:
    """Log in, and yield the session; it ends with the block, and with it what it runs.

    logins: how many, for as many transfers at a time; not more than batch are begun within period_s seconds.
    ConfigError if the command cannot be split into words, CommandError naming the host and the reason if the login
    fails, or if there is no such program.
    """
    shell = parse_ssh_command(ssh_command)
    if shutil.which(shell.argv[0], path=env.get("PATH", os.defpath)) is None:
        raise CommandError(
            f"cannot log in to {shell.name}: there is no program {shell.argv[0]!r} here", argv=shell.argv
        )
    with open_sessions(shell, logins, env=env, batch=batch, period_s=period_s) as lanes:
        yield Session(shell.name, lanes, env)


@contextlib.contextmanager
def open_remote(ssh_command: str, *, env: Mapping[str, str]) -> Iterator[Remote]:
    """Log in for commands and small files alone, and yield the host; the login ends with the block.

    By paramiko, if the login is a plain one on a host that is known; otherwise, or if paramiko is not let in, by
    OpenSSH, as open_session does. It pays from several commands on. Errors: as of open_session.
    """
    shell = parse_ssh_command(ssh_command)
    obstacle = _find_obstacle(shell, env)
    remote: Remote
    with contextlib.ExitStack() as stack:
        if obstacle is None:
            with warnings.catch_warnings():
                # Of old ciphers, when it is loaded; nobody who runs this can do anything about it.
                warnings.simplefilter("ignore")
                from barman.host import ssh_client
            login = plan_login(ask_configuration(shell.argv), pwd.getpwuid(os.getuid()).pw_dir)
            try:
                remote = stack.enter_context(ssh_client.log_in(login, shell.name, env))
            except ssh_client.Unfit as error:
                obstacle = str(error)
        if obstacle is not None:
            _log.debug("%s: logging in by OpenSSH: %s", shell.name, obstacle)
            remote = stack.enter_context(open_session(ssh_command, env=env))
        yield remote


def _find_obstacle(shell: RemoteShell, env: Mapping[str, str]) -> str | None:
    """Return why only OpenSSH, or what the user put before it, can log in; None if there is no reason."""
    program = shutil.which(shell.argv[0], path=env.get("PATH", os.defpath))
    if not shell.is_openssh or program is None:
        return f"{shell.argv[0]} is not OpenSSH's client"
    try:
        with open(program, "rb") as file:
            if file.read(2) == b"#!":
                return f"{program} is a script"
    except OSError as error:
        return f"{program}: {error.strerror}"
    if shell.prefix:
        return "the command says what to put before commands there"
    nothing = (shell.argv[0], "-F", "none", "localhost")
    return find_obstacle(shell.argv, ask_configuration(shell.argv), ask_configuration(nothing))
