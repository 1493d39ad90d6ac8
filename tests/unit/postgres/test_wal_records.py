from __future__ import annotations

import struct
from datetime import datetime, timedelta, timezone

import pytest

from barman.errors import WalError
from barman.postgres.wal_records import SegmentRecords
from tests.support.wal_records import SegmentWriter

NAME = "000000010000000000000003"
NOON = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_end_of_every_transaction_is_found_across_pages(order):
    writer = SegmentWriter(NAME, order=order, remaining=10_000)
    wanted = []
    for number in range(2000):
        xid, time, info = 700 + number, NOON + timedelta(seconds=number), 0x20 if number % 3 else 0x80
        wanted.append((writer.commit(xid, time, info=info, extra=bytes(number % 50)), xid, time, not number % 3))
        writer.record(10, 0, bytes(number % 90))
    last = writer.record(10, 0, b"x")

    records = SegmentRecords(writer.content())

    assert [end[:4] for end in records.transaction_ends()] == wanted
    assert records.last_start == last
    assert records.mentions(700)
    assert not records.mentions(0x7FFFFFF0)


def test_restore_points_are_found_with_name_and_time():
    writer = SegmentWriter(NAME)
    wanted = []
    for number in range(300):
        writer.record(10, 0, bytes(number))
        name = f"before_{number}_ü"
        wanted.append((writer.restore_point(name, NOON), NOON, name))

    assert list(SegmentRecords(writer.content()).restore_points()) == wanted
    assert list(SegmentRecords(SegmentWriter(NAME).content()).restore_points()) == []


def test_what_looks_like_a_restore_point_inside_another_record_is_none():
    inner = SegmentWriter(NAME)
    inner.restore_point("inner", NOON)
    writer = SegmentWriter(NAME)
    writer.record(10, 0, inner.content()[40:200])

    assert list(SegmentRecords(writer.content()).restore_points()) == []


def test_a_prepared_transaction_ends_with_a_record_of_another():
    writer = SegmentWriter(NAME)
    writer.commit(0, NOON, info=0xB0, extra=struct.pack("<II", 0x10, 4711))
    [end] = SegmentRecords(writer.content()).transaction_ends()

    assert end.is_commit
    assert end.ends(4711)
    assert end.ends((3 << 32) + 4711)
    assert not end.ends(4712)


def test_the_origin_of_a_replicated_transaction_comes_before_its_time():
    writer = SegmentWriter(NAME)
    writer.record(1, 0, bytes([253, 1, 0, 252, 1, 2, 3, 4, 255, 8]) + struct.pack("<q", 1_000_000), xid=5)
    writer.record(1, 0, bytes([7, 1, 2, 3]), xid=6)
    writer.record(1, 0, bytes([254, 8, 0, 0, 0]) + struct.pack("<q", 2_000_000), xid=7)

    ends = SegmentRecords(writer.content()).transaction_ends()

    assert [(end.xid, end.time.second) for end in ends] == [(5, 1), (7, 2)]


def test_after_a_record_that_was_lost_with_its_server_reading_goes_on_with_the_next_page():
    writer = SegmentWriter(NAME)
    writer.commit(5, NOON)
    writer.break_off(bytes(20_000))
    writer.commit(6, NOON)

    assert [end.xid for end in SegmentRecords(writer.content()).transaction_ends()] == [5, 6]


def test_reading_ends_where_the_records_no_longer_follow_each_other():
    writer = SegmentWriter(NAME)
    writer.commit(5, NOON)
    writer.before = 77
    writer.commit(6, NOON)

    assert [end.xid for end in SegmentRecords(writer.content()).transaction_ends()] == [5]


def test_pages_of_an_earlier_use_of_the_file_are_not_read():
    old = SegmentWriter("000000010000000000000001")
    for _ in range(400):
        old.commit(4, NOON)
    writer = SegmentWriter(NAME)
    writer.commit(5, NOON)
    content = writer.content()[:8192] + old.content()[8192:]

    assert [end.xid for end in SegmentRecords(content).transaction_ends()] == [5]


def test_a_segment_that_one_record_fills_has_no_beginning():
    records = SegmentRecords(SegmentWriter(NAME, remaining=1_040_000).content())
    assert records.last_start is None


def test_an_impossible_time_and_a_foreign_file_are_damage():
    writer = SegmentWriter(NAME)
    writer.record(1, 0, bytes([255, 8]) + struct.pack("<q", (1 << 62)), xid=5)
    with pytest.raises(WalError, match="no time"):
        list(SegmentRecords(writer.content()).transaction_ends())
    with pytest.raises(WalError):
        SegmentRecords(writer.content()[8192:])
