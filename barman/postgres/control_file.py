"""What a control file, global/pg_control, says of the server that wrote it. Pure.

Source: PostgreSQL source, catalog/pg_control.h (ControlFileData, CheckPoint), which from 12 to 18 has these fields at
the same places on 64-bit machines.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_VERSION = struct.Struct("=8xI")
_LIMITS = struct.Struct("=172xI4xIIIII")
_OLDEST, _NEWEST = 1201, 1899
_HIGHEST_WAL_LEVEL = 2

# What hot standby must have at least as much of as the server whose WAL it replays, in the order of the control file.
LIMITS = (
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
)
DEFAULTS: Mapping[str, int] = {
    "max_connections": 100,
    "max_worker_processes": 8,
    "max_wal_senders": 10,
    "max_prepared_transactions": 0,
    "max_locks_per_transaction": 64,
}


def parse_limits(content: bytes) -> Mapping[str, int]:
    """Return the settings of LIMITS the server ran with; {} if content is of a version or a machine we do not know."""
    if len(content) < _LIMITS.size or not _OLDEST <= _VERSION.unpack_from(content)[0] <= _NEWEST:
        return {}
    wal_level, *limits = _LIMITS.unpack_from(content)
    if wal_level > _HIGHEST_WAL_LEVEL:
        return {}
    return dict(zip(LIMITS, limits, strict=True))
