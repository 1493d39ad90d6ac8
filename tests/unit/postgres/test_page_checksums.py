"""The checksums in the pages of relation files."""

from __future__ import annotations

import random
import struct

import pytest

from barman.postgres import page_checksums
from barman.postgres.page_checksums import PAGE_SIZE, first_block, wrong_pages


@pytest.fixture(params=["numpy", "plain"], autouse=True)
def way(request, monkeypatch):
    if request.param == "numpy":
        pytest.importorskip("numpy")
    else:
        monkeypatch.setattr(page_checksums, "_numpy", lambda: None)


def _sum(page, block):
    """The sum as checksum_impl.h has it, word by word."""
    lanes = list(page_checksums._BASE)  # noqa: SLF001  a table of PostgreSQL
    words = list(struct.unpack("=2048I", page[:8] + b"\0\0" + page[10:])) + [0] * 64
    for number, word in enumerate(words):
        mixed = lanes[number % 32] ^ word
        lanes[number % 32] = (mixed * 16777619 & 0xFFFFFFFF) ^ (mixed >> 17)
    result = block
    for lane in lanes:
        result ^= lane
    return result % 65535 + 1


def _page(block, *, lsn=0x10_0000_0020, seed=0):
    body = random.Random(seed + block).randbytes(PAGE_SIZE)
    header = struct.pack("=IIHHHH", lsn >> 32, lsn & 0xFFFFFFFF, 0, 0, 24, 8000)
    page = header + body[len(header) :]
    return page[:8] + struct.pack("=H", _sum(page, block)) + page[10:]


def test_right_pages_are_right_at_their_place_only():
    first = 131072 * 3 + 5
    data = b"".join(_page(first + number) for number in range(300))
    assert wrong_pages(data, first) == []
    assert len(wrong_pages(data, first + 1)) == 300


def test_a_flipped_bit_is_found_with_what_the_page_says_of_itself():
    pages = [bytearray(_page(number)) for number in range(70)]
    pages[65][5000] ^= 1
    [wrong] = wrong_pages(b"".join(pages), 0)
    assert (wrong.number, wrong.lsn) == (65, 0x10_0000_0020)
    assert wrong.found == struct.unpack_from("=H", pages[65], 8)[0] != wrong.right


def test_new_pages_have_no_checksum_and_must_be_empty():
    new, dirty = bytes(PAGE_SIZE), bytes(5000) + b"x" + bytes(PAGE_SIZE - 5001)
    assert [wrong.number for wrong in wrong_pages(new + dirty + new + _page(3), 0)] == [1]


def test_a_page_that_is_only_partly_there_is_not_looked_at():
    assert wrong_pages(_page(0) + b"x" * 100, 0) == []
    assert wrong_pages(b"", 0) == []


@pytest.mark.parametrize(
    ("path", "block"),
    [
        ("base/5/16384", 0),
        ("base/5/16384.3", 3000),
        ("base/5/16384_fsm", 0),
        ("base/5/16384_vm.1", 1000),
        ("base/5/16384_init", 0),
        ("global/1262", 0),
        ("PG_15_202209061/5/16385.2", 2000),
        ("pg_tblspc/16390/PG_15_202209061/5/16385", 0),
        ("global/pg_control", None),
        ("base/5/PG_VERSION", None),
        ("base/5/pg_filenode.map", None),
        ("base/5/t3_16384", None),
        ("pg_xact/0000", None),
        ("base/pgsql_tmp/16384", None),
    ],
)
def test_files_of_relations_and_their_first_blocks(path, block):
    assert first_block(path, 1000) == block
