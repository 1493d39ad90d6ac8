"""The WAL archive: the files and the ledger that lists them, changed together."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from barman.catalog.xlogdb import WalEntry, XlogDb
from barman.errors import CatalogError, NotFound
from barman.host import files
from barman.postgres.wal_names import archive_directory, is_wal_name, timeline_of
from barman.storage.encrypt.openpgp import is_openpgp

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    from barman.storage.storage import Entry, PendingBatch, Storage, Write

_MAGIC_BYTES = 16


class ArchivedWal(NamedTuple):
    """A file on its way into the archive. write.key is archive_key of its name; the words go to the ledger."""

    write: Write
    compression: str | None = None
    encryption: str | None = None


def archive_key(name: str) -> str:
    """Return where in the archive the WAL file is stored."""
    directory = archive_directory(name)
    return f"{directory}/{name}" if directory else name


def scan_archive(storage: Storage, identify: Callable[[bytes], str | None]) -> Iterator[WalEntry]:
    """Yield what the archive holds, by reading it: slow, but true whatever the ledger says.

    identify: names the compression that a file with these first bytes has, None if it has none.
    """
    for entry in storage.list():
        name = entry.key.rpartition("/")[2]
        if is_wal_name(name) and entry.key == archive_key(name):
            with contextlib.suppress(NotFound):
                yield _inspect(storage, entry, identify)


class WalArchive:
    """The archived WAL of one server. A file counts once it is there and the ledger has its line."""

    def __init__(
        self,
        storage: Storage,
        xlogdb: XlogDb,
        *,
        open_decoded: Callable[[BinaryIO], BinaryIO],
        identify: Callable[[bytes], str | None],
        directory: Path | None = None,
    ) -> None:
        """open_decoded: wraps a stored file, giving what PostgreSQL wrote. identify: as for scan_archive.

        directory: where storage is, on this machine; hash directories that become empty are removed there.
        """
        self.storage = storage
        self.xlogdb = xlogdb
        self._open_decoded = open_decoded
        self._identify = identify
        self._directory = directory

    # Reading

    def exists(self, name: str) -> bool:
        """Whether the file is there, in the ledger or not."""
        return self.storage.exists(archive_key(name))

    def entry(self, name: str) -> WalEntry | None:
        """Return the line of name, None if it has none."""
        return self.xlogdb.get([name]).get(name)

    def open(self, name: str) -> BinaryIO:
        """Open the file as it is stored; NotFound if it is not there."""
        return self.storage.open(archive_key(name))

    def open_decoded(self, name: str) -> BinaryIO:
        """Open the file as PostgreSQL wrote it; NotFound if it is not there."""
        return self.decode(self.open(name))

    def decode(self, file: BinaryIO) -> BinaryIO:
        """Return what PostgreSQL wrote, given an open file as archives store it, from here or elsewhere."""
        return self._open_decoded(file)

    def missing(self, names: Sequence[str]) -> list[str]:
        """Return those of names, in the order given, that lack their line or their file."""
        listed = self.xlogdb.get(names)
        return [name for name in names if name not in listed or not self.exists(name)]

    def newest_segment(self, timeline: int | None = None) -> str | None:
        """Return the highest segment of timeline, or of the highest timeline that has any; None if there is none."""
        newest = self.xlogdb.newest_per_timeline()
        if timeline is None:
            timeline = max(newest, default=0)
        return newest[timeline].name if timeline in newest else None

    def timelines(self) -> list[int]:
        """Return the timelines the archive knows, from segments or from history files, ascending."""
        histories = {timeline_of(name) for name in self.xlogdb.history_names()}
        return sorted(histories.union(self.xlogdb.newest_per_timeline()))

    def history(self, timeline: int) -> str | None:
        """Return the text of a timeline's history file, None if it is not in the archive (timeline 1 never is)."""
        try:
            with self.open_decoded(f"{timeline:08X}.history") as file:
                return file.read().decode(errors="replace")
        except NotFound:
            return None

    # Changing

    def add(self, batch: Sequence[ArchivedWal], *, workers: int = 1) -> Sequence[WalEntry]:
        """Store files and list them; on return both are durable. Returns their lines in the order given.

        On an error the ledger is as before; files may be there without a line, see heal.
        """
        with ThreadPoolExecutor(max_workers=max(1, workers), thread_name_prefix="write") as pool:
            return self.begin(batch, pool=pool).finish()

    def begin(self, batch: Sequence[ArchivedWal], *, pool: Executor) -> PendingWal:
        """Have pool produce what is to be stored, and return: the first half of add. pool must outlive the result."""
        return PendingWal(batch, self.storage.begin_batch([wal.write for wal in batch], pool=pool), self.xlogdb)

    def heal(self, names: Collection[str]) -> Sequence[WalEntry]:
        """Make files that are there durable and listed, as add would have; return the new lines.

        A crash of whoever added them may have come between any two steps. What has a line is durable itself.
        """
        if not names:
            return []
        # Looking takes no lock: reading may have to rebuild a missing ledger, which does.
        unlisted = sorted(set(names).difference(self.xlogdb.get(names)))
        self.storage.sync([archive_key(name) for name in unlisted])
        entries = []
        for name in unlisted:
            with contextlib.suppress(NotFound):
                entries.append(_inspect(self.storage, self.storage.stat(archive_key(name)), self._identify))
        # Also without any: the lines that are there may not be durable yet.
        self.xlogdb.append(entries)
        return entries

    def remove(self, names: Sequence[str]) -> None:
        """Remove exactly these files, then their lines, durably; what is not there is passed over.

        A crash in between leaves lines without files, which the same call made again removes. Nobody who adds files
        has to wait until all of these are gone; what is added anew meanwhile stays.
        """
        self.storage.delete_batch([archive_key(name) for name in names])
        with self.xlogdb.writing() as ledger:
            self._remove_empty_directories(names)
            ledger.remove(set(names).difference(self._present(names)))

    def rebuild(self, visit: Callable[[WalEntry], None] | None = None) -> None:
        """Make the ledger anew from the files; visit gets every line."""
        self.xlogdb.rebuild(visit)

    def _present(self, names: Sequence[str]) -> Iterator[str]:
        """Yield those of names that are there, and others; looks at directories, which is faster than at each."""
        for directory in dict.fromkeys(map(archive_directory, names)):
            if directory:
                yield from (entry.key.rpartition("/")[2] for entry in self.storage.list(f"{directory}/"))
        yield from (name for name in names if not archive_directory(name) and self.exists(name))

    def _remove_empty_directories(self, names: Sequence[str]) -> None:
        if self._directory is None:
            return
        # Files get their names under the lock we hold; whoever has not come so far makes the directory again.
        hash_directories = sorted(set(map(archive_directory, names)) - {""})
        removed = False
        for directory in hash_directories:
            with contextlib.suppress(OSError):
                (self._directory / directory).rmdir()
                removed = True
        if removed:
            try:
                files.fsync_directory(self._directory)
            except OSError as error:
                raise CatalogError(f"cannot write {self._directory}: {error.strerror}") from error


