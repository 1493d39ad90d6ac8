"""The checksums in the pages of relation files: which are wrong.

With numpy at about the speed of memory, in any number of threads; without it at some hundred megabytes a second, one
thread at a time. Source: PostgreSQL, storage/checksum_impl.h (FNV-1a in 32 lanes), storage/bufpage.h.
"""

from __future__ import annotations

import functools
import itertools
import operator
import re
import struct
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import ModuleType

PAGE_SIZE = 8192

_LANES = 32
_ROW = 4 * _LANES
_ROWS = PAGE_SIZE // _ROW
_PRIME = 16777619
_WORD = 0xFFFFFFFF
# What each lane begins with.
_BASE = (
    *(0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C),
    *(0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB),
    *(0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4),
    *(0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756),
)
# Position in the log (two words), checksum, flags, lower, upper.
_HEADER = struct.Struct("=IIHHHH")
_CHECKSUM_OFFSET = 8
_ZEROS = bytes(PAGE_SIZE)
# So many pages stay in a processor's cache, and are enough for the cost of a call not to count.
_TOGETHER = 256
_TOGETHER_PLAIN = 64

_RELATION = re.compile(
    r"(?:global/|base/\d+/|(?:pg_tblspc/\d+/)?PG_\d+_\d+/\d+/)\d+(?:_(?:fsm|vm|init))?(?:\.(?P<segment>\d+))?"
)


class WrongPage(NamedTuple):
    """A page whose checksum is not that of its content.

    number: in the piece that was looked at. lsn: what the page says of itself. found: in the page; right: of it.
    """

    number: int
    lsn: int
    found: int
    right: int


def first_block(path: str, segment_blocks: int) -> int | None:
    """Return the number of the first block of a file; None if it is no file of a relation.

    path: relative to the data directory, or to a tablespace's. segment_blocks: in one file of a relation.
    """
    match = _RELATION.fullmatch(path)
    return None if match is None else int(match["segment"] or 0) * segment_blocks


def wrong_pages(data: bytes, first: int, *, with_numpy: bool = True) -> list[WrongPage]:
    """Return the pages whose checksum is wrong, in order; what is beyond the last whole page is not looked at.

    first: block number of the first. New pages (without content) have no checksum, and must be zero throughout.
    with_numpy: if it is installed; loading it takes as long as looking at some 20 MiB without it.
    """
    count = len(data) // PAGE_SIZE
    numpy = _numpy() if with_numpy else None
    sums: Iterable[int]
    if numpy is None:
        view = memoryview(data)
        pieces = range(0, count, _TOGETHER_PLAIN)
        sums = itertools.chain.from_iterable(
            _sums(view[at * PAGE_SIZE : min(at + _TOGETHER_PLAIN, count) * PAGE_SIZE]) for at in pieces
        )
    else:
        sums = _sums_with(numpy, data, count)
    wrong = []
    for number, sum_ in enumerate(sums):
        high, low, found, _, _, upper = _HEADER.unpack_from(data, number * PAGE_SIZE)
        right = ((sum_ ^ (first + number)) & _WORD) % 65535 + 1
        if found == right and upper:
            continue
        if upper == 0 and data[number * PAGE_SIZE : (number + 1) * PAGE_SIZE] == _ZEROS:
            continue
        wrong.append(WrongPage(number, high << 32 | low, found, right))
    return wrong


@functools.cache
def _numpy() -> ModuleType | None:
    try:
        import numpy as np
    except ImportError:
        return None
    return np


def _sums_with(numpy: Any, data: bytes, count: int) -> Sequence[int]:  # noqa: ANN401 - an optional module
    pages = numpy.frombuffer(data, dtype="=u4", count=count * PAGE_SIZE // 4).reshape(count, _ROWS, _LANES)
    prime = numpy.uint32(_PRIME)
    found = numpy.empty(count, dtype="=u4")
    for at in range(0, count, _TOGETHER):
        # A copy, in which the checksum itself counts as zero.
        piece = pages[at : at + _TOGETHER].transpose(1, 0, 2).copy()
        piece[0, :, 2] &= 0xFFFF0000 if sys.byteorder == "little" else 0x0000FFFF
        lanes = numpy.empty(piece.shape[1:], dtype="=u4")
        lanes[:] = numpy.array(_BASE, dtype="=u4")
        shifted = numpy.empty_like(lanes)
        for row in (*piece, None, None):
            if row is not None:
                numpy.bitwise_xor(lanes, row, out=lanes)
            numpy.right_shift(lanes, 17, out=shifted)
            numpy.multiply(lanes, prime, out=lanes)
            numpy.bitwise_xor(lanes, shifted, out=lanes)
        found[at : at + _TOGETHER] = numpy.bitwise_xor.reduce(lanes, axis=1)
    sums: list[int] = found.tolist()
    return sums


def _sums(pages: memoryview) -> Iterable[int]:
    """Yield the sum of each page, as _sums_with, by arithmetic on numbers of many words.

    Every word stands in 64 bits, so that products do not run into the neighbour: the even words of all pages in one
    number, the odd ones in another.
    """
    count = len(pages) // PAGE_SIZE
    width = count * _ROW // 8
    words, shifted_bits = _repeated(_WORD, width), _repeated(_WORD >> 17, width)
    lanes = [int.from_bytes(struct.pack("=32I", *_BASE) * count, sys.byteorder)] * 2
    lanes = [lanes[0] & words, lanes[0] >> 32 & words]
    for row in range(_ROWS + 2):
        both = 0
        if row < _ROWS:
            parts = [bytes(pages[at + row * _ROW : at + (row + 1) * _ROW]) for at in range(0, len(pages), PAGE_SIZE)]
            if row == 0:
                parts = [part[:_CHECKSUM_OFFSET] + b"\0\0" + part[_CHECKSUM_OFFSET + 2 :] for part in parts]
            both = int.from_bytes(b"".join(parts), sys.byteorder)
        for half, value in enumerate((both & words, both >> 32 & words)):
            mixed = lanes[half] ^ value
            lanes[half] = (mixed * _PRIME & words) ^ (mixed >> 17 & shifted_bits)
    mixed = lanes[0] ^ lanes[1]
    for part in range(count) if sys.byteorder == "little" else reversed(range(count)):
        page = mixed >> part * _ROW * 8
        yield functools.reduce(operator.xor, ((page >> at) & _WORD for at in range(0, _ROW * 8, 64)))


@functools.lru_cache(maxsize=4)
def _repeated(word: int, times: int) -> int:
    return int.from_bytes(struct.pack("=Q", word) * times, sys.byteorder)
