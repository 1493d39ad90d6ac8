"""The tarball in which a backup travels from one Barman host to another: its name and its members. Pure.

Members in order: identity.json, backup.info, barman.json, backup/…, wals/…, xlog.db. Source: export-backup of Barman
3.19.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from barman.errors import UserError

if TYPE_CHECKING:
    from datetime import datetime

IDENTITY, RECORD, ORIGIN, BACKUP, WALS, LEDGER = (
    "identity.json", "backup.info", "barman.json", "backup", "wals", "xlog.db",
)  # fmt: skip
REQUIRED = (IDENTITY, RECORD, BACKUP, WALS, LEDGER)
EXTENSIONS = {None: "tar", "gzip": "tar.gz", "bzip2": "tar.bz2", "xz": "tar.xz"}

_NAME = re.compile(
    r"backup-export-(?P<server>.+)-(?P<backup>\d{8}T\d{6})-\d{8}T\d{6}-(?P<checksum>[0-9a-f]{8})\.tar(?:\.gz|\.bz2|\.xz)?"
)
_TABLESPACE_LINK = re.compile(rf"{BACKUP}/data/pg_tblspc/(\d+)")


class TarballName(NamedTuple):
    """What the name of a tarball says. checksum: the first eight hex digits of its SHA-256."""

    server: str
    backup_id: str
    checksum: str


def unfinished_name(server: str, backup_id: str, now: datetime) -> str:
    """Return the name while the checksum is not known; now: aware, UTC."""
    return f"backup-export-{server}-{backup_id}-{now:%Y%m%dT%H%M%S}.tmp"


def tarball_name(server: str, backup_id: str, now: datetime, *, checksum: str, compression: str | None) -> str:
    """Return the final name. checksum: SHA-256 of the file, hex."""
    return f"backup-export-{server}-{backup_id}-{now:%Y%m%dT%H%M%S}-{checksum[:8]}.{EXTENSIONS[compression]}"


def parse_tarball_name(name: str) -> TarballName:
    """Return the parts of a tarball's name; UserError if it is none."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise UserError(
            f"{name} is not named as an exported backup is",
            hint="The name is backup-export-SERVER-BACKUP_ID-TIME-CHECKSUM.tar[.gz|.bz2|.xz], and must not be changed.",
        )
    return TarballName(match["server"], match["backup"], match["checksum"])


def require_safe(name: str) -> str:
    """Return the name of a member without a trailing slash; UserError if it leads out of the tarball's own places."""
    plain = name.rstrip("/")
    parts = plain.split("/")
    if name.startswith("/") or any(part in {"", ".", ".."} for part in parts) or parts[0] not in {*REQUIRED, ORIGIN}:
        raise UserError(f"the tarball has a member it must not have: {name!r}")
    return plain


def linked_tablespace(name: str) -> str | None:
    """Return the oid of the tablespace whose link in pg_tblspc the member is, None if it is none."""
    match = _TABLESPACE_LINK.fullmatch(name)
    return match[1] if match else None
