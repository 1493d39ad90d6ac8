"""Names of files in the WAL archive, and the arithmetic on them, for every segment size. Pure and hot-safe.

A segment name is timeline, log number, and segment number within the log, eight hex digits each. Source: PostgreSQL
source, xlog_internal.h (XLogFileName, XLogSegmentsPerXLogId).
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from barman.errors import WalError

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_SEGMENT_SIZE = 16 * 1024 * 1024
SEGMENT_SIZES = frozenset(1 << bits for bits in range(20, 31))
"""What segments can be large: 1 MiB to 1 GiB."""

_HIGHEST_LSN = 0xFFFFFFFFFFFFFFFF

_SEGMENT = re.compile(r"[0-9A-F]{24}")
_NAME = re.compile(
    r"(?P<timeline>[0-9A-F]{8})"
    r"(?:(?P<history>\.history)"
    r"|(?P<position>[0-9A-F]{16})(?:(?P<partial>\.partial)|\.(?P<offset>[0-9A-F]{8})\.backup)?)"
)


class WalKind(Enum):
    """What a file of the archive is."""

    SEGMENT = "segment"
    PARTIAL = "partial"
    LABEL = "label"
    HISTORY = "history"


class WalName(NamedTuple):
    """A parsed name. segment: the 24-character segment name it belongs to; None for a history file."""

    text: str
    kind: WalKind
    timeline: int
    segment: str | None


def parse_wal_name(text: str) -> WalName:
    """Return the parts of any archive file name, upper-cased but for the suffix; WalError if it is none."""
    match = _NAME.fullmatch(_normalise(text))
    if match is None:
        raise WalError(f"invalid WAL file name {text!r}")
    timeline = int(match["timeline"], 16)
    if match["history"]:
        return WalName(match[0], WalKind.HISTORY, timeline, None)
    kind = WalKind.PARTIAL if match["partial"] else WalKind.LABEL if match["offset"] else WalKind.SEGMENT
    return WalName(match[0], kind, timeline, match[0][:24])


def is_wal_name(text: str) -> bool:
    """Whether text names any file that may stand in a WAL archive."""
    return _NAME.fullmatch(_normalise(text)) is not None


def is_segment_name(text: str) -> bool:
    """Whether text is exactly a 24-digit upper-case segment name."""
    return _SEGMENT.fullmatch(text) is not None


def archive_directory(name: str) -> str:
    """Return the directory below the archive root that holds name: 16 characters, or "" for history files."""
    return "" if name.endswith(".history") else name[:16]


def segments_per_log(segment_size: int) -> int:
    """Return how many segments share a log number: 256 for 16 MiB."""
    return 0x100000000 // segment_size


def segment_name(timeline: int, number: int, segment_size: int) -> str:
    """Return the name of segment number (its start position divided by the size) on timeline."""
    log, seg = divmod(number, segments_per_log(segment_size))
    return f"{timeline:08X}{log:08X}{seg:08X}"


def segment_number(name: str, segment_size: int) -> int:
    """Return the number of the segment that name (segment, partial or label) belongs to."""
    seg = int(name[16:24], 16)
    if seg >= segments_per_log(segment_size):
        raise WalError(f"WAL file name {name} does not fit segments of {segment_size} bytes")
    return int(name[8:16], 16) * segments_per_log(segment_size) + seg


def timeline_of(name: str) -> int:
    """Return the timeline id in the first eight digits of any WAL file name."""
    return int(name[:8], 16)


def segment_at(lsn: int, timeline: int, segment_size: int) -> str:
    """Return the name of the segment that holds the byte at lsn."""
    return segment_name(timeline, lsn // segment_size, segment_size)


def segment_before(lsn: int, timeline: int, segment_size: int) -> str:
    """Return the segment holding the last byte before lsn: the one that is complete when lsn is a boundary."""
    return segment_name(timeline, max(lsn - 1, 0) // segment_size, segment_size)


def segment_start(name: str, segment_size: int) -> int:
    """Return the LSN of the first byte of segment name."""
    return segment_number(name, segment_size) * segment_size


def next_segment(name: str, segment_size: int) -> str:
    """Return the name of the following segment on the same timeline; WalError after the last there can be."""
    number = segment_number(name, segment_size) + 1
    if number * segment_size > _HIGHEST_LSN:
        raise WalError(f"no segment follows {name}")
    return segment_name(timeline_of(name), number, segment_size)


def previous_segment(name: str, segment_size: int) -> str:
    """Return the name of the preceding segment on the same timeline; WalError before the first."""
    number = segment_number(name, segment_size)
    if number == 0:
        raise WalError(f"no segment precedes {name}")
    return segment_name(timeline_of(name), number - 1, segment_size)


def segments_between(first: str, last: str, segment_size: int) -> Iterator[str]:
    """Yield the names from first to last, both included, on the timeline of last; nothing if last precedes first."""
    timeline = timeline_of(last)
    for number in range(segment_number(first, segment_size), segment_number(last, segment_size) + 1):
        yield segment_name(timeline, number, segment_size)


def _normalise(text: str) -> str:
    stem, dot, suffix = text.partition(".")
    if suffix.count("."):
        offset, _, tail = suffix.partition(".")
        return f"{stem.upper()}.{offset.upper()}.{tail}"
    return stem.upper() + dot + suffix
