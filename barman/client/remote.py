"""What the programs for the PostgreSQL host share: reaching the Barman host, and their exit codes. Hot-safe.

The command lines are a wire format: each element of an argv below is one word for ssh, and what the far side's shell
makes of them must be what Barman 3.19 makes of them.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from barman.errors import BarmanError, Terminated
from barman.host.patience import Patience

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

FAILED = 2
"""Usage, a local file, a program that cannot be started, an interruption."""

SSH_FAILED = 255
"""What ssh itself exits with when there is no connection."""

# A connection that no longer answers is given up after half a minute: TCP notices after a quarter of an hour, or two
# hours if there is nothing to send, and PostgreSQL starts no other program meanwhile. Nor does one that never begins
# take as long as TCP would try.
_ALIVE = ("-o", "ConnectTimeout=30", "-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=3")

# The connection may be alive and the far side stuck, on a disk that is gone, say.
_PATIENCE_S = 600
_ASKING_LIMIT_S = 10

# Of the 108 bytes that an address has, ssh needs 38 more for the hash and 17 for a temporary name, and one is zero.
_LONGEST_SOCKET_PATH = 108 - 38 - 17 - 1


class ClientError(BarmanError):
    """The program ends with an exit code of its own choice."""

    def __init__(self, message: str, status: int = FAILED, *, hint: str | None = None) -> None:
        """status: the exit code."""
        super().__init__(message, hint=hint)
        self.status = status


def build_ssh_argv(options: argparse.Namespace, more: Sequence[str] = ()) -> list[str]:
    """Return the words up to and including the name of the program on the Barman host. more: options for ssh."""
    port = ["-p", options.port] if options.port else []
    kept = _keep_connection(options.spool_dir, options.keep_connection) if options.keep_connection else []
    return ["ssh", *_ALIVE, *more, *kept, *port, "-q", "-T", f"{options.user}@{options.barman_host}", "barman"]


def bulk_options(options: argparse.Namespace) -> Sequence[str]:
    """Return options for ssh with which more travels in the same time; to find them costs two starts of ssh."""
    import subprocess

    from barman.host.ssh_cipher import cipher_options, parse_settings

    def ask(*words: str) -> Mapping[str, str]:
        try:
            asked = subprocess.run(
                ["ssh", "-G", *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_ASKING_LIMIT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return {}
        return parse_settings(asked.stdout.decode(errors="replace"))

    port = ["-p", options.port] if options.port else []
    chosen = ask(*port, f"{options.user}@{options.barman_host}")
    return cipher_options(chosen, ask("-F", "none", "localhost")) if chosen else ()


def patience(options: argparse.Namespace, status: int) -> Patience:
    """Return the limit for a transfer that no longer moves. status: the exit code when it is reached."""
    target = f"{options.user}@{options.barman_host}"
    return Patience(
        _PATIENCE_S, lambda: ClientError(f"{target} has not moved for {_PATIENCE_S} seconds, given up", status)
    )


def _keep_connection(directory: str, seconds: int) -> list[str]:
    """Return the options that make ssh use the connection of an earlier call, and leave one for the next."""
    path = os.path.join(os.path.abspath(directory), ".ssh-%C")
    if len(os.fsencode(path)) > _LONGEST_SOCKET_PATH:
        raise ClientError(
            f"the path of the spool directory {directory} is too long to keep connections in",
            hint="Choose another one with --spool-dir.",
        )
    words = ("ControlMaster=auto", f"ControlPath={path}", f"ControlPersist={seconds}")
    return [word for option in words for word in ("-o", option)]


def cannot_connect(options: argparse.Namespace, status: int) -> ClientError:
    """Return the error when ssh has exited with SSH_FAILED. status: the exit code that is to be ours."""
    port = f"-p {options.port} " if options.port else ""
    target = f"{options.user}@{options.barman_host}"
    hint = f"To see why, run 'ssh -o BatchMode=yes {port}{target} barman --version' as this user."
    return ClientError(f"cannot connect to {target} by ssh", status, hint=hint)


def describe_destination(options: argparse.Namespace) -> str:
    """Return which server of which host this is about, in one line, as it stands in the files of spool directories."""
    words = [options.server_name, f"{options.user}@{options.barman_host}", options.port, options.config]
    return " ".join(" ".join(word.split()) for word in words if word)


def build_put_argv(options: argparse.Namespace, *, test: bool, more: Sequence[str] = ()) -> list[str]:
    """Return the command that runs put-wal on the Barman host. more: options for ssh."""
    config = [f"--config={quote(options.config)}"] if options.config else []
    return [*build_ssh_argv(options, more), *config, "put-wal", options.server_name, *(["--test"] if test else [])]


def build_get_argv(
    options: argparse.Namespace, wal_name: str, arguments: Sequence[str] = (), *, more: Sequence[str] = ()
) -> list[str]:
    """Return the command that runs get-wal on the Barman host.

    arguments: its options, each ready for the shell. more: options for ssh.
    """
    config = ["--config", quote(options.config)] if options.config else []
    command = " ".join(["get-wal", *arguments, quote(options.server_name), quote(wal_name)])
    return [*build_ssh_argv(options, more), *config, command]


def quote(text: str) -> str:
    """Return text in single quotes for the far side's shell."""
    return shlex.quote(text) if "'" in text else f"'{text}'"


def run_client(work: Callable[[], int], *, terminated: int = FAILED) -> int:
    """Return what work returns; turn whatever ends it otherwise into one line and an exit code.

    terminated: the exit code after a SIGTERM.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _terminate)
    try:
        return work()
    except ClientError as error:
        complain(error.message, error.hint)
        return error.status
    except BarmanError as error:
        complain(error.message, error.hint)
        return 1
    except OSError as error:
        place = f": {error.filename}" if error.filename is not None else ""
        complain(f"{error.strerror or error}{place}")
    except Terminated:
        complain("terminated")
        return terminated
    except KeyboardInterrupt:
        complain("interrupted")
    except Exception as error:  # noqa: BLE001 - the boundary of the program
        complain(f"internal error: {type(error).__name__}: {error}", "This is a bug in barman, please report it.")
    return FAILED


def complain(message: str, hint: str | None = None) -> None:
    """Write one line about a failure, and perhaps what to do, to standard error: PostgreSQL's log."""
    sys.stderr.write(f"ERROR: {message}\n")
    if hint:
        sys.stderr.write(f"HINT: {hint}\n")


def warn(message: str) -> None:
    """Write one line about something that keeps nobody from working to standard error."""
    sys.stderr.write(f"WARNING: {message}\n")


def _terminate(number: int, _frame: object) -> NoReturn:
    raise Terminated(f"got signal {number}")
