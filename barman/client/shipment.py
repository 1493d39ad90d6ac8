"""Sending WAL files to put-wal: one tar stream over one ssh, then word of what is stored durably. Hot-safe."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import subprocess
import tarfile
import time
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from barman.client.remote import ClientError, build_put_argv, bulk_options, patience
from barman.host.pipe import widen
from barman.wal.tar_stream import TarWriter

if TYPE_CHECKING:
    import argparse
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from barman.host.patience import Patience

LOST = 3
"""The exit code when ssh cannot connect, or the connection is lost."""

# Segments are compressed in memory, some ahead by each core; those of more than the usual size on disk.
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
        first = _open(paths[0], options, stack)
        output = subprocess.PIPE if is_batch else None
        process = stack.enter_context(running_ssh(argv, stdin=subprocess.PIPE, stdout=output))
        limit = stack.enter_context(patience(options, LOST))
        sent: dict[str, Sent] = {}
        broken = _send(_opened(first, paths[1:], options), options, process, sent, is_batch=is_batch, limit=limit)
        limit.renew()
        report = process.stdout.read().decode("utf-8", "replace") if process.stdout else ""
        status = process.wait()
    named = frozenset(name for name in sent if f"{_STORED} {name}" in report.splitlines())
    stored = named or (frozenset(sent) if status == 0 and broken is None else frozenset())
    return Outcome(status, sent, stored, bool(named), broken)


@contextlib.contextmanager
def running_ssh(argv: Sequence[str], *, stdin: int, stdout: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run ssh; it is not left behind whatever happens. ClientError if it cannot be started."""
    try:
        # Without a buffer: what is in one would be written once more when the far side no longer reads.
        process = subprocess.Popen(argv, stdin=stdin, stdout=stdout, bufsize=0)
    except OSError as error:
        raise ClientError(f"cannot run ssh: {error.strerror}") from error
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()


class _Content(NamedTuple):
    """A file that is ready to be sent: what it was, and the bytes that travel. size, mtime: of those."""

    sent: Sent
    bytes: BinaryIO
    size: int
    mtime: float


def _open(path: str, options: argparse.Namespace, stack: contextlib.ExitStack) -> _Content:
    try:
        wal = stack.enter_context(open(path, "rb"))  # noqa: SIM115 - the stack closes it
    except OSError as error:
        raise ClientError(f"cannot read {path}: {error.strerror}") from error
    status = os.fstat(wal.fileno())
    sent = Sent(path, status, time.time_ns())
    if not options.compression:
        return _Content(sent, wal, status.st_size, status.st_mtime)
    target = _compress(wal, status.st_size, options, stack)
    size = target.tell()
    target.seek(0)
    return _Content(sent, target, size, time.time())


def _opened(first: _Content, others: Sequence[str], options: argparse.Namespace) -> Generator[_Content, None, None]:
    """Yield the contents in order; compressed ones are made some ahead, by all cores."""
    yield first
    if not others:
        return

    def open_other(path: str) -> _Content | None:
        try:
            return _open(path, options, closing)
        except ClientError:
            # PostgreSQL will ask for it, if it is still there, and hear why.
            return None

    # Not for a single file: it would take longer to load than to work.
    from concurrent.futures import ThreadPoolExecutor

    ahead = min(os.cpu_count() or 1, _MOST_AHEAD) + 1 if options.compression else 1
    with contextlib.ExitStack() as closing, ThreadPoolExecutor(ahead) as pool:
        waiting = []
        for path in others:
            waiting.append(pool.submit(open_other, path))
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
    if process.stdin is None:
        raise ClientError("ssh has no standard input")
    try:
        with contextlib.closing(contents):
            pipe = cast("BinaryIO", process.stdin)
            widen(pipe)
            archive = TarWriter(pipe, _REPORT if is_batch else None)
            sums = []
            for content in contents:
                name = os.path.basename(content.sent.path)
                sums.append(f"{_add_member(archive, content, name, options.md5, limit)} *{name}\n")
                sent[name] = content.sent
            _add_sums(archive, "".join(sums).encode(), options.md5)
            archive.finish()
        pipe.close()
    except BrokenPipeError as error:
        return error
    except BaseException:
        # Half a stream must not look like a whole one: put-wal refuses it without the sums.
        process.terminate()
        raise
    return None


def _add_member(archive: TarWriter, content: _Content, name: str, algorithm: str, limit: Patience) -> str:
    """Add a file to the stream; return its digest."""
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = content.size, content.mtime, content.sent.status.st_mode & 0o7777
    # MD5 is for receivers that know nothing else; it guards against accidents, not against attackers.
    digest = hashlib.new(algorithm, usedforsecurity=False)

    def look(piece: memoryview) -> None:
        limit.renew()
        digest.update(piece)

    try:
        is_whole = archive.add(member, content.bytes, look)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ClientError(f"cannot read all of {name}: {error.strerror}") from error
    if not is_whole:
        raise ClientError(f"cannot read all of {name}: it has become shorter")
    return digest.hexdigest()


def _add_sums(archive: TarWriter, sums: bytes, algorithm: str) -> None:
    listing = tarfile.TarInfo("MD5SUMS" if algorithm == "md5" else "SHA256SUMS")
    listing.size, listing.mode = len(sums), 0o644
    archive.add(listing, io.BytesIO(sums), len)
