"""Unpacking tarballs as a stream: never more than a piece of them in memory, never a file outside its place."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import stat
import tarfile
from typing import TYPE_CHECKING, BinaryIO, cast

from barman.errors import CatalogError, Encrypted, Permanent
from barman.host.files import naming
from barman.host.transfer import copy_stream, work_through
from barman.restore.fetch import make_directory
from barman.storage.compress.codecs import LONGEST_MAGIC, identify, open_reader
from barman.storage.encrypt.openpgp import is_openpgp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from barman.host.transfer import Flow
    from barman.restore.fetch import Route
    from barman.restore.plan import Tarball
    from barman.storage.encrypt.gpg import Decryption

_BLOCK = 1 << 20
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
        with open_tarball(tarball, decryption) as file:
            algorithm = identify(file.peek(LONGEST_MAGIC))
            plain = cast("BinaryIO", file)
            reader = Tailed(open_reader(plain, algorithm) if algorithm else plain)
            with tarfile.open(fileobj=cast("BinaryIO", reader), mode="r|", bufsize=_BLOCK) as archive:
                while (member := archive.next()) is not None:
                    _write(archive, member, route, flow)
                    # It keeps all it has seen otherwise.
                    archive.members.clear()  # type: ignore[attr-defined]
            reader.require_end()
    except Encrypted:
        raise
    except (tarfile.TarError, Permanent, EOFError) as error:
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
            yield io.BufferedReader(cast("io.RawIOBase", reader), _BLOCK)


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, route: Route, flow: Flow) -> None:
    name = member.name.removeprefix("./").rstrip("/")
    if name in ("", ".") or not (member.isreg() or member.isdir()):
        return
    if name.startswith("/") or ".." in name.split("/"):
        raise tarfile.TarError(f"unsafe member name {member.name!r}")
    target = route(name)
    if target is None:
        return
    if member.isdir():
        make_directory(target, stat.S_IMODE(member.mode))
        return
    source = archive.extractfile(member)
    if source is None:
        raise tarfile.TarError(f"no content of {member.name!r}")
    with naming(target), open(target, "wb", buffering=0) as writer:
        if copy_stream(cast("BinaryIO", source), writer.fileno(), flow, target=target) != member.size:
            raise tarfile.TarError(f"it ends within {member.name!r}")
        os.fchmod(writer.fileno(), stat.S_IMODE(member.mode))
        os.utime(writer.fileno(), (member.mtime, member.mtime))


class Tailed:
    """Reads an uncompressed tarball from another file, and knows the last bytes that came."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._tail = b""

    def read(self, size: int) -> bytes:
        """Return up to size bytes."""
        data = self._file.read(size)
        if data:
            self._tail = (self._tail + data[-_END_SIZE:])[-_END_SIZE:]
        return data

    def require_end(self) -> None:
        """Read what follows the last member, so that a codec's check sum there is looked at; Permanent if it is no end.

        Readers of tarballs take a file that was cut between two members for a whole one.
        """
        while self.read(_BLOCK):
            pass
        if self._tail != bytes(_END_SIZE):
            raise Permanent("it ends early")
