"""WAL files that look real from outside: right names, right headers, any content."""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING

from barman.postgres.wal_names import segment_name, segment_start, timeline_of

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
SYSTEM_ID = "7710493415885742363"
OTHER_SYSTEM_ID = "7710494768521591595"
LABEL = "START WAL LOCATION: 0/100028 (file 000000010000000000000001)\nCHECKPOINT LOCATION: 0/100060\n"
HISTORY = "1\t0/300000\tno recovery target specified\n"


def name_of(number: int, *, timeline: int = 1, size: int = MIB) -> str:
    """The name of the segment with this number."""
    return segment_name(timeline, number, size)


def segment(
    name: str, *, system_id: str = SYSTEM_ID, size: int = MIB, filling: int = 0, claimed_size: int | None = None
) -> bytes:
    """The content of segment name: the header of a first page, half random bytes, half zeros.

    filling: other numbers give other bytes. claimed_size: the segment size in the header, if it is not size.
    """
    header = page_header(name, system_id=system_id, size=size, claimed_size=claimed_size)
    body = random.Random(f"{name} {filling}").randbytes(size // 2 - len(header))
    return header + body + bytes(size // 2)


def page_header(
    name: str, *, system_id: str = SYSTEM_ID, size: int = 16 * MIB, claimed_size: int | None = None
) -> bytes:
    """The header of the first page of segment name."""
    address = segment_start(name, size)
    return struct.pack(
        "<HHIQI4xQII", 0xD110, 2, timeline_of(name), address, 0, int(system_id), claimed_size or size, 8192
    )


def write_segments(directory: Path, numbers: range, **options: object) -> list[str]:
    """Write the segments with these numbers into directory and return their names."""
    names = [name_of(number) for number in numbers]
    for name in names:
        (directory / name).write_bytes(segment(name, **options))  # type: ignore[arg-type]
    return names
