"""Unpacking tarballs as a stream: never more than a piece of them in memory, never a file outside its place."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import tarfile
from typing import TYPE_CHECKING, BinaryIO, cast

from barman.errors import CatalogError, Encrypted, Permanent, WalError
from barman.host.files import naming, start_flush
from barman.host.read_ahead import reading_ahead
from barman.host.transfer import work_through, write_all
from barman.restore.fetch import make_directory
from barman.storage.compress.codecs import LONGEST_MAGIC, identify, open_reader
from barman.storage.encrypt.openpgp import is_openpgp
from barman.wal.tar_stream import CHUNK, TarReader

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from barman.host.transfer import Flow
    from barman.restore.fetch import Route
    from barman.restore.plan import Tarball
    from barman.storage.encrypt.gpg import Decryption
    from barman.wal.tar_stream import Member

# What pg_basebackup writes, and links of other kinds.
_KNOWN_TYPES = frozenset({tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE})
_FLUSHED_AT_ONCE = 8 << 20
# A tarball ends with two blocks of zeros. Source: POSIX, pax, "ustar Interchange Format".
_END_SIZE = 1024


def extract_all(
    source: Path,
    tarballs: Iterable[Tarball],
    routes: Mapping[int | None, Route],
    *,
    workers: int,
    flow: Flow,
    decryption: Decryption | None = None,
) -> None:
    """Unpack the tarballs of a backup's data directory source, some at a time, each with the route of what it holds.

    decryption: for those that are encrypted.
    """
    tasks = (
        functools.partial(extract, source / tarball.name, routes[tarball.oid], flow, decryption=decryption)
        for tarball in tarballs
        if tarball.oid in routes
    )
    work_through(tasks, workers=workers, flow=flow)


def extract(tarball: Path, route: Route, flow: Flow, *, decryption: Decryption | None = None) -> None:
    """Write the members of tarball, compressed, encrypted or not, to where route sends them; directories are made.

    Links are left out: the only ones PostgreSQL puts there are those of pg_tblspc, which lead elsewhere now. Raises
    CatalogError, naming tarball, when it is damaged, ends early, or holds a name that leads out of its directory;
    Encrypted when it cannot be decrypted.
    """
    try:
        with open_tarball(tarball, decryption) as file, reading_ahead(unpacked(file)) as ahead:
            reader = Tailed(cast("BinaryIO", ahead))
            archive = TarReader(cast("BinaryIO", reader))
            while (member := archive.next_member()) is not None:
                _write(archive, member, route, flow)
            reader.require_end()
    except Encrypted:
        raise
    except (WalError, Permanent, EOFError) as error:
        raise CatalogError(f"{tarball} is damaged: {error}") from error


@contextlib.contextmanager
def open_tarball(tarball: Path, decryption: Decryption | None) -> Iterator[io.BufferedReader]:
    """Give a reader of the tarball, as compressed as it is, but decrypted as it is read; peek gives its first bytes.

    Encrypted, perhaps only at the end, if it cannot be decrypted; Permanent if the encrypted data are damaged.
    """
    with tarball.open("rb") as file:
        if not is_openpgp(file.peek(LONGEST_MAGIC)):
            yield file
            return
        if decryption is None:
            raise Encrypted(f"{tarball} is encrypted, and there is no passphrase for it")
        # Not through file, which has read ahead.
        with tarball.open("rb", buffering=0) as stored, decryption.reading(cast("BinaryIO", stored)) as reader:
            yield io.BufferedReader(cast("io.RawIOBase", reader), CHUNK)


def unpacked(file: io.BufferedReader) -> BinaryIO:
    """Return a reader of what an opened tarball is once decompressed; file itself if it is not compressed."""
    algorithm = identify(file.peek(LONGEST_MAGIC))
    plain = cast("BinaryIO", file)
    return open_reader(plain, algorithm) if algorithm else plain


def _write(archive: TarReader, member: Member, route: Route, flow: Flow) -> None:
    if member.type not in _KNOWN_TYPES:
        raise WalError(f"a member of type {member.type!r}, which PostgreSQL never writes")
    name = member.name.removeprefix("./").rstrip("/")
    if name.startswith("/") or ".." in name.split("/"):
        raise WalError(f"unsafe member name {member.name!r}")
    target = None if name in ("", ".") else route(name)
    if target is not None and member.type == tarfile.DIRTYPE:
        make_directory(target, member.mode & 0o777)
    if target is None or not member.is_file:
        archive.copy(member.size, lambda _piece: None)
        return
    with naming(target), open(target, "wb", buffering=0) as writer:
        descriptor = writer.fileno()
        archive.copy(member.size, _Sink(descriptor, flow, target).take)
        os.fchmod(descriptor, member.mode & 0o777)
        os.utime(descriptor, (member.mtime, member.mtime))


class _Sink:
    """Takes the content of a file, piece by piece."""

    def __init__(self, descriptor: int, flow: Flow, target: str) -> None:
        self._descriptor = descriptor
        self._flow = flow
        self._target = target
        self._size = 0
        self._flushed = 0

    def take(self, piece: memoryview) -> None:
        """Write a piece; it is being flushed soon."""
        write_all(self._descriptor, piece)
        self._size += len(piece)
        if len(piece) < CHUNK or self._size - self._flushed >= _FLUSHED_AT_ONCE:
            start_flush(self._descriptor, self._flushed, self._size - self._flushed)
            self._flushed = self._size
        self._flow.passed(len(piece))


class Tailed:
    """Reads an uncompressed tarball from another file, and knows the last bytes that came."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._tail = b""

    def read(self, size: int) -> bytes:
        """Return up to size bytes."""
        data = self._file.read(size)
        self._remember(data)
        return data

    def readinto(self, buffer: memoryview) -> int:
        """Read into buffer; return how many bytes, 0 at the end."""
        size: int = self._file.readinto(buffer)  # type: ignore[attr-defined]
        self._remember(buffer[max(0, size - _END_SIZE) : size])
        return size

    def require_end(self) -> None:
        """Read what follows the last member, so that a codec's check sum there is looked at; Permanent if it is no end.

        Readers of tarballs take a file that was cut between two members for a whole one.
        """
        while self.read(CHUNK):
            pass
        if self._tail != bytes(_END_SIZE):
            raise Permanent("it ends early")

    def _remember(self, data: bytes | memoryview) -> None:
        self._tail = (self._tail + bytes(data[-_END_SIZE:]))[-_END_SIZE:]
