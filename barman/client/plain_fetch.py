"""Fetching one WAL file with get-wal, whichever Barman is at the far side. Hot-safe."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, BinaryIO, cast

from barman.client import received
from barman.client.remote import FAILED, SSH_FAILED, ClientError, build_get_argv, cannot_connect, patience
from barman.client.spool import replacing
from barman.client.ssh_process import running_ssh
from barman.host.pipe import widen
from barman.postgres.wal_names import is_segment_name
from barman.wal.hot_program import STOP_RECOVERY

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from barman.host.patience import Patience

BAD_DESTINATION = 3

# From here on shells tell of programs that are not there or were ended by a signal. If that were our exit code,
# PostgreSQL would take it for our own end, and shut a standby down.
_NO_ANSWER = 126


def transfer_options(options: argparse.Namespace, *, partial: bool) -> list[str]:
    """Return the options of get-wal that say in which form files travel."""
    arguments = [f"--{options.compression}"] if options.compression else []
    keeps = options.keep_compression and not options.compression
    return arguments + ["--keep-compression"] * keeps + ["--partial"] * partial


def fetch(
    options: argparse.Namespace,
    name: str,
    path: str,
    arguments: Sequence[str],
    *,
    system_id: str | None = None,
    quiet: bool = False,
) -> int:
    """Make path the file name, complete and decompressed; returns the exit code, path untouched if it is not 0.

    arguments: options of get-wal. system_id: of the cluster a segment must be of, None if that is not known. quiet:
    nobody reads what the far side has to say.
    """
    argv = build_get_argv(options, name, arguments)
    try:
        with replacing(path) as target:
            try:
                with patience(options, FAILED) as limit:
                    status = _transfer(argv, target, limit, quiet=quiet)
                if status != 0:
                    raise _Ended(status)
                received.finish(target.name, name)
                if system_id is not None and is_segment_name(name):
                    received.require_segment(target.name, name, system_id=system_id)
            except OSError as error:
                raise ClientError(f"cannot write {path}: {error.strerror}", STOP_RECOVERY) from error
    except _Ended as ended:
        return exit_code(ended.status, options)
    except OSError as error:
        raise ClientError(f"cannot open {path}: {error.strerror}", BAD_DESTINATION) from error
    return 0


class _Ended(Exception):
    """The transfer ended with this status, which is not 0."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def _transfer(argv: Sequence[str], target: BinaryIO, limit: Patience, *, quiet: bool) -> int:
    """Write what a command prints to target; returns its exit status."""
    stderr = subprocess.DEVNULL if quiet else None
    with running_ssh(argv, stdout=subprocess.PIPE, stderr=stderr) as process:
        output = cast("BinaryIO", process.stdout)
        widen(output)
        # One buffer: to get and give back memory for each piece costs more than to copy it.
        buffer = memoryview(bytearray(received.CHUNK))
        while count := output.readinto(buffer):  # type: ignore[attr-defined]
            limit.renew()
            target.write(buffer[:count])
        target.flush()
        return process.wait()


def exit_code(status: int, options: argparse.Namespace) -> int:
    """Return our exit code for that of ssh. ClientError if it says nothing about the file."""
    if status == SSH_FAILED:
        raise cannot_connect(options, FAILED)
    if status >= _NO_ANSWER and status != STOP_RECOVERY:
        target = f"{options.user}@{options.barman_host}"
        raise ClientError(f"barman on {target} could not be run, or was ended there: exit code {status}", FAILED)
    return status if status >= 0 else FAILED
