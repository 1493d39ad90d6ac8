"""How much WAL lies between names: many ranges counted in one pass over the ledger. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, NamedTuple

from barman.catalog.xlog_lines import WalEntry, parse_row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from barman.catalog.xlog_lines import Columns, Row


class WalTotals(NamedTuple):
    """How many segments a range has, their stored size, and the lowest and highest of them, None if there are none."""

    files: int = 0
    size_bytes: int = 0
    first: WalEntry | None = None
    last: WalEntry | None = None


class Cells:
    """Totals of the stretches between all ends of all ranges."""

    def __init__(self, ranges: Iterable[tuple[str, str]]) -> None:
        """ranges: first and last segment of each, both included."""
        cuts = set()
        for first, last in ranges:
            cuts |= {first.encode(), _behind(last)}
        self._cuts = sorted(cuts)
        self._cells = [_Cell() for _ in range(len(cuts) + 1)]

    def add(self, columns: Columns) -> None:
        """Count the segments among lines that are in order."""
        for cell, part in self._split(columns.segments()):
            cell.count += len(part.names)
            cell.size_bytes += sum(map(int, part.sizes))
            cell.stretch(part.row(0))
            cell.stretch(part.row(-1))

    def remove(self, columns: Columns) -> None:
        """Take back segments that were added; lines of the same names will be added instead."""
        for cell, part in self._split(columns.segments()):
            cell.count -= len(part.names)
            cell.size_bytes -= sum(map(int, part.sizes))

    def total(self, first: str, last: str) -> WalTotals:
        """Return what lies between two names, both included; they are ends of a range given at the beginning."""
        start = bisect_right(self._cuts, first.encode())
        stop = bisect_right(self._cuts, _behind(last))
        cells = [cell for cell in self._cells[start:stop] if cell.count]
        if not cells:
            return WalTotals()
        return WalTotals(
            files=sum(cell.count for cell in cells),
            size_bytes=sum(cell.size_bytes for cell in cells),
            first=_entry(cells[0].first),
            last=_entry(cells[-1].last),
        )

    def _split(self, columns: Columns) -> Iterator[tuple[_Cell, Columns]]:
        names = columns.names
        start = 0
        while start < len(names):
            index = bisect_right(self._cuts, names[start])
            stop = bisect_left(names, self._cuts[index], start) if index < len(self._cuts) else len(names)
            yield self._cells[index], columns.part(start, stop)
            start = stop


class _Cell:
    """Sums over neighbouring segments, and the lowest and highest of them."""

    __slots__ = ("count", "first", "last", "size_bytes")

    def __init__(self) -> None:
        self.count = 0
        self.size_bytes = 0
        self.first: Row | None = None
        self.last: Row | None = None

    def stretch(self, row: Row) -> None:
        if self.first is None or row[0] <= self.first[0]:
            self.first = row
        if self.last is None or row[0] >= self.last[0]:
            self.last = row


def _entry(row: Row | None) -> WalEntry | None:
    return None if row is None else parse_row(row)


def _behind(name: str) -> bytes:
    """Return what sorts directly behind the segment name."""
    return name.encode() + b"\0"
