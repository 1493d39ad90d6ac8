"""The header of the first page of a WAL segment: which PostgreSQL, which cluster, which place. Pure and hot-safe.

Numbers are in the byte order of the machine that wrote them; the magic number tells which. Source: PostgreSQL source,
access/xlog_internal.h (XLogPageHeaderData, XLogLongPageHeaderData, XLOG_PAGE_MAGIC).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from barman.errors import WalError
from barman.postgres.lsn import format_lsn
from barman.postgres.wal_names import SEGMENT_SIZES, segment_start, segments_per_log, timeline_of

LONG_HEADER_SIZE = 40

# Changes with every major version, and only upwards.
MAGIC_VERSIONS = {
    0xD093: "9.6",
    0xD097: "10",
    0xD098: "11",
    0xD101: "12",
    0xD106: "13",
    0xD10D: "14",
    0xD110: "15",
    0xD113: "16",
    0xD116: "17",
    0xD118: "18",
}

# A PostgreSQL that came after this table may archive too, if all the rest of its header is right: its magic number
# lies a little above the newest. Recent versions are three steps apart.
_NEWEST = max(MAGIC_VERSIONS)
_UNKNOWN_YET = range(_NEWEST + 1, _NEWEST + 16)

_SHORT = "HHIQI4x"  # magic, info, timeline, page address, remaining length of a record continued from the last page
_LONG = "QII"  # system identifier, segment size, block size
_LITTLE, _BIG = struct.Struct("<" + _SHORT), struct.Struct(">" + _SHORT)
_IS_LONG = 0x0002
_ALL_FLAGS = 0x000F
_PAGE_SIZES = frozenset(1 << bits for bits in range(10, 17))


class PageHeader(NamedTuple):
    """A page header as it stands in the file. The last three: None unless it is the long form of a first page.

    system_id: decimal text, as PostgreSQL shows it. Sizes in bytes.
    """

    magic: int
    info: int
    timeline: int
    address: int
    system_id: str | None
    segment_size: int | None
    page_size: int | None

    @property
    def version(self) -> str | None:
        """The major version that writes this magic number, None if it is not known."""
        return MAGIC_VERSIONS.get(self.magic)


def parse_page_header(page: bytes) -> PageHeader:
    """Return the header at the start of page, whatever it says; 40 bytes are enough. WalError if page is shorter."""
    if len(page) < LONG_HEADER_SIZE:
        raise WalError(f"WAL page header cut short at {len(page)} bytes")
    order, header = "<", _LITTLE
    if not _is_plausible(_LITTLE.unpack_from(page)[0]) and _is_plausible(_BIG.unpack_from(page)[0]):
        order, header = ">", _BIG
    magic, info, timeline, address, _ = header.unpack_from(page)
    if not info & _IS_LONG:
        return PageHeader(magic, info, timeline, address, None, None, None)
    system_id, segment_size, page_size = struct.unpack_from(order + _LONG, page, header.size)
    return PageHeader(magic, info, timeline, address, str(system_id), segment_size, page_size)


def check_header(
    header: PageHeader,
    *,
    name: str,
    segment_size: int | None = None,
    system_id: str | None = None,
    version: str | None = None,
) -> str | None:
    """Return why a file with this first page cannot be segment (or partial segment) name, None if it can.

    segment_size, system_id, version (major): what they must be, None if that is not known. A system identifier never
    outlives its major version: pg_upgrade makes a new one.
    """
    return (
        _form_reason(header)
        or _cluster_reason(header, segment_size=segment_size, system_id=system_id, version=version)
        or _place_reason(header, name)
    )


def _form_reason(header: PageHeader) -> str | None:
    if not _is_plausible(header.magic):
        return f"no WAL: magic number {header.magic:04X} is of no known PostgreSQL version"
    if header.info & ~_ALL_FLAGS or not header.info & _IS_LONG:
        return f"damaged page header: flags {header.info:04X}"
    if header.segment_size not in SEGMENT_SIZES or header.page_size not in _PAGE_SIZES:
        return f"damaged page header: segment size {header.segment_size}, page size {header.page_size}"
    return None


def _cluster_reason(
    header: PageHeader, *, segment_size: int | None, system_id: str | None, version: str | None
) -> str | None:
    if system_id is not None and header.system_id != system_id:
        return f"written by another cluster: system identifier {header.system_id}, expected {system_id}"
    if version is not None and header.version not in (None, version):
        return f"written by PostgreSQL {header.version}, expected {version}"
    if segment_size is not None and header.segment_size != segment_size:
        return f"segment size {header.segment_size}, expected {segment_size}"
    return None


def _place_reason(header: PageHeader, name: str) -> str | None:
    size = header.segment_size or 0
    if int(name[16:24], 16) >= segments_per_log(size):
        return f"name does not fit its segment size {size}"
    start = segment_start(name, size)
    if header.address != start:
        return f"content does not match the name: starts at {format_lsn(header.address)}, not {format_lsn(start)}"
    # The first segment of a new timeline begins with pages copied from its parent, under the parent's number.
    if not 0 < header.timeline <= timeline_of(name):
        return f"content does not match the name: written on timeline {header.timeline}"
    return None


def _is_plausible(magic: int) -> bool:
    return magic in MAGIC_VERSIONS or magic in _UNKNOWN_YET
