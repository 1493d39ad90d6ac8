"""Catalogues made by hand: backups and WAL that no PostgreSQL ever wrote, for what works on records and files only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from barman.catalog.backups import BackupCatalog
from barman.catalog.layout import ServerPaths
from barman.catalog.record import BackupId, BackupRecord, Status, render_record
from barman.catalog.wal_archive import archive_key
from barman.catalog.xlogdb import WalEntry, XlogDb
from barman.postgres.facts import Tablespace
from barman.postgres.wal_names import segments_between
from barman.storage.local import LocalStorage
from tests.support.users import give

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

BEGINNING = datetime(2026, 11, 1, tzinfo=timezone.utc)
HISTORY = "00000002.history"
SYSTEM_ID = "7710493415885742363"

_MIB = 1024 * 1024


def backup_id(number: int) -> BackupId:
    """Return the id of the numberth backup; one a day."""
    return BackupId((BEGINNING + timedelta(days=number)).strftime("%Y%m%dT%H%M%S"))


def segment(number: int, timeline: int = 1) -> str:
    """Return the name of the numberth segment of 16 MiB."""
    return f"{timeline:08X}{number // 256:08X}{number % 256:08X}"


def label(number: int) -> str:
    """Return the name of the label file of a backup that began in segment number."""
    return f"{segment(number)}.00000028.backup"


@dataclass(frozen=True)
class HandMade:
    """The catalogue of one server below directory."""

    directory: Path
    name: str = "main"

    @property
    def paths(self) -> ServerPaths:
        """Its default layout."""
        root, wals = self.directory, self.directory / "wals"
        return ServerPaths(
            root,
            base=root / "base",
            wals=wals,
            incoming=root / "incoming",
            streaming=root / "streaming",
            errors=root / "errors",
            xlogdb=wals / f"{self.name}-xlog.db",
        )

    @property
    def backups(self) -> BackupCatalog:
        """Its records, as barman reads them."""
        return BackupCatalog(LocalStorage(self.paths.meta), self.paths)

    def make_directories(self) -> None:
        """Create what check would create."""
        for path in self.paths.directories:
            path.mkdir(parents=True, exist_ok=True)
            give(path)

    def add_backup(self, number: int, first: int, last: int, **fields: Any) -> BackupRecord:
        """Write a DONE backup with a few files that needs the segments from first to last."""
        begin = BEGINNING + timedelta(days=number)
        record = BackupRecord(
            backup_id(number),
            **{
                "status": Status.DONE,
                "mode": "postgres",
                "server_name": self.name,
                "begin_wal": segment(first),
                "end_wal": segment(last),
                "begin_xlog": f"0/{first:X}000028",
                "end_xlog": f"0/{last:X}000100",
                "begin_offset": 40,
                "end_offset": 256,
                "begin_time": begin,
                "end_time": begin + timedelta(seconds=10),
                "timeline": 1,
                "version": 150018,
                "systemid": SYSTEM_ID,
                "pgdata": "/srv/pg",
                "cluster_size": 3000,
                "size": 1000,
                "deduplicated_size": 1000,
                "tablespaces": (Tablespace("one", 16386, "/srv/one"),),
                "copy_stats": {"copy_time": 2.5, "total_time": 2.6},
                **fields,
            },
        )
        self.write_record(record)
        for path, content in self.files_of(record.backup_id).items():
            _write(path, content)
        return record

    def write_record(self, record: BackupRecord) -> None:
        """Write backup.info as another program would."""
        _write(self.paths.record_file(record.backup_id), render_record(record).encode())

    def files_of(self, one: str) -> Mapping[Path, bytes]:
        """Return what the directory of a backup holds."""
        directory = self.paths.backup_dir(one)
        return {
            directory / "data" / "PG_VERSION": b"15\n",
            directory / "data" / "base" / "1" / "1259": one.encode(),
            directory / "data" / "global" / "pg_control": one.encode() * 2,
            directory / "16386" / "PG_15" / "5" / "16387": one.encode() * 3,
        }

    def add_wal(self, names: Iterable[str], content: Callable[[str], bytes] = str.encode) -> None:
        """Archive files that hold their own name, or another content, with their lines."""
        listed = []
        for number, name in enumerate(names):
            written, mtime = content(name), 1795239296.5 + 10 * number
            path = self.paths.wals / archive_key(name)
            _write(path, written)
            os.utime(path, (mtime, mtime))
            listed.append(f"{name}\t{len(written)}\t{mtime}\tNone\tNone\n")
        with self.paths.xlogdb.open("a") as file:
            file.write("".join(listed))
        give(self.paths.xlogdb)

    def segments(self, record: BackupRecord) -> list[str]:
        """Return the segments a backup cannot be restored without."""
        return list(segments_between(str(record.begin_wal), str(record.end_wal), 16 * _MIB))

    # What is there now

    def listed(self) -> list[str]:
        """Return the names in the ledger, as barman reads it."""
        return [entry.name for entry in XlogDb(self.paths.xlogdb, _no_lock, _no_scan).entries()]

    def archived(self) -> list[str]:
        """Return the names of the archived files."""
        files = (path.name for path in self.paths.wals.rglob("*") if path.is_file())
        return sorted(name for name in files if not name.endswith("xlog.db"))

    def is_whole(self, record: BackupRecord) -> bool:
        """Whether every file and every segment the backup needs is there, and listed."""
        listed = set(self.listed())
        files = {path: path.read_bytes() if path.is_file() else None for path in self.files_of(record.backup_id)}
        wal = self.segments(record)
        return (
            files == self.files_of(record.backup_id)
            and listed.issuperset(wal)
            and all((self.paths.wals / archive_key(name)).is_file() for name in wal)
        )


def _write(path: Path, content: bytes) -> None:
    for parent in reversed([one for one in path.parents if not one.exists()]):
        parent.mkdir()
        give(parent)
    path.write_bytes(content)
    give(path)


def _no_lock() -> AbstractContextManager[None]:
    raise AssertionError("reading takes no lock")


def _no_scan() -> Iterable[WalEntry]:
    return ()
