"""The file backup_label: where replay of a base backup begins. Pure.

Source: PostgreSQL source, xlogbackup.c (build_backup_content) and xlogrecovery.c (read_backup_label).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from barman.errors import WalError
from barman.postgres.lsn import format_lsn, parse_lsn
from barman.postgres.wal_names import is_segment_name, timeline_of

_START = re.compile(r"(\S+) \(file ([0-9A-F]{24})\)")


@dataclass(frozen=True, slots=True)
class BackupLabel:
    """What the label says. LSNs are text.

    start_time: as written, in the server's log_timezone, whose abbreviation may be ambiguous. incremental_from_lsn:
    start of the backup this one is an increment to, None for a full one.
    """

    start_lsn: str
    start_wal: str
    timeline: int
    label: str | None
    start_time: str | None
    method: str | None
    from_standby: bool
    incremental_from_lsn: str | None


def parse_backup_label(text: str) -> BackupLabel:
    """Return the content of a backup_label file; WalError if its start location is missing or malformed."""
    fields = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    start = _START.fullmatch(fields.get("START WAL LOCATION", ""))
    if start is None or not is_segment_name(start[2]):
        raise WalError("backup_label has no valid START WAL LOCATION")
    return BackupLabel(
        start_lsn=format_lsn(parse_lsn(start[1])),
        start_wal=start[2],
        # Before PostgreSQL 11 only the file name tells.
        timeline=int(fields.get("START TIMELINE", timeline_of(start[2]))),
        label=fields.get("LABEL"),
        start_time=fields.get("START TIME"),
        method=fields.get("BACKUP METHOD"),
        from_standby=fields.get("BACKUP FROM") == "standby",
        incremental_from_lsn=fields.get("INCREMENTAL FROM LSN"),
    )
