"""barman-wal-archive: send WAL files to Barman, for archive_command. Hot.

Exit 0 means that put-wal on the Barman host has stored the file durably; anything else, and PostgreSQL tries again.
With --batch it has sent others along that were waiting, so that the calls for those need not connect.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import stat
from typing import TYPE_CHECKING

from barman.client.acknowledged import Acknowledgements
from barman.client.options import CONNECTION_OPTIONS, build_parser, parse, positive
from barman.client.remote import (
    FAILED,
    SSH_FAILED,
    ClientError,
    build_put_argv,
    cannot_connect,
    describe_destination,
    run_client,
    warn,
)
from barman.postgres.wal_names import is_wal_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from barman.client.shipment import Outcome

_SSH_FAILED_STATUS = 3
_LARGEST_BATCH = 256
_CODECS = (
    (("-z", "--gzip"), "gzip"),
    (("-j", "--bzip2"), "bzip2"),
    (("--xz",), "xz"),
    (("--snappy",), "snappy"),
    (("--zstd",), "zstd"),
    (("--lz4",), "lz4"),
)


def main(arguments: Sequence[str]) -> int:
    """Run `barman-wal-archive …`, without the program name; returns the exit code."""
    parser = _parser()

    def work() -> int:
        options = parse(parser, "archive", _FILE_OPTIONS, arguments)
        return _test(options) if options.test else _archive(options)

    return run_client(work)


def _parser() -> argparse.ArgumentParser:
    parser = build_parser("barman-wal-archive", "Send a WAL file to the Barman host. To be used as archive_command.")
    parser.add_argument("--md5", action="store_const", const="md5", default="sha256", help="MD5 sums, for old Barmans")
    for letters, codec in _CODECS:
        parser.add_argument(
            *letters, action="store_const", const=codec, dest="compression", help=f"compress with {codec}"
        )
    parser.add_argument(
        "--compression-level", metavar="LEVEL", type=_level, default="medium", help="low, medium, high or a number"
    )
    parser.add_argument(
        "--batch",
        metavar="N",
        type=positive,
        default=1,
        help=f"send up to N files that wait in archive_status at once, at most {_LARGEST_BATCH} (default: %(default)s)",
    )
    parser.add_argument(
        "--spool-dir",
        metavar="DIR",
        default="/var/tmp/walarchive",  # noqa: S108 - its owner is checked
        help="where it is noted which files have been sent (default: %(default)s)",
    )
    parser.add_argument("wal_path", metavar="WAL_PATH", help="the file; %%p in archive_command")
    return parser


def _level(text: str) -> int | str:
    if text in ("low", "medium", "high"):
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not low, medium, high or an integer") from None


def _codec(text: str) -> str | None:
    names = [codec for _, codec in _CODECS]
    if text not in (*names, "none"):
        raise argparse.ArgumentTypeError(f"'{text}' is not none, {', '.join(names)}")
    return None if text == "none" else text


_FILE_OPTIONS: Mapping[str, Callable[[str], object]] = {
    **CONNECTION_OPTIONS,
    "compression": _codec,
    "compression_level": _level,
    "batch": positive,
    "spool_dir": str,
}


def _test(options: argparse.Namespace) -> int:
    from barman.client.ssh_process import running_ssh

    with running_ssh(build_put_argv(options, test=True)) as process:
        return _exit_code(process.wait(), options)


def _archive(options: argparse.Namespace) -> int:
    path = options.wal_path
    acknowledged = Acknowledgements(options.spool_dir, describe_destination(options))
    if options.batch > 1 and acknowledged.has(path):
        return 0
    if os.path.isdir(path):
        raise ClientError(f"{path} is a directory")
    if options.keep_connection:
        acknowledged.create()
    paths = _find_batch(options, acknowledged)
    # Here, because a call that has nothing to send must end before this would be imported.
    from barman.client.shipment import ship

    outcome = ship(options, paths)
    if len(paths) > 1:
        _remember(outcome, acknowledged)
        if not outcome.stored and outcome.status not in (0, SSH_FAILED):
            warn(f"{len(outcome.sent)} files at once were refused, {os.path.basename(path)} is sent alone")
            outcome = ship(options, paths[:1])
    if os.path.basename(path) in outcome.stored:
        return 0
    if outcome.status == 0:
        raise ClientError(f"cannot send {path}: {outcome.broken or 'it was not stored'}")
    return _exit_code(outcome.status, options)


def _find_batch(options: argparse.Namespace, acknowledged: Acknowledgements) -> list[str]:
    """Return the path PostgreSQL asks about, and those of other files it will ask about, in its order."""
    path = options.wal_path
    if options.batch == 1:
        return [path]
    directory, asked = os.path.split(path)
    try:
        entries = os.listdir(os.path.join(directory, "archive_status"))
    except (FileNotFoundError, NotADirectoryError):
        # Not in pg_wal, so not called by PostgreSQL.
        return [path]
    ready = {entry.removesuffix(".ready") for entry in entries if entry.endswith(".ready")}
    try:
        acknowledged.create()
        acknowledged.keep_only(ready | {asked})
    except (ClientError, OSError) as error:
        warn(f"only one WAL file is sent at a time: {error}")
        return [path]
    others = sorted(
        (name for name in ready if name != asked and is_wal_name(name)),
        key=lambda name: (not name.endswith(".history"), name),
    )
    paths = [path]
    for other in others:
        if len(paths) == min(options.batch, _LARGEST_BATCH):
            break
        candidate = os.path.join(directory, other)
        with contextlib.suppress(OSError):
            if stat.S_ISREG(os.lstat(candidate).st_mode) and not acknowledged.has(candidate):
                paths.append(candidate)
    return paths


def _remember(outcome: Outcome, acknowledged: Acknowledgements) -> None:
    try:
        for name in outcome.stored:
            sent = outcome.sent[name]
            acknowledged.add(sent.path, sent.status, sent.read_at_ns)
    except OSError as error:
        warn(f"files that were sent will be sent again: {error.strerror}: {error.filename}")


def _exit_code(status: int, options: argparse.Namespace) -> int:
    """Return our exit code for that of ssh."""
    if status == SSH_FAILED:
        raise cannot_connect(options, _SSH_FAILED_STATUS)
    return status if status >= 0 else FAILED
