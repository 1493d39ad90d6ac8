"""barman-wal-archive: send a WAL file to Barman, for archive_command. Hot.

Exit 0 means that put-wal on the Barman host has stored it durably; anything else, and PostgreSQL tries again.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING, BinaryIO, cast

from barman.client.remote import (
    FAILED,
    SSH_FAILED,
    ClientError,
    add_connection_options,
    build_put_argv,
    run_client,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SSH_FAILED_STATUS = 3
_CHUNK = 1 << 20
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
    options = _parse(arguments)
    return run_client(lambda: _test(options) if options.test else _archive(options))


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "barman-wal-archive", description="Send a WAL file to the Barman host. To be used as archive_command."
    )
    add_connection_options(parser)
    parser.add_argument("--md5", action="store_const", const="md5", default="sha256", help="MD5 sums, for old Barmans")
    for letters, codec in _CODECS:
        parser.add_argument(
            *letters, action="store_const", const=codec, dest="compression", help=f"compress with {codec}"
        )
    parser.add_argument(
        "--compression-level", metavar="LEVEL", type=_level, default="medium", help="low, medium, high or a number"
    )
    parser.add_argument("wal_path", metavar="WAL_PATH", help="the file; %%p in archive_command")
    return parser.parse_args(list(arguments))


def _level(text: str) -> int | str:
    if text in ("low", "medium", "high"):
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not low, medium, high or an integer") from None


def _test(options: argparse.Namespace) -> int:
    with _ssh(build_put_argv(options, test=True), stdin=subprocess.DEVNULL) as process:
        return _status(process.wait(), options)


def _archive(options: argparse.Namespace) -> int:
    path = options.wal_path
    if os.path.isdir(path):
        raise ClientError(f"{path} is a directory")
    with contextlib.ExitStack() as stack:
        try:
            wal = stack.enter_context(open(path, "rb"))
        except OSError as error:
            raise ClientError(f"cannot read {path}: {error.strerror}") from error
        content = _compress(wal, options, stack) if options.compression else wal
        process = stack.enter_context(_ssh(build_put_argv(options, test=False), stdin=subprocess.PIPE))
        broken = _send(content, os.path.basename(path), options.md5, process)
        status = process.wait()
        if status == 0 and broken is not None:
            raise ClientError(f"cannot send {path}: {broken}") from broken
        return _status(status, options)


def _compress(wal: BinaryIO, options: argparse.Namespace, stack: contextlib.ExitStack) -> BinaryIO:
    """Return a file with the compressed content, on disk: a segment may be as large as 1 GiB."""
    import tempfile

    from barman.storage.compress import codecs

    target = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
    level = codecs.resolve_level(options.compression, options.compression_level)
    codecs.compress_stream(wal, cast("BinaryIO", target), options.compression, level)
    target.seek(0)
    return cast("BinaryIO", target)


@contextlib.contextmanager
def _ssh(argv: Sequence[str], *, stdin: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run ssh; it is not left behind whatever happens."""
    try:
        process = subprocess.Popen(argv, stdin=stdin)
    except OSError as error:
        raise ClientError(f"cannot run ssh: {error.strerror}") from error
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def _send(content: BinaryIO, name: str, algorithm: str, process: subprocess.Popen[bytes]) -> OSError | None:
    """Write the tar stream and close it; returns why that was not possible, if the far side hung up."""
    if process.stdin is None:
        raise ClientError("ssh has no standard input")
    try:
        with process.stdin as pipe, tarfile.open(mode="w|", fileobj=pipe, format=tarfile.PAX_FORMAT) as archive:
            _add_members(archive, content, name, algorithm)
    except BrokenPipeError as error:
        return error
    except BaseException:
        # Half a stream must not look like a whole one: put-wal refuses it without the sums.
        process.terminate()
        raise
    return None


def _add_members(archive: tarfile.TarFile, content: BinaryIO, name: str, algorithm: str) -> None:
    status = os.fstat(content.fileno())
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = status.st_size, status.st_mode & 0o7777, status.st_mtime
    reader = _DigestReader(content, algorithm)
    try:
        archive.addfile(member, cast("BinaryIO", reader))
    except (tarfile.TarError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise ClientError(f"cannot read all of {name}: {error}") from error
    sums = f"{reader.digest.hexdigest()} *{name}\n".encode()
    listing = tarfile.TarInfo("MD5SUMS" if algorithm == "md5" else "SHA256SUMS")
    listing.size, listing.mode = len(sums), 0o644
    archive.addfile(listing, io.BytesIO(sums))


class _DigestReader:
    """Reads a file and computes the digest of what was read."""

    def __init__(self, file: BinaryIO, algorithm: str) -> None:
        self._file = file
        # MD5 is for receivers that know nothing else; it guards against accidents, not against attackers.
        self.digest = hashlib.new(algorithm, usedforsecurity=False)

    def read(self, size: int = _CHUNK) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        return data


def _status(status: int, options: argparse.Namespace) -> int:
    """Return our exit code for that of ssh."""
    if status == SSH_FAILED:
        raise ClientError(f"cannot connect to {options.user}@{options.barman_host} by ssh", _SSH_FAILED_STATUS)
    return status if status >= 0 else FAILED
