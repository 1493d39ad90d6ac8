"""Records in a WAL segment: where transactions end, and restore points. Pure.

Source: PostgreSQL source, access/xlogrecord.h (XLogRecord), access/xact.h (xl_xact_commit), access/xlog_internal.h
(xl_restore_point, page headers), access/transam/xlogreader.c.
"""

from __future__ import annotations

import re
import struct
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, NamedTuple

from barman.errors import WalError
from barman.postgres.wal_header import parse_page_header

if TYPE_CHECKING:
    from collections.abc import Iterator

_EPOCH = datetime(2000, 1, 1, tzinfo=timezone.utc)
_PAGE_HEADER = struct.Struct("HHIQI4x")
_RECORD_HEADER = struct.Struct("IIQBB2xI")
_SHORT_PAGE_HEADER, _LONG_PAGE_HEADER = 24, 40
_CONTINUES = 0x0001

_XLOG, _TRANSACTION = 0, 1
_SWITCH, _RESTORE_POINT = 0x40, 0x70
_OPERATION = 0x70
# Commit, abort, and both of a prepared transaction.
_COMMITS = frozenset({0x00, 0x30})
_PREPARED = frozenset({0x30, 0x40})
_ENDS = frozenset({0x00, 0x20, 0x30, 0x40})
_SHORT_DATA, _LONG_DATA = 255, 254
_NAME_BYTES = 64
_RESTORE_POINT_DATA = 8 + _NAME_BYTES
_RESTORE_POINT_SIZE = _RECORD_HEADER.size + 2 + _RESTORE_POINT_DATA


class TransactionEnd(NamedTuple):
    """A commit or abort. lsn: where its record begins. also: the xid of the prepared transaction may be among these.

    xid: of the record itself, which is 0 or another one for prepared transactions.
    """

    lsn: int
    xid: int
    time: datetime
    is_commit: bool
    also: bytes = b""

    def ends(self, xid: int) -> bool:
        """Whether it ends the transaction (its last 32 bits count); of a prepared one, whether it may."""
        short = xid & 0xFFFFFFFF
        return self.xid == short or any(short.to_bytes(4, order) in self.also for order in ("little", "big"))


class RestorePoint(NamedTuple):
    """A named restore point. lsn: where its record begins."""

    lsn: int
    time: datetime
    name: str


