"""The WAL a copy needs, as PostgreSQL wrote it into the backup manifest."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from barman.errors import CatalogError
from barman.postgres.lsn import parse_lsn

if TYPE_CHECKING:
    from pathlib import Path

# The ranges stand at the end, after one line per file of the cluster.
_TAIL_SIZE = 64 * 1024
_RANGE = re.compile(
    rb'\{\s*"Timeline":\s*(\d+),\s*"Start-LSN":\s*"([0-9A-F]+/[0-9A-F]+)",\s*"End-LSN":\s*"([0-9A-F]+/[0-9A-F]+)"\s*\}'
)


class WalRange(NamedTuple):
    """One timeline's part of the WAL of a backup; end_lsn is the first byte not needed."""

    timeline: int
    start_lsn: int
    end_lsn: int


def read_wal_ranges(manifest: Path) -> tuple[WalRange, ...]:
    """Return the WAL ranges of a backup manifest, at least one, one per timeline; memory does not grow with it.

    CatalogError if it has none. Source: PostgreSQL manual, "Backup Manifest Format".
    """
    with manifest.open("rb") as file:
        file.seek(max(os.fstat(file.fileno()).st_size - _TAIL_SIZE, 0))
        tail = file.read()
    _, found, ranges = tail.rpartition(b'"WAL-Ranges"')
    if found:
        parsed = tuple(
            WalRange(int(match[1]), parse_lsn(match[2].decode()), parse_lsn(match[3].decode()))
            for match in _RANGE.finditer(ranges)
        )
        if parsed:
            return parsed
    raise CatalogError(f"no WAL ranges in {manifest}")
