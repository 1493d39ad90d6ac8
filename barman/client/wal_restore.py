"""barman-wal-restore: fetch a WAL file from Barman, for restore_command. Hot.

Exit 0 only when the file is complete at its destination; on any failure the destination is as it was before.
"""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING, BinaryIO

from barman.client import received
from barman.client.options import CONNECTION_OPTIONS, build_parser, natural, parse, switch
from barman.client.read_ahead import Spool, replacing
from barman.client.remote import (
    FAILED,
    SSH_FAILED,
    ClientError,
    build_get_argv,
    quote,
    run_client,
)
from barman.postgres.wal_names import is_segment_name
from barman.wal.hot_program import STOP_RECOVERY, TERMINATED

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

_BAD_DESTINATION = 3
_DUMMY_NAME = "0" * 24


def main(arguments: Sequence[str]) -> int:
    """Run `barman-wal-restore …`, without the program name; returns the exit code."""
    parser = _parser()
    pause_s = 0

    def work() -> int:
        nonlocal pause_s
        options = parse(parser, "restore", _FILE_OPTIONS, arguments)
        pause_s = options.sleep
        return _test(options) if options.test else _restore(options)

    status = run_client(work, terminated=TERMINATED)
    if status not in (0, TERMINATED) and pause_s:
        time.sleep(pause_s)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = build_parser("barman-wal-restore", "Fetch a WAL file from the Barman host. To be used as restore_command.")
    parser.add_argument(
        "-s", "--sleep", metavar="SECONDS", type=natural, default=0, help="wait before exiting on failure"
    )
    parser.add_argument(
        "-p", "--parallel", metavar="JOBS", type=natural, default=0, help="how many files to fetch at the same time"
    )
    parser.add_argument(
        "--spool-dir",
        metavar="DIR",
        default="/var/tmp/walrestore",  # noqa: S108 - the documented default; its owner is checked
        help="where files fetched ahead wait (default: %(default)s)",
    )
    parser.add_argument("-P", "--partial", action="store_true", help="accept the .partial file as well")
    compression = parser.add_mutually_exclusive_group()
    for letters, codec in ((("-z", "--gzip"), "gzip"), (("-j", "--bzip2"), "bzip2")):
        compression.add_argument(
            *letters,
            action="store_const",
            const=codec,
            dest="compression",
            help=f"deprecated: compress with {codec} on the wire",
        )
    compression.add_argument(
        "--keep-compression", action="store_true", help="transfer the file as it is stored, decompress it here"
    )
    parser.add_argument("wal_name", metavar="WAL_NAME", help="name of the file; %%f in restore_command")
    parser.add_argument("wal_dest", metavar="WAL_DEST", help="where it is wanted; %%p in restore_command")
    return parser


_FILE_OPTIONS: Mapping[str, Callable[[str], object]] = {
    **CONNECTION_OPTIONS,
    "sleep": natural,
    "parallel": natural,
    "spool_dir": str,
    "partial": switch,
    "keep_compression": switch,
}


def _test(options: argparse.Namespace) -> int:
    try:
        ended = subprocess.run(build_get_argv(options, _DUMMY_NAME, ["--test"]), stdin=subprocess.DEVNULL, check=False)
    except OSError as error:
        raise ClientError(f"cannot run ssh: {error.strerror}") from error
    return _status(ended.returncode, options)


def _restore(options: argparse.Namespace) -> int:
    name, destination = options.wal_name, options.wal_dest
    if options.compression:
        print(f"WARNING: --{options.compression} is deprecated, use --keep-compression")  # noqa: T201
    if os.path.isdir(destination):
        raise ClientError(f"{destination} is a directory", _BAD_DESTINATION)
    spool = Spool(options.spool_dir)
    reads_ahead = options.parallel > 1 and is_segment_name(name)
    if options.parallel:
        spool.create()
    if _take(spool, name, destination):
        if reads_ahead and spool.count_after(name) <= (options.parallel - 1) // 2:
            _read_ahead(options, spool)
        return 0
    if reads_ahead:
        spool.await_segment(name)
        if _take(spool, name, destination):
            return 0
    status = _fetch(options, name, destination, _transfer_options(options, partial=options.partial))
    if status == 0 and reads_ahead:
        _read_ahead(options, spool)
    return status


def _take(spool: Spool, name: str, destination: str) -> bool:
    try:
        return spool.take(name, destination)
    except OSError as error:
        message = f"cannot move {name} from the spool directory to {destination}: {error.strerror}"
        raise ClientError(message, STOP_RECOVERY) from error


def _read_ahead(options: argparse.Namespace, spool: Spool) -> None:
    """Let the segments that follow be fetched while PostgreSQL replays this one."""
    arguments = _transfer_options(options, partial=False)

    def fetch(name: str, path: str) -> None:
        if _fetch(options, name, path, arguments) != 0:
            raise ClientError(f"cannot fetch {name}")

    spool.fetch_in_background(lambda: _peek(options), fetch)


def _peek(options: argparse.Namespace) -> Sequence[str]:
    """Return the names of the segments that follow and are there."""
    argv = build_get_argv(options, options.wal_name, ["--peek", quote(str(options.parallel))])
    listed = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True).stdout
    return [name for name in listed.decode("ascii", "replace").split() if name != options.wal_name]


def _transfer_options(options: argparse.Namespace, *, partial: bool) -> list[str]:
    arguments = [f"--{options.compression}"] if options.compression else []
    return arguments + ["--keep-compression"] * options.keep_compression + ["--partial"] * partial


def _fetch(options: argparse.Namespace, name: str, path: str, arguments: Sequence[str]) -> int:
    """Make path the file name, complete and decompressed; returns the exit code, path untouched if it is not 0."""
    argv = build_get_argv(options, name, arguments)
    try:
        with replacing(path) as target:
            try:
                status = _transfer(argv, target)
                if status != 0:
                    raise _Ended(status)
                received.finish(target.name, name)
            except OSError as error:
                raise ClientError(f"cannot write {path}: {error.strerror}", STOP_RECOVERY) from error
    except _Ended as ended:
        return _status(ended.status, options)
    except OSError as error:
        raise ClientError(f"cannot open {path}: {error.strerror}", _BAD_DESTINATION) from error
    return 0


class _Ended(Exception):
    """The transfer ended with this status, which is not 0."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def _transfer(argv: Sequence[str], target: BinaryIO) -> int:
    """Write what a command prints to target; returns its exit status."""
    try:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    except OSError as error:
        raise ClientError(f"cannot run ssh: {error.strerror}") from error
    with process:
        try:
            output = process.stdout
            while output is not None and (chunk := output.read(received.CHUNK)):
                target.write(chunk)
            target.flush()
            return process.wait()
        finally:
            if process.poll() is None:
                process.terminate()


def _status(status: int, options: argparse.Namespace) -> int:
    """Return our exit code for that of ssh."""
    if status == SSH_FAILED:
        raise ClientError(f"cannot connect to {options.user}@{options.barman_host} by ssh")
    return status if status >= 0 else FAILED