class PendingWal:
    """Files on their way into the archive, of which nothing is in it yet. Ends with finish or discard."""

    def __init__(self, batch: Sequence[ArchivedWal], pending: PendingBatch, xlogdb: XlogDb) -> None:
        """pending: the files of batch."""
        self._batch = batch
        self._pending = pending
        self._xlogdb = xlogdb

    def finish(self) -> Sequence[WalEntry]:
        """The second half of WalArchive.add."""
        try:
            # Under the lock of those who remove files, and with them directories that become empty.
            with self._xlogdb.writing() as ledger:
                entries = [
                    WalEntry(entry.key.rpartition("/")[2], entry.size, _seconds(entry), wal.compression, wal.encryption)
                    for entry, wal in zip(self._pending.finish(), self._batch, strict=True)
                ]
                ledger.append(entries)
        finally:
            self._pending.discard()
        return entries

    def discard(self) -> None:
        """Give the files up; nothing happens after finish."""
        self._pending.discard()


def _inspect(storage: Storage, entry: Entry, identify: Callable[[bytes], str | None]) -> WalEntry:
    with storage.open(entry.key) as file:
        start = file.read(_MAGIC_BYTES)
    name = entry.key.rpartition("/")[2]
    if is_openpgp(start):
        return WalEntry(name, entry.size, _seconds(entry), None, "gpg")
    return WalEntry(name, entry.size, _seconds(entry), identify(start), None)


def _seconds(entry: Entry) -> float:
    """Return the modification time as os.stat gives it, so that both writers of the ledger write the same digits."""
    seconds, nanoseconds = divmod(entry.mtime_ns, 1_000_000_000)
    return seconds + 1e-9 * nanoseconds
