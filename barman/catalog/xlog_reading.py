"""Reading xlog.db in pieces: in one pass, or in order although some lines come late."""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from barman.catalog.xlog_lines import is_ascending, is_complete_line, parse_chunk, sort_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from barman.catalog.xlog_lines import Columns, Row

CHUNK_BYTES = 64 * 1024

# Those that come late are kept in memory.
_MOST_LATE = 50_000


class TooManyLateError(Exception):
    """So much is out of order that it had better be sorted first."""


class _Part(NamedTuple):
    """A piece of the file: its lines that are not late run from name first to name last."""

    offset: int
    length: int
    first: bytes
    last: bytes


class Reading:
    """The lines of the file as it was when opened; whoever appends meanwhile is not seen."""

    def __init__(self, file: BinaryIO, *, start: int = 0, end: int | None = None) -> None:
        """file: unbuffered. start, end: of what is read of it, at whole lines; None: to the end.

        After survey: broken counts lines that are none, is_mixed tells of pieces out of order.
        """
        self.broken = 0
        self.is_mixed = False
        self._file = file
        self._start = start
        self._size = os.fstat(file.fileno()).st_size if end is None else end
        self._parts: list[_Part] = []

    def chunks(self) -> Iterator[bytes]:
        """Yield the content in pieces of whole lines; a torn last line is left out."""
        for _, chunk in self._located_chunks():
            yield chunk

    def survey(self, visit: Callable[[Columns], None] | None = None) -> list[Row]:
        """Go through the lines once; return those that come late (behind a higher name), in order.

        visit gets all others, in order and each name once, except for those that a late line replaces.
        TooManyLateError if there are very many; visit got some of the lines then.
        """
        high = b""
        late: dict[bytes, Row] = {}
        for offset, chunk in self._located_chunks():
            columns = parse_chunk(chunk)
            self.broken += columns.broken
            if not columns.names:
                continue
            if not is_ascending(columns.names):
                self.is_mixed = True
                columns = sort_columns(columns)
            if columns.names[0] <= high:
                cut = bisect_right(columns.names, high)
                late.update((row[0], row) for row in columns.part(0, cut).rows())
                if len(late) > _MOST_LATE:
                    raise TooManyLateError
                columns = columns.part(cut, len(columns.names))
                if not columns.names:
                    continue
            high = columns.names[-1]
            self._parts.append(_Part(offset, len(chunk), columns.names[0], high))
            if visit is not None:
                visit(columns)
        return [late[name] for name in sorted(late)]

    def rows(self, low: bytes, high: bytes | None) -> Iterator[Row]:
        """Yield the lines between low and high that do not come late, in order. After survey."""
        for part in self._parts:
            if part.last < low or (high is not None and part.first > high):
                continue
            columns = parse_chunk(self._read(part.offset, part.length))
            if not is_ascending(columns.names):
                columns = sort_columns(columns)
            start = bisect_left(columns.names, max(low, part.first))
            stop = len(columns.names) if high is None else bisect_right(columns.names, high)
            yield from columns.part(start, stop).rows()

    def _located_chunks(self) -> Iterator[tuple[int, bytes]]:
        offset = self._start
        while offset < self._size:
            chunk = self._read(offset, CHUNK_BYTES)
            if not chunk:
                # Cut short meanwhile: a failed append, or a program that rewrites the file in place.
                return
            end = chunk.rfind(b"\n") + 1
            if end:
                yield offset, chunk[:end]
            elif offset + len(chunk) >= self._size:
                if is_complete_line(chunk):
                    yield offset, chunk + b"\n"
                return
            # Without any line end this is no text but what a crash left: pass over it.
            offset += end or len(chunk)

    def _read(self, offset: int, length: int) -> bytes:
        return os.pread(self._file.fileno(), min(length, self._size - offset), offset)
