"""Sending WAL files to put-wal: one tar stream over one ssh, then word of what is stored durably. Hot-safe.

To log in takes longer than all the rest: ssh is started first, and what can be done, or loaded, meanwhile, is.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import time
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from barman.client.remote import ClientError, build_put_argv, bulk_options, patience
from barman.client.ssh_process import running_ssh
from barman.host.pipe import widen

if TYPE_CHECKING:
    import argparse
    from collections.abc import Generator, Mapping, Sequence

    from barman.host.patience import Patience
    from barman.wal.tar_stream import TarWriter

_CHUNK = 1 << 20

LOST = 3
"""The exit code when ssh cannot connect, or the connection is lost."""

# Segments are compressed in memory, some ahead by each core; those of more than the usual size on disk, and before ssh
# is started, as it may take longer than put-wal waits for somebody who sends nothing.
_LARGEST_IN_MEMORY = 32 << 20
_MOST_AHEAD = 8

# From so many files on it pays to ask ssh about its ciphers.
_MANY = 4

# As in barman.wal.put, which would take longer to import than these are long.
_REPORT = {"BARMAN.report": "1"}
_STORED = "stored"


class Sent(NamedTuple):
    """A file as it was when it was read. read_at_ns: just before that, in the time of the clock on the wall."""

    path: str
    status: os.stat_result
    read_at_ns: int


class Outcome(NamedTuple):
    """How a transfer ended. status: of ssh. stored: names of those that the far side says it has stored durably.

    broken: why the stream could not be written to its end, if it could not. has_report: the far side names the files
    it stores; one that does not has stored all of them if status is 0, and nobody knows which if not.
    """

    status: int
    sent: Mapping[str, Sent]
    stored: frozenset[str]
    has_report: bool
    broken: OSError | None = None


def ship(options: argparse.Namespace, paths: Sequence[str]) -> Outcome:
    """Send files; those after the first are left out if they cannot be opened.

    ClientError if ssh cannot be started, or the first cannot be opened, or one cannot be read to its end.
    """
    is_batch = len(paths) > 1
    more = bulk_options(options) if len(paths) >= _MANY else ()
    argv = build_put_argv(options, test=False, more=more)
    with contextlib.ExitStack() as stack:
        opened = _open(paths[0], stack)
        is_large = opened.sent.status.st_size > _LARGEST_IN_MEMORY
        first = _prepare(opened, options, stack) if is_large else None
        output = subprocess.PIPE if is_batch else None
        process = stack.enter_context(running_ssh(argv, stdin=subprocess.PIPE, stdout=output))
        limit = stack.enter_context(patience(options, LOST))
        sent: dict[str, Sent] = {}
        contents = _contents(first or _prepare(opened, options, stack), paths[1:], options)
        broken = _send(contents, options, process, sent, is_batch=is_batch, limit=limit)
        limit.renew()
        report = process.stdout.read().decode("utf-8", "replace") if process.stdout else ""
        status = process.wait()
    named = frozenset(name for name in sent if f"{_STORED} {name}" in report.splitlines())
    stored = named or (frozenset(sent) if status == 0 and broken is None else frozenset())
    return Outcome(status, sent, stored, bool(named), broken)


class _Source(NamedTuple):
    """A file that was opened."""

    sent: Sent
    file: BinaryIO


class _Content(NamedTuple):
    """A file that is ready to be sent: what it was, and the bytes that travel. size, mtime, digest: of those."""

    sent: Sent
    bytes: BinaryIO
    size: int
    mtime: float
    digest: str


def _open(path: str, stack: contextlib.ExitStack) -> _Source:
    try:
        wal = stack.enter_context(open(path, "rb"))  # noqa: SIM115 - the stack closes it
    except OSError as error:
        raise ClientError(f"cannot read {path}: {error.strerror}") from error
    return _Source(Sent(path, os.fstat(wal.fileno()), time.time_ns()), wal)


def _prepare(source: _Source, options: argparse.Namespace, stack: contextlib.ExitStack) -> _Content:
    """Compress a file if asked, and take its digest, so that only bytes are moved once ssh is through."""
    sent, wal = source
    size, mtime = sent.status.st_size, sent.status.st_mtime
    try:
        if options.compression:
            wal = _compress(wal, size, options, stack)
            size, mtime = wal.tell(), time.time()
            wal.seek(0)
        return _Content(sent, wal, size, mtime, _digest(wal, options.md5))
    except OSError as error:
        raise ClientError(f"cannot read all of {sent.path}: {error.strerror}") from error


def _digest(file: BinaryIO, algorithm: str) -> str:
    import hashlib

    # MD5 is for receivers that know nothing else; it guards against accidents, not against attackers.
    digest = hashlib.new(algorithm, usedforsecurity=False)
    buffer = memoryview(bytearray(_CHUNK))
    while count := file.readinto(buffer):  # type: ignore[attr-defined]
        digest.update(buffer[:count])
    file.seek(0)
    return digest.hexdigest()


def _contents(first: _Content, others: Sequence[str], options: argparse.Namespace) -> Generator[_Content, None, None]:
    """Yield the contents in order; those after the first are made ready some ahead, by all cores."""
    yield first
    if not others:
        return

    def prepare_other(path: str) -> _Content | None:
        try:
            return _prepare(_open(path, closing), options, closing)
        except ClientError:
            # PostgreSQL will ask for it, if it is still there, and hear why.
            return None

    # Not for a single file: it would take longer to load than to work.
    from concurrent.futures import ThreadPoolExecutor

    ahead = min(os.cpu_count() or 1, _MOST_AHEAD) + 1 if options.compression else 1
    with contextlib.ExitStack() as closing, ThreadPoolExecutor(ahead) as pool:
        waiting = []
        for path in others:
            waiting.append(pool.submit(prepare_other, path))
            if len(waiting) > ahead and (content := waiting.pop(0).result()):
                yield content
                content.bytes.close()
        for future in waiting:
            if content := future.result():
                yield content
                content.bytes.close()


def _compress(wal: BinaryIO, size: int, options: argparse.Namespace, stack: contextlib.ExitStack) -> BinaryIO:
    """Return a file with the compressed content, at its end; on disk if it may be large."""
    from barman.storage.compress import codecs

    target: BinaryIO = io.BytesIO()
    if size > _LARGEST_IN_MEMORY:
        import tempfile

        target = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
    stack.enter_context(target)
    level = codecs.resolve_level(options.compression, options.compression_level)
    with wal:
        codecs.compress_stream(wal, target, options.compression, level)
    return target


def _send(
    contents: Generator[_Content, None, None],
    options: argparse.Namespace,
    process: subprocess.Popen[bytes],
    sent: dict[str, Sent],
    *,
    is_batch: bool,
    limit: Patience,
) -> OSError | None:
    """Write the tar stream and close it; returns why that was not possible, if the far side hung up."""
    from barman.wal.tar_stream import TarWriter

    if process.stdin is None:
        raise ClientError("ssh has no standard input")
    try:
        with contextlib.closing(contents):
            pipe = cast("BinaryIO", process.stdin)
            widen(pipe)
            archive = TarWriter(pipe, _REPORT if is_batch else None, alive=limit.renew)
            sums = []
            for content in contents:
                name = os.path.basename(content.sent.path)
                _add_member(archive, content, name)
                sums.append(f"{content.digest} *{name}\n")
                sent[name] = content.sent
            listing = "".join(sums).encode()
            archive.add("MD5SUMS" if options.md5 == "md5" else "SHA256SUMS", io.BytesIO(listing), len(listing))
            archive.finish()
        pipe.close()
    except BrokenPipeError as error:
        return error
    except BaseException:
        # Half a stream must not look like a whole one: put-wal refuses it without the sums.
        process.terminate()
        raise
    return None


def _add_member(archive: TarWriter, content: _Content, name: str) -> None:
    path, status, _ = content.sent
    try:
        is_whole = archive.add(name, content.bytes, content.size, mtime=content.mtime, mode=status.st_mode & 0o7777)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ClientError(f"cannot read all of {path}: {error.strerror}") from error
    if not is_whole:
        raise ClientError(f"cannot read all of {path}: it has become shorter")
