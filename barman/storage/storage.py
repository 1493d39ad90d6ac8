"""Where bytes live: the one port between the catalogue or the WAL archive and a disk or an object store.

Keys are relative POSIX paths ("0000000100000000/000000010000000000000007"), never empty, without "." or ".." parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Executor
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored object. mtime_ns: nanoseconds since the epoch."""

    key: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Write:
    """One object to be written.

    content: the bytes themselves; or a path whose file becomes the object (a local driver may hard-link it, so the
    file must not be modified afterwards; it is left in place); or a function that writes the object to an open file
    (called once, perhaps in another thread). mtime_ns, mode: given to the object; None keeps what a path has, and
    means now and the umask otherwise. check: called when all is ready, just before the object gets its key; what it
    raises keeps it from getting it.
    """

    key: str
    content: bytes | Path | Callable[[BinaryIO], None]
    mtime_ns: int | None = None
    mode: int | None = None
    check: Callable[[], None] | None = None


class PendingBatch(Protocol):
    """A batch whose contents are being produced; no object of it has its key yet. Ends with finish or discard."""

    def finish(self) -> Sequence[Entry]:
        """Do the rest of Storage.write_batch."""

    def discard(self) -> None:
        """Give up what has no key yet, and wait until nobody works on it; nothing happens after finish."""


class Storage(Protocol):
    """A flat map from keys to bytes, with durable atomic writes.

    Every method raises StorageError (NotFound, Transient, Permanent) and nothing else for what the medium does;
    exceptions of a Write's own function pass unchanged. All methods may be called from several threads.
    """

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Yield the objects whose key starts with prefix, in key order; half-written ones never show.

        prefix is a plain text prefix, "" for all. Objects that appear or vanish meanwhile may or may not be seen.
        """

    def stat(self, key: str) -> Entry:
        """Return the object's entry; NotFound if there is none."""

    def exists(self, key: str) -> bool:
        """Whether the object is there; never raises NotFound, but a medium that cannot be asked raises."""

    def open(self, key: str) -> BinaryIO:
        """Return the object opened for reading, seekable; NotFound if there is none."""

    def write_batch(self, writes: Sequence[Write], *, workers: int = 1) -> Sequence[Entry]:
        """Write every object and return their entries in the given order: one durability barrier for the batch.

        On return all objects, and the directories that name them, survive a power cut. An object appears under its
        key only whole; one already there is replaced atomically. On an error the objects that precede the failed one
        may be there (whole), the others are not, temporary files are gone, and the error names the key. Calling it
        again with the same writes is safe. workers: how many contents may be produced at the same time.
        """

    def begin_batch(self, writes: Sequence[Write], *, pool: Executor) -> PendingBatch:
        """Have the contents produced by pool, and return; what comes after that waits for finish, see write_batch.

        So that producing can go on beside the barrier of the batch before. Several may be under way, to be finished in
        any order; pool must outlive them.
        """

    def sync(self, keys: Sequence[str]) -> None:
        """Make objects that are there survive a power cut, as write_batch would have; missing ones are passed over.

        For what another process wrote, which may have been killed before its barrier.
        """

    def delete_batch(self, keys: Sequence[str]) -> None:
        """Delete the objects, durably, those of one directory in the given order; missing keys are passed over."""