class SegmentRecords:
    """The records that begin in one segment, as far as its WAL is valid."""

    def __init__(self, content: bytes) -> None:
        """content: of a whole segment, or of an unfinished one. WalError if it does not begin as a segment does."""
        header = parse_page_header(content)
        if header.page_size is None or header.segment_size is None:
            raise WalError("it does not begin with the header of a WAL segment")
        self._order = "<" if content[:2] == struct.pack("<H", header.magic) else ">"
        self._page = header.page_size
        self.start = header.address
        self._whole = header.segment_size // self._page * (self._page - _SHORT_PAGE_HEADER) - (
            _LONG_PAGE_HEADER - _SHORT_PAGE_HEADER
        )
        self._stream, self._breaks = self._without_headers(content)

    @property
    def last_start(self) -> int | None:
        """Where the last record that begins here begins; None if none does."""
        last = None
        for offset, *_ in self._records():
            last = offset
        return None if last is None else self._lsn(last)

    @property
    def broken_at(self) -> int | None:
        """Where the records of a complete segment break off; None if they lead to its end, or to a switch before it."""
        end = _aligned(self._breaks.get(0, 0))
        for offset, length, _, info, manager in self._records():
            end = offset + _aligned(length)
            if manager == _XLOG and info & 0xF0 == _SWITCH:
                return None
        # In less room than a header takes, a record begins that goes on in the next segment.
        end = min(end, len(self._stream))
        return None if end + _RECORD_HEADER.size > self._whole else self._lsn(end)

    def transaction_ends(self) -> Iterator[TransactionEnd]:
        """Yield the commits and aborts, in order."""
        for offset, length, xid, info, manager in self._records():
            operation = info & _OPERATION
            if manager == _TRANSACTION and operation in _ENDS:
                data = self._main_data(offset, length)
                if len(data) >= 8:
                    also = data[8:] if operation in _PREPARED else b""
                    yield TransactionEnd(self._lsn(offset), xid, self._time(data), operation in _COMMITS, also)

    def mentions(self, xid: int) -> bool:
        """Whether the number of a transaction (its last 32 bits) stands anywhere: without it, it does not end here."""
        return struct.pack(f"{self._order}I", xid & 0xFFFFFFFF) in self._stream

    def restore_points(self) -> Iterator[RestorePoint]:
        """Yield the restore points, in order; where there are none, a search that is much faster than reading."""
        if not self._may_hold_restore_points():
            return
        for offset, length, _, info, manager in self._records():
            if manager == _XLOG and info & 0xF0 == _RESTORE_POINT and length == _RESTORE_POINT_SIZE:
                data = self._main_data(offset, length)
                name = data[8:].partition(b"\0")[0].decode("utf-8", "surrogateescape")
                yield RestorePoint(self._lsn(offset), self._time(data), name)

    def _may_hold_restore_points(self) -> bool:
        size = re.escape(struct.pack(f"{self._order}I", _RESTORE_POINT_SIZE))
        data = re.escape(bytes([_SHORT_DATA, _RESTORE_POINT_DATA]))
        return re.search(size + rb".{12}[\x70-\x7f]\x00\x00\x00.{4}" + data, self._stream, re.DOTALL) is not None

    def _without_headers(self, content: bytes) -> tuple[bytes, dict[int, int]]:
        """Return what is between the page headers, up to the first page that is not of this segment.

        Also how many bytes of the last record are still to come at the begin of each page, by offset in the result.
        """
        unpack = struct.Struct(self._order + _PAGE_HEADER.format).unpack_from
        pieces = []
        breaks = {}
        offset = 0
        for page in range(0, len(content) - self._page + 1, self._page):
            _, info, _, address, remaining = unpack(content, page)
            if address != self.start + page:
                break
            breaks[offset] = remaining if info & _CONTINUES else 0
            piece = content[page + (_SHORT_PAGE_HEADER if page else _LONG_PAGE_HEADER) : page + self._page]
            pieces.append(piece)
            offset += len(piece)
        return b"".join(pieces), breaks

    def _records(self) -> Iterator[tuple[int, int, int, int, int]]:
        """Yield offset, length, xid, info and resource manager of each record, as far as they follow each other."""
        unpack = struct.Struct(self._order + _RECORD_HEADER.format).unpack_from
        stream, header_size = self._stream, _RECORD_HEADER.size
        offset, before = _aligned(self._breaks.get(0, 0)), None
        while offset + header_size <= len(stream):
            length, xid, previous, info, manager, _ = unpack(stream, offset)
            if length < header_size or (before is not None and previous != before):
                return
            lost = self._lost_at(offset, length)
            if lost is not None:
                # The server stopped within it, and the next one began anew with the page that follows.
                offset, before = lost, None
                continue
            yield offset, length, xid, info, manager
            before = self._lsn(offset)
            offset += _aligned(length)

    def _lost_at(self, offset: int, length: int) -> int | None:
        """Return the begin of the first page on which the record should go on and does not; None if it does."""
        page = self._next_page(offset)
        if page >= offset + length:
            return None
        return page if self._breaks.get(page) == 0 else None

    def _next_page(self, offset: int) -> int:
        first = self._page - _LONG_PAGE_HEADER
        if offset < first:
            return first
        other = self._page - _SHORT_PAGE_HEADER
        return first + ((offset - first) // other + 1) * other

    def _main_data(self, offset: int, length: int) -> bytes:
        """Return the data of a record that has no blocks, b"" if it is not laid out so."""
        begin, end = offset + _RECORD_HEADER.size, offset + length
        stream = self._stream
        while begin < min(end, len(stream)):
            kind = stream[begin]
            if kind == _SHORT_DATA:
                return stream[begin + 2 : end]
            if kind == _LONG_DATA:
                return stream[begin + 5 : end]
            # The origin of a replicated transaction (253: 2 bytes), and its parent's id (252: 4 bytes).
            step = {253: 3, 252: 5}.get(kind)
            if step is None:
                return b""
            begin += step
        return b""

    def _time(self, data: bytes) -> datetime:
        (microseconds,) = struct.unpack_from(f"{self._order}q", data)
        try:
            return _EPOCH + timedelta(microseconds=microseconds)
        except OverflowError as error:
            raise WalError(f"damaged record: no time {microseconds}") from error

    def _lsn(self, offset: int) -> int:
        first = self._page - _LONG_PAGE_HEADER
        if offset < first:
            return self.start + _LONG_PAGE_HEADER + offset
        pages, rest = divmod(offset - first, self._page - _SHORT_PAGE_HEADER)
        return self.start + (pages + 1) * self._page + _SHORT_PAGE_HEADER + rest


def _aligned(size: int) -> int:
    return (size + 7) // 8 * 8
