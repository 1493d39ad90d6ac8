"""The text of xlog.db: one line per archived file, name, size, mtime, compression, encryption, parted by tabs. Pure.

Lines come in columns, a chunk at a time, because a million of them pass through here for one list-backups.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import lt
from typing import TYPE_CHECKING, NamedTuple

from barman.postgres.wal_names import is_wal_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    Row = tuple[bytes, bytes, bytes, bytes, bytes]

_FIELDS = 5
_SEGMENT_LENGTH = 24
_ENCRYPTIONS = frozenset((b"None", b"gpg"))


class WalEntry(NamedTuple):
    """One archived file. size: bytes as stored. mtime: seconds since the epoch. None: not compressed, not encrypted."""

    name: str
    size: int
    mtime: float
    compression: str | None = None
    encryption: str | None = None


@dataclass(frozen=True, slots=True)
class Columns:
    """Lines of a chunk, field by field, as they stand in the file.

    broken: how many lines were none. only_segments: whether all names are known to be those of segments.
    """

    names: Sequence[bytes]
    sizes: Sequence[bytes]
    mtimes: Sequence[bytes]
    compressions: Sequence[bytes]
    encryptions: Sequence[bytes]
    broken: int = 0
    only_segments: bool = False

    def row(self, index: int) -> Row:
        """Return one line as its five fields."""
        return (
            self.names[index],
            self.sizes[index],
            self.mtimes[index],
            self.compressions[index],
            self.encryptions[index],
        )

    def rows(self) -> Iterator[Row]:
        """Yield the lines as rows of five fields."""
        return zip(self.names, self.sizes, self.mtimes, self.compressions, self.encryptions, strict=True)

    def part(self, start: int, stop: int) -> Columns:
        """Return the lines from start up to stop."""
        return Columns(
            self.names[start:stop],
            self.sizes[start:stop],
            self.mtimes[start:stop],
            self.compressions[start:stop],
            self.encryptions[start:stop],
            broken=self.broken,
            only_segments=self.only_segments,
        )

    def segments(self) -> Columns:
        """Return the lines of WAL segments only."""
        if self.only_segments:
            return self
        return columns_of((row for row in self.rows() if len(row[0]) == _SEGMENT_LENGTH), only_segments=True)


def format_entry(entry: WalEntry) -> bytes:
    """Return the line of entry, with its newline."""
    name, size, mtime, compression, encryption = entry
    return f"{name}\t{size}\t{mtime!r}\t{compression}\t{encryption}\n".encode()


def parse_row(row: Row) -> WalEntry:
    """Return the entry of five fields as parse_chunk gives them. A time that is none becomes 0: the file counts."""
    name, size, mtime, compression, encryption = row
    return WalEntry(name.decode(), int(size), _seconds(mtime), _word(compression), _word(encryption))


def parse_chunk(chunk: bytes) -> Columns:
    """Return the columns of whole lines.

    Lines of three and four fields (older versions) count as complete; blank and broken ones (torn by a crash, zeroes
    of a power cut) are left out.
    """
    fields = chunk.split()
    if len(fields) % _FIELDS:
        return _parse_lines(chunk)
    # Any line of another shape would shift its neighbours' fields out of these columns.
    names = fields[0::5]
    only_segments = set(map(len, names)) == {_SEGMENT_LENGTH}
    if not (only_segments or _are_aligned(names, fields[4::5])):
        return _parse_lines(chunk)
    # All sizes are looked at in one go; unusual but valid ones are found out line by line.
    if not b"".join(fields[1::5]).isdigit():
        return _parse_lines(chunk)
    return Columns(names, fields[1::5], fields[2::5], fields[3::5], fields[4::5], only_segments=only_segments)


def _are_aligned(names: Sequence[bytes], encryptions: Sequence[bytes]) -> bool:
    """Whether first and last fields are what first and last fields are."""
    return _ENCRYPTIONS.issuperset(encryptions) and all(
        len(name) == _SEGMENT_LENGTH or _is_wal_name(name) for name in names
    )


def is_complete_line(tail: bytes) -> bool:
    """Whether tail, the end of a file without a newline, lacks nothing but that."""
    fields = tail.split()
    return len(fields) == _FIELDS and fields[4] in _ENCRYPTIONS and _parse_line(tail) is not None


def is_ascending(names: Sequence[bytes]) -> bool:
    """Whether names are in order, without duplicates."""
    return all(map(lt, names, names[1:]))


def sort_columns(columns: Columns) -> Columns:
    """Return the lines in name order; of several with one name only the last."""
    rows = {row[0]: row for row in columns.rows()}
    return columns_of((rows[name] for name in sorted(rows)), broken=columns.broken)


def columns_of(rows: Iterable[Row], *, broken: int = 0, only_segments: bool = False) -> Columns:
    """Return rows of five fields as columns."""
    names, sizes, mtimes, compressions, encryptions = list(zip(*rows, strict=True)) or ((),) * _FIELDS
    return Columns(names, sizes, mtimes, compressions, encryptions, broken=broken, only_segments=only_segments)


def _parse_lines(chunk: bytes) -> Columns:
    rows = []
    broken = 0
    for line in chunk.split(b"\n"):
        row = _parse_line(line)
        if row is not None:
            rows.append(row)
        elif line.strip(b"\0 \t\r"):
            broken += 1
    return columns_of(rows, broken=broken)


def _parse_line(line: bytes) -> Row | None:
    # After a power cut, zeroes may stand where lines were; what was appended later follows them directly.
    fields = line.strip(b"\0").split()
    if not 3 <= len(fields) <= _FIELDS or not _is_wal_name(fields[0]):
        return None
    if not fields[1].isdigit():
        return None
    name, size, mtime, compression, encryption = (*fields, b"None", b"None")[:_FIELDS]
    return name, size, mtime, compression, encryption


def _seconds(field: bytes) -> float:
    try:
        return float(field)
    except ValueError:
        return 0.0


def _word(field: bytes) -> str | None:
    return None if field == b"None" else field.decode()


def _is_wal_name(name: bytes) -> bool:
    return is_wal_name(name.decode("ascii", "replace"))
