"""The configuration of a backup in tarballs: reading it without unpacking them, as far as that is quick.

Where a file lies in the tarball depends on the file system of the origin; the control file always comes last.
"""

from __future__ import annotations

import os
import re
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from barman.errors import CatalogError, Encrypted, NotFound, Permanent, WalError
from barman.human import pretty_size
from barman.postgres.manifest import read_files
from barman.restore.exclusions import CONTROL_FILE, is_excluded
from barman.restore.extract import open_tarball, unpacked
from barman.restore.settings_plan import SUBSCRIPTIONS
from barman.wal.tar_stream import TarReader

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from barman.storage.encrypt.gpg import Decryption

# So much of what is in a compressed tarball is passed over before we give up: a few seconds. gpg is slower.
_MOST_PASSED_OVER = 2 << 30
_MOST_DECRYPTED = 256 << 20
_LARGEST_KEPT = 1 << 20
_MOST_KEPT = 64 << 20
# PostgreSQL's own directories: no settings are in them. Source: PostgreSQL manual, "Database File Layout".
_DATA = re.compile(
    r"(base|global|log|pg_(clog|commit_ts|dynshmem|log|logical|multixact|notify|replslot|serial|snapshots|stat|"
    r"stat_tmp|subtrans|tblspc|twophase|wal|xact|xlog))/"
)


class _EnoughError(Exception):
    """No more is read."""


@dataclass(frozen=True, slots=True)
class TarredFiles:
    """The configuration files in a tarball, but for what a restore leaves out.

    tarball: its name, for messages; limit: how many bytes of it were looked through at most. sizes: of files that may
    matter, in bytes by name. contents: of those that were read. is_complete: whether sizes has them all. Methods raise
    NotFound for what may be in the part that was not read.
    """

    tarball: str
    limit: int
    sizes: Mapping[str, int]
    contents: Mapping[str, bytes]
    is_complete: bool

    def read(self, name: str) -> str | None:
        """Return the text, bytes that are none as surrogates; None unless it is a file."""
        if self.size(name) is None:
            return None
        return self._content(name).decode("utf-8", "surrogateescape")

    def size(self, name: str) -> int | None:
        """Return the size in bytes; None unless it is a file."""
        size = self.sizes.get(name)
        if size is None and not self.is_complete and not is_excluded(name):
            raise self._unread(name)
        return size

    def listing(self, directory: str) -> Sequence[str]:
        """Return what is in a directory; nothing if there is none."""
        if not self.is_complete:
            raise self._unread(directory)
        inside = f"{directory}/"
        return [name.removeprefix(inside) for name in self.sizes if name.startswith(inside)]

    def leads_out(self, _name: str) -> bool:
        """Return False: PostgreSQL puts no links to files into a backup."""
        return False

    def control_file(self) -> bytes:
        """Return the content of the control file."""
        return self._content(CONTROL_FILE)

    def _content(self, name: str) -> bytes:
        if name not in self.contents:
            raise self._unread(name)
        return self.contents[name]

    def _unread(self, name: str) -> NotFound:
        return NotFound(
            f"{name} was not read: it does not come within the first {pretty_size(self.limit)} of what is in "
            f"{self.tarball}, or is too large itself"
        )


def look_into(tarball: Path, manifest: Path, *, decryption: Decryption | None, limit: int | None = None) -> TarredFiles:
    """Return what is in a tarball of a data directory, of which limit bytes are looked through; None: what is quick.

    One that is neither compressed nor encrypted is looked through as a whole: what does not matter is skipped.
    manifest: tells which files there are if not all were seen; it may be missing. CatalogError if the tarball is
    damaged, Encrypted if it cannot be decrypted.
    """
    sizes: dict[str, int] = {}
    contents: dict[str, bytes] = {}
    if limit is None:
        limit = _MOST_DECRYPTED if tarball.suffix == ".gpg" else _MOST_PASSED_OVER
    try:
        _read(tarball, decryption, limit, sizes, contents)
    except _EnoughError:
        is_complete = manifest.exists()
        if is_complete:
            sizes = _sizes_in(manifest)
        return TarredFiles(tarball.name, limit, sizes, contents, is_complete)
    except Encrypted:
        raise
    except (WalError, Permanent, EOFError) as error:
        raise CatalogError(f"{tarball} is damaged: {error}") from error
    return TarredFiles(tarball.name, limit, sizes, contents, is_complete=True)


def _read(
    tarball: Path, decryption: Decryption | None, limit: int, sizes: dict[str, int], contents: dict[str, bytes]
) -> None:
    """Note the files that matter; _EnoughError if that takes too much."""
    with open_tarball(tarball, decryption) as file:
        stream = unpacked(file)
        archive = TarReader(stream)
        skip = _skipping(archive, stream, limit, can_seek=stream is file and file.seekable())
        kept = 0
        while (member := archive.next_member()) is not None:
            name = member.name.removeprefix("./")
            matters = member.is_file and _matters(name)
            if matters:
                sizes[name] = member.size
            if not matters or member.size > _LARGEST_KEPT:
                skip(member.size)
                continue
            kept += member.size
            if kept > _MOST_KEPT:
                raise _EnoughError
            content = bytearray()
            archive.copy(member.size, content.extend)
            contents[name] = bytes(content)


def _skipping(archive: TarReader, stream: BinaryIO, limit: int, *, can_seek: bool) -> Callable[[int], None]:
    """Return what passes over a file of some size; it raises _EnoughError instead once that would be too much."""
    passed = 0

    def skip(size: int) -> None:
        nonlocal passed
        if can_seek:
            stream.seek(size + -size % tarfile.BLOCKSIZE, os.SEEK_CUR)
            return
        passed += size
        if passed > limit:
            raise _EnoughError
        archive.copy(size, lambda _piece: None)

    return skip


def _matters(name: str) -> bool:
    """Whether a file may hold settings, or tells something of them."""
    return name in (CONTROL_FILE, SUBSCRIPTIONS) or not (_DATA.match(name) or is_excluded(name))


def _sizes_in(manifest: Path) -> dict[str, int]:
    with manifest.open(encoding="utf-8", errors="surrogateescape") as lines:
        return {file.path: file.size for file in read_files(lines) if _matters(file.path)}
