"""Directories that the programs for the PostgreSQL host keep for themselves; segments that wait in one. Hot-safe."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from typing import TYPE_CHECKING, BinaryIO

from barman.client.remote import ClientError
from barman.postgres.wal_names import SEGMENT_SIZES, is_segment_name, next_segment

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_CHUNK = 1 << 20
_ORIGIN = ".origin"
_FETCHED = ".fetched"
_CLUSTER = ".cluster"


def make_own_directory(path: str) -> None:
    """Create a directory, not its parents, that nobody else can write; ClientError if it is not ours or unusable."""
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        status = os.stat(path)
    except OSError as error:
        raise ClientError(f"cannot create the spool directory {path}: {error.strerror}") from error
    if not stat.S_ISDIR(status.st_mode) or not os.access(path, os.W_OK | os.X_OK):
        raise ClientError(f"cannot use the spool directory {path}")
    if status.st_uid not in (os.geteuid(), 0):
        raise ClientError(f"the spool directory {path} belongs to another user")


class Spool:
    """Segments that were fetched before PostgreSQL asked for them. A file has its name only when it is complete.

    A directory belongs to the first origin that fetches into it; any other has a directory of its own in it.
    """

    def __init__(self, directory: str, origin: str) -> None:
        """directory: it need not exist as long as nothing is fetched ahead. origin: where segments come from."""
        self._root = os.path.abspath(directory)
        self._origin = origin
        self.directory = self._root
        if self._read_origin() not in (None, origin):
            self.directory = os.path.join(self._root, self._own_name())

    def create(self) -> None:
        """Create the directory, not its parents. ClientError if it cannot be used or belongs to somebody else."""
        make_own_directory(self._root)
        try:
            with open(self._place(_ORIGIN, self._root), "x", encoding="utf-8") as file:
                file.write(self._origin)
        except FileExistsError:
            # Another one may have come first, this very moment.
            if self._read_origin() != self._origin:
                self.directory = os.path.join(self._root, self._own_name())
                make_own_directory(self.directory)
        except OSError as error:
            raise ClientError(f"cannot write to the spool directory {self._root}: {error.strerror}") from error

    def path(self, name: str) -> str:
        """Return where a complete segment stands."""
        return self._place(name)

    def take(self, name: str, destination: str, *, system_id: str | None) -> bool:
        """Move a file to destination; False if it is not here.

        system_id: of the cluster it is for, None if that is not known. What cannot be the file wanted is dropped.
        """
        source = self.path(name)
        try:
            status = os.lstat(source)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return False
        if not stat.S_ISREG(status.st_mode) or status.st_uid not in (os.geteuid(), 0):
            return False
        if not _is_wanted(source, name, status.st_size, system_id):
            os.unlink(source)
            return False
        try:
            os.rename(source, destination)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            import shutil

            with open(source, "rb") as file, replacing(destination) as target:
                shutil.copyfileobj(file, target, _CHUNK)
            os.unlink(source)
        return True

    def has(self, name: str) -> bool:
        """Whether a segment is here."""
        return os.path.exists(self.path(name))

    def find_gap(self, name: str, segment_size: int) -> tuple[str, int]:
        """Return the first segment after name that is not here, and how many there are in between."""
        count = 0
        name = next_segment(name, segment_size)
        while self.has(name):
            count += 1
            name = next_segment(name, segment_size)
        return name, count

    def note_fetched(self, name: str) -> None:
        """Remember that it was us who put this file here."""
        with open(self._place(_FETCHED), "a", encoding="ascii") as ledger:
            ledger.write(f"{name}\n")

    def is_for(self, system_id: str | None) -> bool:
        """Whether whatever was fetched into it is known to be of that cluster, or nothing is known of the cluster."""
        return system_id is None or self._read(self._place(_CLUSTER)) == self._describe(system_id)

    def begin_anew(self, names: Collection[str], system_id: str | None) -> None:
        """Remove what was fetched but these, and what an interrupted program left; only for who fetches.

        system_id: of the cluster that all that is fetched from now on is checked to be of. As long as it is known, and
        nobody else's segments are here, the file .cluster says where from and what for, for shells: it is what
        `echo "ORIGIN$(od -An -tu8 -N8 global/pg_control)"` prints.
        """
        self._forget_all_but(names)
        mark = self._place(_CLUSTER)
        if system_id is None or any(is_segment_name(name) and name not in names for name in self._list()):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(mark)
        elif not self.is_for(system_id):
            with replacing(mark) as file:
                file.write(self._describe(system_id).encode())

    def _describe(self, system_id: str) -> str:
        return f"{self._origin}{system_id:>21}\n"

    def _list(self) -> list[str]:
        return os.listdir(self.directory)

    def _forget_all_but(self, names: Collection[str]) -> None:
        with contextlib.suppress(FileNotFoundError), open(self._place(_FETCHED), encoding="ascii") as ledger:
            for name in {line.strip() for line in ledger}:
                if is_segment_name(name) and name not in names:
                    with contextlib.suppress(OSError):
                        os.unlink(self.path(name))
        with open(self._place(_FETCHED), "w", encoding="ascii") as ledger:
            ledger.write("".join(f"{name}\n" for name in names))
        for name in self._list():
            if re.fullmatch(r"\.{1,2}[0-9A-F]{24}\.tmp(\.\w+)?", name):
                with contextlib.suppress(OSError):
                    os.unlink(self._place(name))

    def _place(self, name: str, directory: str | None = None) -> str:
        return os.path.join(directory or self.directory, name)

    def _read_origin(self) -> str | None:
        return self._read(self._place(_ORIGIN, self._root))

    def _read(self, path: str) -> str | None:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return None

    def _own_name(self) -> str:
        import hashlib

        return f"origin-{hashlib.sha256(self._origin.encode()).hexdigest()[:16]}"


def _is_wanted(path: str, name: str, size: int, system_id: str | None) -> bool:
    if not is_segment_name(name):
        return size > 0
    if size not in SEGMENT_SIZES:
        return False
    from barman.client.received import check_segment

    return check_segment(path, name, system_id=system_id) is None


@contextlib.contextmanager
def replacing(path: str) -> Iterator[BinaryIO]:
    """Open a file that takes the place of path when the block ends well.

    Not durable: PostgreSQL syncs a restored segment itself before it relies on it. The temporary name is always the
    same, so that what a killed program leaves is overwritten by the next one.
    """
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
