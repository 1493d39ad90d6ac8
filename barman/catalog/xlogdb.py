"""xlog.db, the ledger of the WAL archive: which files are there, and how they are stored.

Readers take no lock: an append is one write whose torn end is recognised, everything else replaces the whole file.
Writers hold the lock. Lines may be in any order and double; the last line of a name counts. A million lines are read in
a tenth of a second, so there is no index to go stale: what is mostly in order is summed by columns, the few lines that
are late are kept aside.
"""

from __future__ import annotations

import contextlib
import heapq
import logging
import os
import sys
from bisect import bisect_right
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from barman.catalog.xlog_lines import (
    Columns,
    WalEntry,
    columns_of,
    format_entry,
    is_complete_line,
    parse_chunk,
    parse_row,
)
from barman.catalog.xlog_reading import CHUNK_BYTES, Reading, TooManyLateError
from barman.catalog.xlog_sorting import sorted_reading
from barman.catalog.xlog_totals import Cells, WalTotals
from barman.errors import CatalogError
from barman.host.files import make_directories, naming, remove_stale_temporaries, replacing
from barman.postgres.wal_names import DEFAULT_SEGMENT_SIZE, timeline_of
from barman.postgres.wal_runs import RunCollector

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from barman.catalog.xlog_lines import Row
    from barman.postgres.wal_runs import SegmentRuns

__all__ = ["LedgerWriter", "Overview", "WalEntry", "WalTotals", "XlogDb"]

_log = logging.getLogger(__name__)

_FEW_NAMES = 8


class Overview(NamedTuple):
    """What one look at the ledger tells. totals: of the ranges asked for. histories: names of the history files."""

    totals: list[WalTotals]
    runs: SegmentRuns
    histories: list[str]


class XlogDb:
    """The ledger of one server's WAL archive."""

    def __init__(
        self,
        path: Path,
        lock: Callable[[], AbstractContextManager[object]],
        scan: Callable[[], Iterable[WalEntry]],
    ) -> None:
        """lock: exclusive, waiting, not reentrant. scan: what the archive really holds, in name order."""
        self.path = path
        self._lock = lock
        self._scan = scan

    # Reading

    def entries(self, first: str | None = None, last: str | None = None) -> Iterator[WalEntry]:
        """Yield the entries from first to last, both included, in name order, each name once; None: no bound."""
        low = (first or "").encode()
        high = None if last is None else last.encode()
        with self._reading() as reading, _surveyed(reading) as (reading, all_late):
            late = [row for row in all_late if low <= row[0] and (high is None or row[0] <= high)]
            rows = reading.rows(low, high)
            if late:
                replaced = {row[0] for row in late}
                rows = heapq.merge((row for row in rows if row[0] not in replaced), late)
            yield from map(parse_row, rows)

    def get(self, names: Collection[str]) -> dict[str, WalEntry]:
        """Return the entries of those names that have one."""
        wanted = {name.encode() for name in names}
        found: dict[str, WalEntry] = {}
        if not wanted:
            return found
        with self._reading() as reading:
            for chunk in reading.chunks():
                # A memory search is some ten times faster than splitting the lines.
                if len(wanted) <= _FEW_NAMES and not any(name in chunk for name in wanted):
                    continue
                columns = parse_chunk(chunk)
                for name in wanted.intersection(columns.names):
                    index = len(columns.names) - 1 - columns.names[::-1].index(name)
                    found[name.decode()] = parse_row(columns.row(index))
        return found

    def totals(self, ranges: Sequence[tuple[str, str]]) -> list[WalTotals]:
        """Return count and size of the segments in each range of names, both ends included; one pass for all of them.

        Labels, partial segments and history files are not counted.
        """
        return self.overview(ranges).totals

    def overview(self, ranges: Sequence[tuple[str, str]] = (), *, segment_size: int = DEFAULT_SEGMENT_SIZE) -> Overview:
        """Return totals of ranges as totals does, which segments there are, and the history files; all in one pass.

        segment_size: of the cluster, in bytes; only runs depend on it.
        """
        with self._reading() as reading:
            try:
                return _look_over(reading, ranges, segment_size)
            except TooManyLateError:
                with sorted_reading(reading) as in_order:
                    return _look_over(in_order, ranges, segment_size)

    def newest_per_timeline(self) -> dict[int, WalEntry]:
        """Return the highest segment of each timeline that has any, by timeline."""
        # A line seen twice does no harm here.
        newest: dict[bytes, Row] = {}

        def visit(columns: Columns) -> None:
            columns = columns.segments()
            for index in _timeline_ends(columns.names):
                row = columns.row(index)
                key = row[0][:8]
                if key not in newest or row[0] >= newest[key][0]:
                    newest[key] = row

        with self._reading() as reading, _surveyed(reading, visit) as (_, late):
            visit(columns_of(late))
        return {timeline_of(key.decode()): parse_row(newest[key]) for key in sorted(newest)}

    def is_empty(self, *, from_timeline: int = 0) -> bool:
        """Whether there is no entry at all of timeline from_timeline or a later one."""
        return next(self.entries(f"{from_timeline:08X}"), None) is None

    def history_names(self) -> list[str]:
        """Return the names of the timeline history files, in order."""
        with self._reading() as reading:
            names = {
                name
                for chunk in reading.chunks()
                if b".history" in chunk
                for name in parse_chunk(chunk).names
                if name.endswith(b".history")
            }
        return sorted(name.decode() for name in names)

    # Writing

    def append(self, entries: Sequence[WalEntry]) -> None:
        """Add entries; on return they are durable, on an error none of them is there."""
        with self.writing() as writer:
            writer.append(entries)

    def remove(self, names: Collection[str]) -> None:
        """Drop the lines of names, atomically and durably; names without a line are passed over."""
        with self.writing() as writer:
            writer.remove(names)

    def rebuild(self, visit: Callable[[WalEntry], None] | None = None) -> None:
        """Replace the ledger by what the archive really holds, atomically; visit gets every line."""
        with self.writing() as writer:
            writer.rebuild(visit)

    def sort(self) -> None:
        """Bring the lines into name order, each name once, atomically; for readers that rely on it, as Barman 3.19."""
        with self.writing() as writer:
            writer.sort()

    @contextlib.contextmanager
    def writing(self) -> Iterator[LedgerWriter]:
        """Hold the lock, so that files and lines can be changed together."""
        with self._lock():
            yield LedgerWriter(self.path, self._scan)

    # Opening

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Reading]:
        self._require_ledger()
        with _cannot("read", self.path), open(self.path, "rb", buffering=0) as file:
            reading = Reading(file)
            yield reading
            if reading.broken:
                _log.warning("%s: passed over %s broken lines", self.path, reading.broken)

    def _require_ledger(self) -> None:
        """Rebuild a ledger that is missing, or that was emptied by a crash of a program that rewrites it in place."""
        with _cannot("read", self.path), contextlib.suppress(FileNotFoundError):
            if os.stat(self.path).st_size:
                return
        if next(iter(self._scan()), None) is not None:
            _log.warning("%s is missing or empty: rebuilding it", self.path)
            self.rebuild()
        elif not self.path.exists():
            with self.writing() as writer:
                writer.append(())


