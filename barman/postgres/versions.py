"""PostgreSQL versions as numbers and as text, and what came or went with which. Pure.

A version number is server_version_num: 150018 is 15.18, 90624 is 9.6.24.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import TYPE_CHECKING

from barman.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping

MINIMUM_VERSION = 90600

_IN_TOOL_OUTPUT = re.compile(r"\(PostgreSQL\)\s+(\d+)(?:\.(\d+))?(?:\.(\d+))?")


class Feature(Enum):
    """What depends on the version."""

    WAL_WORDING = auto()  # pg_wal, pg_current_wal_lsn, … instead of pg_xlog, pg_current_xlog_location
    RECOVERY_TARGET_LSN = auto()
    PREDEFINED_ROLES = auto()  # pg_monitor and its parts
    RECOVERY_SIGNAL = auto()  # and settings in postgresql.auto.conf instead of recovery.conf
    TCP_LIMITS = auto()  # libpq's tcp_user_timeout
    BACKUP_MANIFEST = auto()
    WAL_KEEP_SIZE = auto()  # in place of wal_keep_segments
    BACKUP_WORDING = auto()  # pg_backup_start instead of pg_start_backup
    SERVER_COMPRESSION = auto()  # and the --compress=METHOD:DETAIL syntax, lz4 and zstd
    CHECKPOINT_ROLE = auto()
    ARCHIVE_LIBRARY = auto()
    EXCLUSIVE_BACKUP = auto()
    IDLE_SESSION_TIMEOUT = auto()
    INCREMENTAL_BACKUP = auto()
    COMBINE_LINK = auto()


# First version number that has it, and the first that no longer has it. Source: the release notes.
_RANGES: Mapping[Feature, tuple[int, int | None]] = {
    Feature.WAL_WORDING: (100000, None),
    Feature.RECOVERY_TARGET_LSN: (100000, None),
    Feature.PREDEFINED_ROLES: (100000, None),
    Feature.RECOVERY_SIGNAL: (120000, None),
    Feature.TCP_LIMITS: (120000, None),
    Feature.BACKUP_MANIFEST: (130000, None),
    Feature.WAL_KEEP_SIZE: (130000, None),
    Feature.BACKUP_WORDING: (150000, None),
    Feature.SERVER_COMPRESSION: (150000, None),
    Feature.CHECKPOINT_ROLE: (150000, None),
    Feature.ARCHIVE_LIBRARY: (150000, None),
    Feature.EXCLUSIVE_BACKUP: (0, 150000),
    Feature.IDLE_SESSION_TIMEOUT: (140000, None),
    Feature.INCREMENTAL_BACKUP: (170000, None),
    Feature.COMBINE_LINK: (180000, None),
}


def supports(version_num: int, feature: Feature) -> bool:
    """Whether a server or tool of this version has the feature."""
    first, gone = _RANGES[feature]
    return version_num >= first and (gone is None or version_num < gone)


def major_version(version_num: int) -> str:
    """Return the major version as PostgreSQL counts them: "15", "9.6"."""
    if version_num >= 100000:
        return str(version_num // 10000)
    return f"{version_num // 10000}.{version_num // 100 % 100}"


def version_text(version_num: int) -> str:
    """Return the version as PostgreSQL writes it: "15.18", "9.6.24"."""
    return f"{major_version(version_num)}.{version_num % (10000 if version_num >= 100000 else 100)}"


def is_tool_compatible(tool_version_num: int, server_version_num: int) -> bool:
    """Whether a pg_* client program may be used with the server: its major version is not older."""
    return _major_number(tool_version_num) >= _major_number(server_version_num)


def parse_tool_version(output: str) -> int:
    """Return the version number in what a PostgreSQL program prints for --version; betas count as .0.

    CommandError if there is none.
    """
    match = _IN_TOOL_OUTPUT.search(output)
    if match is None:
        raise CommandError(f"no PostgreSQL version in {output.strip()[:80]!r}")
    first, second, third = (int(part or 0) for part in match.groups())
    return first * 10000 + second if first >= 10 else first * 10000 + second * 100 + third


def _major_number(version_num: int) -> int:
    return version_num // 10000 * 100 if version_num >= 100000 else version_num // 100
