from __future__ import annotations

import struct

import pytest

from barman.errors import WalError
from barman.postgres.wal_header import MAGIC_VERSIONS, check_header, parse_page_header
from barman.postgres.wal_names import segment_name

MIB = 1 << 20
SYSTEM_ID = 7710492848542003314
NAME = "000000020000000A000000FF"


def header(
    *,
    magic=0xD110,
    info=0x0006,
    timeline=2,
    address=0xA_FF00_0000,
    system_id=SYSTEM_ID,
    size=16 * MIB,
    page=8192,
    order="<",
):
    return struct.pack(f"{order}HHIQI4xQII", magic, info, timeline, address, 0, system_id, size, page)


def reason(data, *, name=NAME, segment_size=16 * MIB, system_id=str(SYSTEM_ID), version="15"):
    return check_header(
        parse_page_header(data), name=name, segment_size=segment_size, system_id=system_id, version=version
    )


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "version"), MAGIC_VERSIONS.items())
def test_the_header_of_every_version_and_byte_order_is_read(magic, version, order):
    found = parse_page_header(header(magic=magic, order=order))
    assert found == (magic, 6, 2, 0xA_FF00_0000, str(SYSTEM_ID), 16 * MIB, 8192)
    assert found.version == version
    assert check_header(found, name=NAME, segment_size=16 * MIB, system_id=str(SYSTEM_ID)) is None


@pytest.mark.parametrize("size", [1 << bits for bits in range(20, 31)])
def test_a_segment_of_any_size_is_recognised_by_its_place(size):
    last_of_log = 0x100000000 // size - 1
    name = segment_name(2, last_of_log, size)
    data = header(address=last_of_log * size, size=size)
    assert check_header(parse_page_header(data), name=name) is None
    assert reason(data, name=name, segment_size=size) is None
    assert reason(data, name=segment_name(2, last_of_log - 1, size) if last_of_log else NAME, segment_size=size)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"magic": 0}, "magic number 0000"),
        ({"magic": 0xD111}, "magic number D111"),
        ({"magic": 0xD190}, "magic number D190"),
        ({"info": 0x0004}, "flags 0004"),
        ({"info": 0x8006}, "flags 8006"),
        ({"size": 0}, "segment size 0"),
        ({"size": 3 * MIB}, "segment size 3145728"),
        ({"page": 8191}, "page size 8191"),
        ({"system_id": 1}, "another cluster: system identifier 1, expected 7710492848542003314"),
        ({"size": 32 * MIB}, "segment size 33554432, expected 16777216"),
        ({"address": 0xA_FE00_0000}, "starts at A/FE000000, not A/FF000000"),
        ({"timeline": 3}, "written on timeline 3"),
        ({"timeline": 0}, "written on timeline 0"),
    ],
)
def test_a_wrong_header_is_told_why(changes, complaint):
    assert complaint in reason(header(**changes))


def test_what_is_not_known_is_not_judged():
    data = header(system_id=1)
    assert reason(data, system_id=None, segment_size=None) is None


def test_a_name_beyond_its_log_does_not_fit_the_segment_size():
    data = header(size=1024 * MIB, address=0)
    assert (
        reason(data, name="000000020000000000000004", segment_size=None)
        == "name does not fit its segment size 1073741824"
    )


def test_the_first_segment_of_a_timeline_carries_its_parents_number():
    assert reason(header(timeline=1)) is None


def test_a_partial_segment_is_checked_by_the_same_name():
    assert reason(header(), name=f"{NAME}.partial") is None


def test_a_version_that_came_later_is_believed_if_the_rest_is_right():
    assert reason(header(magic=max(MAGIC_VERSIONS) + 2)) is None
    assert parse_page_header(header(magic=max(MAGIC_VERSIONS) + 2)).version is None


@pytest.mark.parametrize("length", [0, 1, 24, 39])
def test_a_page_that_is_too_short_is_refused(length):
    with pytest.raises(WalError, match=f"cut short at {length} bytes"):
        parse_page_header(header()[:length])


@pytest.mark.parametrize("bit", range(40 * 8))
def test_a_flipped_bit_is_noticed_wherever_it_matters(bit):
    data = bytearray(header())
    data[bit // 8] ^= 1 << bit % 8
    byte = bit // 8
    # What may be so in a good segment: a record continued from the one before, of any length, with padding behind it;
    # and a flag that says there is one, or how it ended, or that the segment may be recycled.
    if 16 <= byte < 24 or bit in (16, 18, 19):
        assert reason(bytes(data)) is None
    else:
        assert reason(bytes(data)) is not None


def test_the_version_is_compared_where_it_is_known():
    # One flipped bit makes the magic number of 18 out of that of 15.
    assert reason(header(magic=0xD110 ^ 0x8)) == "written by PostgreSQL 18, expected 15"
    assert check_header(parse_page_header(header(magic=0xD118)), name=NAME) is None