class LedgerWriter:
    """What may be done to the ledger while its lock is held; obtained from XlogDb.writing."""

    def __init__(self, path: Path, scan: Callable[[], Iterable[WalEntry]]) -> None:
        """path, scan: as given to XlogDb."""
        self._path = path
        self._scan = scan

    def append(self, entries: Sequence[WalEntry]) -> None:
        """Add entries; on return they are durable, on an error none of them is there. A torn end is cut off first."""
        if not self._path.exists() or not self._path.stat().st_size:
            listed = {entry.name: entry for entry in entries}
            found = (entry for entry in self._scan() if entry.name not in listed)
            self._write_all(map(format_entry, heapq.merge(found, (listed[name] for name in sorted(listed)))))
            return
        lines = b"".join(map(format_entry, entries))
        with _cannot("write", self._path), open(self._path, "r+b", buffering=0) as file, naming(self._path):
            size, tail_is_complete = _repair_end(file)
            try:
                _write(file, b"\n" + lines if tail_is_complete else lines)
                os.fsync(file.fileno())
            except BaseException:
                file.truncate(size)
                raise

    def remove(self, names: Collection[str]) -> None:
        """Drop the lines of names, atomically and durably; broken lines go with them."""
        unwanted = {name.encode() for name in names}
        if not unwanted or not self._path.exists():
            return
        with _cannot("write", self._path), open(self._path, "rb", buffering=0) as old, self._replacing() as new:
            reading = Reading(old)
            for chunk in reading.chunks():
                columns = parse_chunk(chunk)
                if columns.broken or not unwanted.isdisjoint(columns.names):
                    kept = (row for row in columns.rows() if row[0] not in unwanted)
                    new.writelines(b"\t".join(row) + b"\n" for row in kept)
                else:
                    new.write(chunk)

    def sort(self) -> None:
        """Bring the lines into name order, each name once; nothing is written if they are."""
        if not self._path.exists():
            return
        with (
            _cannot("read", self._path),
            open(self._path, "rb", buffering=0) as file,
            _surveyed(Reading(file)) as (reading, late),
        ):
            if late or reading.is_mixed:
                replaced = {row[0] for row in late}
                in_time = (row for row in reading.rows(b"", None) if row[0] not in replaced)
                self._write_all(b"\t".join(row) + b"\n" for row in heapq.merge(in_time, late))

    def rebuild(self, visit: Callable[[WalEntry], None] | None = None) -> None:
        """Replace the ledger by what the archive really holds, atomically; visit gets every line.

        The compression of an encrypted file cannot be seen from outside; the old line's is kept.
        """
        known = self._compressions_of_encrypted()

        def lines() -> Iterator[bytes]:
            for entry in self._scan():
                if entry.encryption is not None and entry.name.encode() in known:
                    entry = entry._replace(compression=known[entry.name.encode()])
                if visit is not None:
                    visit(entry)
                yield format_entry(entry)

        self._write_all(lines())

    def _compressions_of_encrypted(self) -> dict[bytes, str]:
        """Return the compression of each encrypted file, by name, where there is one. Small: there may be a million."""
        found: dict[bytes, str] = {}
        with contextlib.suppress(FileNotFoundError), open(self._path, "rb", buffering=0) as file:
            for chunk in Reading(file).chunks():
                columns = parse_chunk(chunk)
                for name, compression, encryption in zip(
                    columns.names, columns.compressions, columns.encryptions, strict=True
                ):
                    if encryption != b"None" and compression != b"None":
                        found[name] = sys.intern(compression.decode())
        return found

    def _write_all(self, lines: Iterable[bytes]) -> None:
        with _cannot("write", self._path):
            make_directories(self._path.parent)
            with self._replacing() as file:
                file.writelines(lines)

    def _replacing(self) -> AbstractContextManager[BinaryIO]:
        """Replace the file, after removing what a crash during an earlier attempt left behind."""
        remove_stale_temporaries(self._path.parent)
        return replacing(self._path)


