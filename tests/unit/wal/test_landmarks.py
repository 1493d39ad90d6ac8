from __future__ import annotations

import io
from datetime import datetime, timezone

import pytest

from barman.errors import NotFound, WalError
from barman.wal.landmarks import read_ahead, read_records
from tests.support.wal import name_of
from tests.support.wal_records import SegmentWriter

NOON = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)


class _Archive:
    def __init__(self, *numbers):
        self.files = {name_of(number): _segment(number) for number in numbers}

    def open_decoded(self, name):
        if name not in self.files:
            raise NotFound(f"WAL file {name} is not in the archive")
        return io.BytesIO(self.files[name])


def _segment(number):
    writer = SegmentWriter(name_of(number))
    writer.commit(number, NOON)
    return writer.content()


def _xids(records):
    return [end.xid for end in records.transaction_ends()]


def test_segments_are_read_ahead_in_the_order_asked_for():
    archive = _Archive(*range(1, 20))
    names = [name_of(number) for number in (5, 1, 19, 7, 7, 2)]
    assert [_xids(records) for records in read_ahead(archive, names, workers=3)] == [[5], [1], [19], [7], [7], [2]]


def test_a_segment_that_cannot_be_read_is_told_when_it_comes_to_it():
    archive = _Archive(1, 3)
    archive.files[name_of(4)] = b"no WAL at all, but long enough for a page header"
    found = read_ahead(archive, [name_of(number) for number in (1, 2, 3)])
    assert _xids(next(found)) == [1]
    with pytest.raises(NotFound):
        next(found)
    with pytest.raises(WalError):
        read_records(archive, name_of(4))


def test_an_unfinished_segment_may_be_where_it_is_streamed_to(tmp_path):
    name = f"{name_of(2)}.partial"
    archive = _Archive(1)
    with pytest.raises(NotFound):
        read_records(archive, name)
    with pytest.raises(NotFound, match="neither in the archive nor in"):
        read_records(archive, name, streaming=tmp_path)
    (tmp_path / name).write_bytes(_segment(2))
    assert _xids(read_records(archive, name, streaming=tmp_path)) == [2]
    archive.files[name] = _segment(9)
    assert _xids(read_records(archive, name, streaming=tmp_path)) == [9]
    with pytest.raises(NotFound):
        read_records(archive, name_of(3), streaming=tmp_path)
