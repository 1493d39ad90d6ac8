"""What the hot sub-commands of barman share: the global options, and where errors end. Hot-safe.

They parse their own arguments, because click alone would cost more than they have.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

from barman.errors import BarmanError, ConfigError, Terminated

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import NoReturn


STOP_RECOVERY = 200
"""A file is there but cannot be had whole. PostgreSQL takes exit codes of a restore_command up to 125 for "there is no
such file", and ends recovery; above that it stops with an error."""

TERMINATED = 143
"""What a shell reports after SIGTERM; PostgreSQL knows then that it was told to shut down."""


STOPPED_HINT = (
    "Recovery stops instead of ending early. Start PostgreSQL again when this is solved; it goes on from here."
)


def ends_with_the_wal(data_directory: str) -> bool:
    """Whether PostgreSQL there is in a recovery that ends, and opens the database, when there is no more WAL."""
    signals = (os.path.exists(os.path.join(data_directory, f"{kind}.signal")) for kind in ("recovery", "standby"))
    is_recovery, is_standby = signals
    return is_recovery and not is_standby


class Messages:
    """Where a hot program speaks: lines on stderr and stdout, or one JSON object at the end."""

    def __init__(self, environ: Mapping[str, str], *, as_json: bool = False, quiet: bool = False) -> None:
        """environ: tells the address of an ssh client. quiet: only errors; with JSON nothing at all."""
        self._client = environ.get("SSH_CONNECTION", "").partition(" ")[0]
        self._json: dict[str, list[str]] | None = {} if as_json else None
        self._quiet = quiet
        self._log: tuple[str, str] | None = None
        self._has_data = False

    def log_to(self, path: str | None, line_format: str) -> None:
        """Write warnings and errors to a log file, too, one line each, as the other commands of barman do.

        line_format: as in log_format; None for path: there is no log file.
        """
        self._log = None if path is None else (path, line_format)

    def info(self, message: str) -> None:
        """A line for the caller, on standard output."""
        if self._json is not None:
            self._json.setdefault("_INFO", []).append(message)
        elif not self._quiet:
            sys.stdout.write(f"{message}\n")

    def warning(self, message: str) -> None:
        """Something to look at; the exit code stays."""
        self._tell("WARNING", message)

    def error(self, message: str, hint: str | None = None) -> None:
        """Why the exit code is not 0."""
        self._tell("ERROR", message, hint)

    def data_follows(self) -> None:
        """Standard output is for data from now on, so no JSON object will end it."""
        self._has_data = True

    def close(self, status: int) -> int:
        """Print all that is held back; return the exit code: status, or 1 where that was 0 and this cannot be done."""
        try:
            if self._json is not None and not self._quiet and not self._has_data:
                import json

                sys.stdout.write(json.dumps(self._json, sort_keys=True))
            sys.stdout.flush()
        except OSError as error:
            drop_standard_output()
            sys.stderr.write(f"ERROR: cannot write to standard output: {error.strerror}\n")
            return status or 1
        return status

    def _tell(self, level: str, message: str, hint: str | None = None) -> None:
        address = f" (ssh host: {self._client})" if self._client else ""
        behind = f" (HINT: {hint})" if hint else ""
        self._write_log(level, f"{message}{address}{behind}")
        if self._json is not None:
            self._json.setdefault(f"_{level}", []).append(f"{message}{behind}")
            return
        sys.stderr.write(f"{level}: {message}{address}\n")
        if hint:
            sys.stderr.write(f"HINT: {hint}\n")

    def _write_log(self, level: str, message: str) -> None:
        """Append a line; a log that cannot be written keeps nobody from working, and standard error has it as well."""
        if self._log is None:
            return
        path, line_format = self._log
        now = time.time()
        asctime = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(now))},{int(now % 1 * 1000):03d}"
        fields = {"asctime": asctime, "process": os.getpid(), "name": __name__, "levelname": level, "message": message}
        try:
            line = line_format % fields
        except (KeyError, ValueError, TypeError):
            # Fields that only the logging module has, which takes too long to load.
            line = f"{asctime} [{os.getpid()}] {__name__} {level}: {message}"
        with contextlib.suppress(OSError), open(path, "a", encoding="utf-8", errors="surrogateescape") as log:
            log.write(f"{line}\n")


class _Parser(argparse.ArgumentParser):
    """Tells what is wrong with the command line as the other commands of barman do."""

    command: argparse.ArgumentParser | None = None

    def error(self, message: str) -> NoReturn:
        # The caller has looked at what stands before the command already.
        told = self.command or self
        usage = told.format_usage().replace("usage:", "Usage:", 1)
        self.exit(2, f"{usage}ERROR: {message}\nHINT: Try '{told.prog} --help'.\n")


def build_parser(command: str, description: str) -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    """Return the parser of `barman [GLOBAL OPTIONS] COMMAND …` and the one to add the command's own arguments to."""
    parser = _Parser("barman")
    parser.add_argument("-c", "--config")
    parser.add_argument("--color", "--colour", choices=("never", "always", "auto"))
    parser.add_argument("--log-level", choices=("NOTSET", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"))
    parser.add_argument("-q", "--quiet", action="store_true")
    parser.add_argument("-d", "--debug", action="store_true")
    parser.add_argument("-f", "--format", choices=("console", "json"))
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    parser.command = commands.add_parser(command, description=description)
    return parser, parser.command


def run_program(messages: Messages, work: Callable[[], int]) -> int:
    """Return what work returns; turn whatever ends it otherwise into one line and an exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _terminate)
    try:
        return work()
    except BarmanError as error:
        return _report(messages, error)
    except BrokenPipeError:
        drop_standard_output()
        messages.error("the receiver of the data closed the connection")
    except OSError as error:
        place = f": {error.filename}" if error.filename is not None else ""
        messages.error(f"{error.strerror or error}{place}")
    except Terminated:
        messages.error("terminated")
        return TERMINATED
    except KeyboardInterrupt:
        messages.error("interrupted")
    except Exception as error:  # noqa: BLE001 - the boundary of the program
        messages.error(
            f"internal error: {type(error).__name__}: {error}", hint="This is a bug in barman, please report it."
        )
    return 1


def _report(messages: Messages, error: BarmanError) -> int:
    # Problems say all that the message of an error sums up.
    lines = (error.problems if isinstance(error, ConfigError) else ()) or (error.message,)
    for line in lines[:-1]:
        messages.error(line)
    messages.error(lines[-1], error.hint)
    return error.exit_code


def _terminate(number: int, _frame: object) -> None:
    raise Terminated(f"got signal {number}")


def drop_standard_output() -> None:
    """Have what is still in the buffer go nowhere when the interpreter ends, as nobody reads it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
