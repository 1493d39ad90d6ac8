"""Log sequence numbers: positions in the WAL stream, as integers. Pure and hot-safe."""

from __future__ import annotations

import re

from barman.errors import WalError

_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")


def parse_lsn(text: str) -> int:
    """Return the byte position that PostgreSQL writes as X/X; WalError if text is no LSN."""
    match = _LSN.fullmatch(text.strip())
    if match is None:
        raise WalError(f"invalid LSN {text!r}", hint="An LSN looks like 16/B374D848.")
    return int(match[1], 16) << 32 | int(match[2], 16)


def format_lsn(lsn: int) -> str:
    """Return lsn as PostgreSQL writes it: two hex numbers without leading zeros."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"
