"""What the programs for the PostgreSQL host share: reaching the Barman host, and their exit codes. Hot-safe.

The command lines are a wire format: each element of an argv below is one word for ssh, and what the far side's shell
makes of them must be what Barman 3.19 makes of them.
"""

from __future__ import annotations

import shlex
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from barman.errors import BarmanError, Terminated
from barman.version import __version__

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

FAILED = 2
"""Usage, a local file, a program that cannot be started, an interruption."""

SSH_FAILED = 255
"""What ssh itself exits with when there is no connection."""


class ClientError(BarmanError):
    """The program ends with an exit code of its own choice."""

    def __init__(self, message: str, status: int = FAILED, *, hint: str | None = None) -> None:
        """status: the exit code."""
        super().__init__(message, hint=hint)
        self.status = status


def add_connection_options(parser: argparse.ArgumentParser) -> None:
    """Add the options and the two arguments that say where the Barman host is."""
    parser.add_argument("-V", "--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument("-U", "--user", default="barman", help="user to connect as (default: %(default)s)")
    parser.add_argument("--port", help="port of the ssh server")
    parser.add_argument("-c", "--config", metavar="PATH", help="configuration file on the Barman host")
    parser.add_argument("-t", "--test", action="store_true", help="only test the connection and the configuration")
    parser.add_argument("barman_host", metavar="BARMAN_HOST", help="host that runs Barman")
    parser.add_argument("server_name", metavar="SERVER_NAME", help="server in the configuration of Barman")


def build_ssh_argv(options: argparse.Namespace) -> list[str]:
    """Return the words up to and including the name of the program on the Barman host."""
    port = ["-p", options.port] if options.port else []
    return ["ssh", *port, "-q", "-T", f"{options.user}@{options.barman_host}", "barman"]


def build_put_argv(options: argparse.Namespace, *, test: bool) -> list[str]:
    """Return the command that runs put-wal on the Barman host."""
    config = [f"--config={quote(options.config)}"] if options.config else []
    return [*build_ssh_argv(options), *config, "put-wal", options.server_name, *(["--test"] if test else [])]


def build_get_argv(options: argparse.Namespace, wal_name: str, arguments: Sequence[str] = ()) -> list[str]:
    """Return the command that runs get-wal on the Barman host; arguments: its options, each ready for the shell."""
    config = ["--config", quote(options.config)] if options.config else []
    command = " ".join(["get-wal", *arguments, quote(options.server_name), quote(wal_name)])
    return [*build_ssh_argv(options), *config, command]


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


def _terminate(number: int, _frame: object) -> NoReturn:
    raise Terminated(f"got signal {number}")
