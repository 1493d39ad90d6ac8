"""WAL segments with records in them: commits, aborts, restore points and filling, laid out as PostgreSQL does."""

from __future__ import annotations

import struct
from datetime import datetime, timedelta, timezone

from barman.postgres.wal_names import segment_start, timeline_of

MIB = 1 << 20
_PAGE = 8192
_EPOCH = datetime(2000, 1, 1, tzinfo=timezone.utc)


class SegmentWriter:
    """Builds the content of one segment, record after record."""

    def __init__(self, name: str, *, size: int = MIB, remaining: int = 0, order: str = "<") -> None:
        """remaining: bytes of a record of the previous segment. order: of bytes, in the words of struct.

        before: where the record before the next one begins, as the next one is going to say.
        """
        self._start = segment_start(name, size)
        self._timeline = timeline_of(name)
        self._size = size
        self._order = order
        self._content = bytearray(size)
        self._at = 0
        self.before = self._start - 8
        self._put_page(remaining)
        self._put(bytes(remaining))

    @property
    def lsn(self) -> int:
        """Where the next record begins."""
        return self._start + self._at + (self._page_header() if self._at % _PAGE == 0 else 0)

    def commit(self, xid: int, time: datetime, *, info: int = 0x00, extra: bytes = b"") -> int:
        """Add a commit, or an abort (info 0x20) or their like for prepared transactions; return where it begins."""
        data = struct.pack(f"{self._order}q", _microseconds(time)) + extra
        return self.record(1, info, bytes([255, len(data)]) + data, xid=xid)

    def restore_point(self, name: str, time: datetime) -> int:
        """Add a restore point; return where it begins."""
        data = struct.pack(f"{self._order}q64s", _microseconds(time), name.encode())
        return self.record(0, 0x70, bytes([255, len(data)]) + data)

    def record(self, manager: int, info: int, body: bytes, *, xid: int = 0) -> int:
        """Add any record; return where it begins."""
        lsn = self.lsn
        header = struct.pack(f"{self._order}IIQBB2xI", 24 + len(body), xid, self.before, info, manager, 0)
        self._put(header + body)
        self.before = lsn
        return lsn

    def break_off(self, body: bytes) -> None:
        """Begin a record that is lost with the end of the page: what follows starts anew on the next one."""
        header = struct.pack(f"{self._order}IIQBB2xI", 24 + len(body), 0, self.before, 0, 10, 0)
        room = _PAGE - self._at % _PAGE
        self._content[self._at : self._at + room] = (header + body)[:room]
        self._at += room
        self._put_page(0)
        self.before = self.lsn

    def content(self) -> bytes:
        """The segment, zeros after the last record."""
        return bytes(self._content)

    def _put(self, data: bytes) -> None:
        while data:
            if self._at % _PAGE == 0:
                self._put_page(len(data) if data is not None and self._is_inside else 0)
            room = _PAGE - self._at % _PAGE
            piece, data = data[:room], data[room:]
            self._content[self._at : self._at + len(piece)] = piece
            self._at += len(piece)
            self._is_inside = bool(data)
        self._is_inside = False
        self._at = (self._at + 7) // 8 * 8

    _is_inside = False

    def _page_header(self) -> int:
        return 40 if self._at == 0 else 24

    def _put_page(self, remaining: int) -> None:
        info = (1 if remaining else 0) | (2 if self._at == 0 else 0)
        address = self._start + self._at
        header = struct.pack(f"{self._order}HHIQI4x", 0xD110, info, self._timeline, address, remaining)
        if self._at == 0:
            header += struct.pack(f"{self._order}QII", 1, self._size, _PAGE)
        self._content[self._at : self._at + len(header)] = header
        self._at += len(header)


def _microseconds(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)
