"""barman-wal-restore: fetch a WAL file from Barman, for restore_command. Hot.

Exit 0 only when the file is complete at its destination; on any failure the destination is as it was before.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import TYPE_CHECKING

from barman.client.options import CONNECTION_OPTIONS, build_parser, natural, parse, switch
from barman.client.remote import (
    FAILED,
    ClientError,
    build_get_argv,
    describe_destination,
    run_client,
)
from barman.client.spool import Spool, make_own_directory
from barman.postgres.wal_names import is_segment_name
from barman.wal.hot_program import STOP_RECOVERY, STOPPED_HINT, TERMINATED, ends_with_the_wal

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

_NOT_FOUND = 1
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
        return _test(options) if options.test else _restore_for(options)

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
    from barman.client.plain_fetch import exit_code
    from barman.client.ssh_process import running_ssh

    _prepare_connection(options)
    with running_ssh(build_get_argv(options, _DUMMY_NAME, ["--test"])) as process:
        return exit_code(process.wait(), options)


def _restore_for(options: argparse.Namespace) -> int:
    """Restore, with the exit code that PostgreSQL needs.

    A standby tries again after any exit code below STOP_RECOVERY. A recovery takes it for the end of the WAL, and the
    database would be opened as it is then: so the Barman host itself must have said that there is no such file.
    """
    data = _data_directory(options.wal_dest)
    try:
        status = _restore(options)
    except ClientError as error:
        if error.status >= STOP_RECOVERY or not ends_with_the_wal(data):
            raise
        raise ClientError(error.message, STOP_RECOVERY, hint=error.hint or STOPPED_HINT) from error
    if status in (0, TERMINATED) or status >= STOP_RECOVERY or not ends_with_the_wal(data):
        return status
    if status == _NOT_FOUND and _can_look(options):
        return status
    raise ClientError(
        f"it is not known whether there is a WAL file {options.wal_name}", STOP_RECOVERY, hint=STOPPED_HINT
    )


def _can_look(options: argparse.Namespace) -> bool:
    """Whether get-wal works on the Barman host: it says "no such file" of a configuration it cannot use as well."""
    import subprocess

    argv = build_get_argv(options, _DUMMY_NAME, ["--test"])
    return subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False).returncode == 0


def _restore(options: argparse.Namespace) -> int:
    name, destination = options.wal_name, options.wal_dest
    if options.compression:
        print(f"WARNING: --{options.compression} is deprecated, use --keep-compression")  # noqa: T201
    if os.path.isdir(destination):
        raise ClientError(f"{destination} is a directory", _BAD_DESTINATION)
    spool = Spool(options.spool_dir, describe_destination(options))
    _prepare_connection(options)
    if options.parallel:
        spool.create()
    if _take(spool, name, destination):
        if options.parallel > 1 and is_segment_name(name):
            _refill(options, spool, name, destination)
        return 0
    if options.parallel > 1 and is_segment_name(name):
        return _fetch_ahead(options, spool, name, destination)
    return _fetch(options, name, destination)


def _prepare_connection(options: argparse.Namespace) -> None:
    if options.keep_connection:
        make_own_directory(options.spool_dir)


def _take(spool: Spool, name: str, destination: str) -> bool:
    try:
        return spool.take(name, destination, system_id=_system_id(destination))
    except OSError as error:
        message = f"cannot move {name} from the spool directory to {destination}: {error.strerror}"
        raise ClientError(message, STOP_RECOVERY) from error


def _system_id(destination: str) -> str | None:
    """Return which cluster a file in pg_wal is for, None if the destination is nobody's pg_wal.

    Source: PostgreSQL source, catalog/pg_control.h: the system identifier comes first.
    """
    data = _data_directory(destination)
    with contextlib.suppress(OSError), open(os.path.join(data, "global", "pg_control"), "rb") as control:
        number = control.read(8)
        return str(int.from_bytes(number, sys.byteorder)) if len(number) == 8 else None
    return None


def _data_directory(destination: str) -> str:
    return os.path.dirname(os.path.dirname(os.path.abspath(destination)))


def _refill(options: argparse.Namespace, spool: Spool, name: str, destination: str) -> None:
    """See to it that the segments that follow are fetched while PostgreSQL replays this one, name, at destination."""
    following, count = spool.find_gap(name, os.path.getsize(destination))
    if count > (options.parallel - 1) // 2:
        return
    from barman.client import read_ahead

    read_ahead.begin(options, spool, following, system_id=_system_id(destination), wait=False)


def _fetch_ahead(options: argparse.Namespace, spool: Spool, name: str, destination: str) -> int:
    """Fetch a segment that is not in the spool, and let those that follow be fetched after it."""
    from barman.client import read_ahead

    somebody_else = read_ahead.await_segment(spool, name)
    if _take(spool, name, destination):
        return 0
    if not somebody_else:
        status = read_ahead.begin(options, spool, name, system_id=_system_id(destination), wait=True)
        if status == 0 and _take(spool, name, destination):
            return 0
        if status is not None and (status != _NOT_FOUND or not options.partial):
            return status or FAILED
    status = _fetch(options, name, destination)
    if status == 0 and somebody_else:
        # PostgreSQL went elsewhere: to another timeline, say.
        read_ahead.end(spool)
        _refill(options, spool, name, destination)
    return status


def _fetch(options: argparse.Namespace, name: str, destination: str) -> int:
    from barman.client.plain_fetch import fetch, transfer_options

    arguments = transfer_options(options, partial=options.partial)
    return fetch(options, name, destination, arguments, system_id=_system_id(destination))
