"""Which files of a backup have no place in a restored data directory. Pure."""

from __future__ import annotations

# Where WAL for recovery to a target goes, below the data directory, if nobody says otherwise.
STAGED_WAL = "barman_wal"

# Their content belongs to the origin: its server log and its WAL, and that of the restore it came from.
EMPTIED = frozenset({"pg_log", "log", "pg_xlog", "pg_wal", STAGED_WAL})

# What a restore leaves for the next one.
RECORD_COPY = ".barman-recover.info"

# Stands in a destination as long as a restore to it is not complete.
INCOMPLETE = ".barman-incomplete"

# The state of the origin's server, and what would make the restored one a standby or replay the wrong targets.
# tablespace_map would send the tablespaces back to their old places.
LEFT_OUT = frozenset(
    {
        "postmaster.pid",
        "postmaster.opts",
        "recovery.conf",
        "recovery.signal",
        "standby.signal",
        "tablespace_map",
        RECORD_COPY,
        INCOMPLETE,
    }
)

# Written last: without it PostgreSQL does not start.
CONTROL_FILE = "global/pg_control"
# Its name until everything else is there and durable.
HELD_BACK = CONTROL_FILE + ".barman"
MANIFEST = "backup_manifest"


def is_excluded(path: str) -> bool:
    """Whether the file or directory at path, relative to the data directory of a backup, is left out."""
    first, separator, _ = path.partition("/")
    return (first in EMPTIED) if separator else (first in LEFT_OUT)
