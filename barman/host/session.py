"""One login on another host, for all the programs and files of one operation.

It is OpenSSH's own connection, shared: what the user set up (jump hosts, certificates, agents, hardware keys) counts,
and rsync goes over the same login. An ssh command that is not OpenSSH's logs in for every program.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from typing import TYPE_CHECKING

from barman.errors import CommandError, Permanent
from barman.host import runner
from barman.host.ssh import open_sessions, parse_ssh_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import BinaryIO

# What a shell and ssh say of a program that is not there, and of a connection that is not.
NOT_FOUND = 127
CONNECTION_FAILED = 255

_QUICK_S = 60.0
_PASSED_BY = 66

_READ = f'[ -f "$1" ] || exit {_PASSED_BY}; exec cat "$1"'
# The file's own directory, so that the rename is one; its name ends like all temporary ones of barman.
_WRITE = """
set -e
temporary=$(dirname "$1")/.$(basename "$1").$$.tmp
trap 'rm -f "$temporary"' EXIT
umask 077
cat >"$temporary"
chmod "$2" "$temporary"
sync "$temporary" 2>/dev/null || sync || :
mv -f "$temporary" "$1"
trap - EXIT
"""


class Session:
    """A host one is logged in to. name: for messages. lanes: command lines for rsync's --rsh, one for each login."""

    def __init__(self, name: str, lanes: Sequence[str], env: Mapping[str, str]) -> None:
        """env: for the ssh program here; the other side has its own."""
        self.name = name
        self.lanes = tuple(lanes)
        self._env = dict(env)

    def run(
        self,
        argv: Sequence[str],
        *,
        input: bytes = b"",  # noqa: A002  as runner.run calls it
        stdin: BinaryIO | None = None,
        timeout_s: float | None = _QUICK_S,
        check: bool = True,
        lane: str | None = None,
        on_tick: Callable[[], None] | None = None,
    ) -> runner.Completed:
        """Run a program there, its words as they are, to its end.

        input, stdin: bytes, or a file, for its standard input. lane: the login to use; None: the first. on_tick: as of
        runner.run. CommandError when the connection fails or it takes too long; and, if check, when it ends with
        anything but 0.
        """
        done = runner.run(
            [*shlex.split(lane or self.lanes[0]), shlex.join(argv)],
            timeout_s=timeout_s,
            env=self._env,
            input=None if stdin is not None else input,
            stdin=stdin,
            check=False,
            on_tick=on_tick,
            shown=(*argv, "on", self.name),
        )
        if done.status == CONNECTION_FAILED:
            raise CommandError(
                f"the connection to {self.name} failed: {_last_line(done)}", argv=argv, status=done.status
            )
        if check and done.status != 0:
            message = f"{self.name}: '{argv[0]}' failed: {_last_line(done)}"
            raise CommandError(message, argv=argv, status=done.status, stderr=done.stderr)
        return done

    def script(
        self,
        text: str,
        *arguments: str | os.PathLike[str],
        input: bytes = b"",  # noqa: A002
        timeout_s: float | None = _QUICK_S,
        check: bool = True,
    ) -> runner.Completed:
        """Run text as a POSIX shell does, whatever the user's own shell is; arguments are its $1, $2 and so on."""
        words = [os.fspath(argument) for argument in arguments]
        return self.run(["sh", "-c", text, "barman", *words], input=input, timeout_s=timeout_s, check=check)

    def read_file(self, path: str | os.PathLike[str]) -> bytes | None:
        """Return the content of a small file; None if there is none."""
        done = self.script(_READ, path, check=False)
        if done.status == _PASSED_BY:
            return None
        if done.status != 0:
            raise Permanent(f"cannot read {os.fspath(path)} on {self.name}: {_last_line(done)}")
        return os.fsencode(done.stdout)

    def write_file(self, path: str | os.PathLike[str], data: bytes, *, mode: int = 0o600) -> None:
        """Make data the content of a small file, atomically; Permanent if that is not possible."""
        done = self.script(_WRITE, path, f"{mode:o}", input=data, check=False)
        if done.status != 0:
            raise Permanent(f"cannot write {os.fspath(path)} on {self.name}: {_last_line(done)}")


@contextlib.contextmanager
def open_session(
    ssh_command: str, *, env: Mapping[str, str], logins: int = 1, batch: int = 10, period_s: float = 1.0
) -> Iterator[Session]:
    """Log in, and yield the session; it ends with the block, and with it what it runs.

    logins: how many, for as many transfers at a time; not more than batch are begun within period_s seconds.
    ConfigError if the command cannot be split into words, CommandError naming the host and the reason if the login
    fails.
    """
    shell = parse_ssh_command(ssh_command)
    with open_sessions(shell, logins, env=env, batch=batch, period_s=period_s) as lanes:
        yield Session(shell.name, lanes, env)


def _last_line(done: runner.Completed) -> str:
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return lines[-1] if lines else f"exit status {done.status}"