@contextlib.contextmanager
def _surveyed(
    reading: Reading, visit: Callable[[Columns], None] | None = None
) -> Iterator[tuple[Reading, Sequence[Row]]]:
    """Give a surveyed reading and its late lines; in order, and without any, if there would be very many.

    visit: may get lines twice then, and those that later ones replace.
    """
    try:
        late = reading.survey(visit)
    except TooManyLateError:
        with sorted_reading(reading) as in_order:
            yield in_order, in_order.survey(visit)
    else:
        yield reading, late


def _look_over(reading: Reading, ranges: Sequence[tuple[str, str]], segment_size: int) -> Overview:
    cells = Cells(ranges)
    runs = RunCollector(segment_size)
    histories: set[bytes] = set()

    def visit(columns: Columns) -> None:
        if not columns.only_segments:
            histories.update(name for name in columns.names if name.endswith(b".history"))
            columns = columns.segments()
        runs.add(columns.names)
        if ranges:
            cells.add(columns)

    late = columns_of(reading.survey(visit))
    if late.names:
        names = set(late.names)
        replaced = columns_of(row for row in reading.rows(late.names[0], late.names[-1]) if row[0] in names)
        cells.remove(replaced)
        visit(late)
    totals = [cells.total(first, last) for first, last in ranges]
    return Overview(totals, runs.runs(), sorted(name.decode() for name in histories))


def _timeline_ends(names: Sequence[bytes]) -> Iterator[int]:
    """Yield the index of the highest name of each timeline among names in order."""
    start = 0
    while start < len(names):
        start = bisect_right(names, names[start][:8] + b"G")
        yield start - 1


def _repair_end(file: BinaryIO) -> tuple[int, bool]:
    """Cut off a torn last line; return the size, and whether the last line is whole but for its newline."""
    size = file.seek(0, os.SEEK_END)
    end = size
    tail = b""
    while end and b"\n" not in tail:
        start = max(end - CHUNK_BYTES, 0)
        tail = os.pread(file.fileno(), end - start, start) + tail
        end = start
    line = tail[tail.rfind(b"\n") + 1 :]
    if line and is_complete_line(line):
        return size, True
    if line:
        size = file.truncate(size - len(line))
    file.seek(size)
    return size, False


def _write(file: BinaryIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


@contextlib.contextmanager
def _cannot(verb: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CatalogError(f"cannot {verb} the WAL catalogue {path}: {error.strerror}") from error
