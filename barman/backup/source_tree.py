"""What a file-level backup takes from a cluster: which directories, without what, into where. Pure."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from barman.host.rsync import pattern_of
from barman.postgres.versions import major_version

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from barman.postgres.facts import Tablespace

CONTROL_FILE = "global/pg_control"
VERSION_FILE = "PG_VERSION"
LABEL_FILE = "backup_label"

# Everywhere: what a running server makes for itself, and what belongs to the host it runs on.
_TRANSIENT = (
    "pgsql_tmp*",
    "postgresql.auto.conf.tmp",
    "current_logfiles.tmp",
    "pg_internal.init",
    "postmaster.pid",
    "postmaster.opts",
    "recovery.conf",
    "standby.signal",
    # Temporary tables.
    "**/[0-9]*/t[0-9]*_[0-9]*",
)
# Directories that must be there and may be empty: WAL comes from the archive, the rest is made anew by the server.
_EMPTIED = (
    "log",
    "pg_dynshmem",
    "pg_log",
    "pg_notify",
    "pg_replslot",
    "pg_serial",
    "pg_snapshots",
    "pg_stat_tmp",
    "pg_subtrans",
    "pg_wal",
    "pg_xlog",
)
# The manifest of the backup the cluster was once restored from says nothing about this one.
_STALE = ("backup_manifest",)
_LABELS = (LABEL_FILE, "tablespace_map")


@dataclass(frozen=True, slots=True)
class Tree:
    """A directory of the source to be copied.

    label: a tablespace's name, or "pgdata". part: its path below the directory of any backup. filters: for rsync.
    """

    label: str
    directory: str
    part: str
    filters: tuple[str, ...]


def trees_of(pgdata: str, tablespaces: Sequence[Tablespace], version_num: int, *, exclusive: bool) -> tuple[Tree, ...]:
    """Return the directories of a cluster, tablespaces first.

    tablespaces: all but the built-in ones. exclusive: the label is a file that the server made, and is copied.
    """
    root = pgdata.rstrip("/")
    common = tuple(f"--exclude={pattern}" for pattern in _TRANSIENT)
    outside = [tablespace for tablespace in tablespaces if tablespace.location.startswith("/")]
    in_place = [tablespace.oid for tablespace in tablespaces if not tablespace.location.startswith("/")]
    found = [
        Tree(
            label=tablespace.name,
            directory=tablespace.location.rstrip("/"),
            part=str(tablespace.oid),
            # Several versions may share the directory, as they do while one is upgraded to the next.
            filters=(*common, f"--include=/PG_{major_version(version_num)}_*", "--exclude=/*"),
        )
        for tablespace in outside
    ]
    nested = [
        tablespace.location.rstrip("/").removeprefix(root)
        for tablespace in outside
        if tablespace.location.startswith(f"{root}/")
    ]
    left_out = (*_STALE, CONTROL_FILE, *(() if exclusive else _LABELS))
    filters = (
        *common,
        *(f"--include=/pg_tblspc/{oid}" for oid in in_place),
        "--exclude=/pg_tblspc/*",
        *(f"--exclude={pattern_of(path)}" for path in nested),
        *(f"--exclude=/{name}/*" for name in _EMPTIED),
        *(f"--exclude=/{name}" for name in left_out),
    )
    return (*found, Tree("pgdata", root, "data", filters))


def files_outside(pgdata: str, files: Mapping[str, str | None]) -> dict[str, str]:
    """Return those configuration files that lie elsewhere than in the data directory; files: path by label."""
    root = pgdata.rstrip("/") + "/"
    return {label: path for label, path in files.items() if path and not posixpath.normpath(path).startswith(root)}
