"""Looking at what is there to restore from: the files of the backup, and the WAL archive."""

from __future__ import annotations

import logging
import os
import re
from typing import TYPE_CHECKING

from barman.errors import Refused, WalError
from barman.postgres.manifest import read_files
from barman.postgres.timelines import TimelineHistory, parse_history
from barman.postgres.wal_names import segment_name, segment_number
from barman.restore.exclusions import CONTROL_FILE, MANIFEST
from barman.restore.plan import ArchiveView, BackupFiles, Tarball
from barman.restore.wal_plan import collect_runs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from barman.catalog.layout import ServerPaths
    from barman.catalog.record import BackupRecord
    from barman.catalog.wal_archive import WalArchive
    from barman.restore.timelines import Histories
    from barman.restore.wal_plan import SegmentRuns

_log = logging.getLogger(__name__)

# A crash leaves a batch of files without lines; a longer hole is a real one.
_PROBED_IN_HOLE = 4096
_IN_TABLESPACE = re.compile(r"pg_tblspc/(\d+)/")
_TARBALL = re.compile(r"(?P<stem>base|[0-9]+)\.tar(?:\.(?:gz|lz4|zst|bz2|xz))?")


def inspect_backup(paths: ServerPaths, record: BackupRecord) -> BackupFiles:
    """Return how a backup lies on disk; Refused, naming what is missing, unless all its parts are there."""
    data = paths.data_dir(record.backup_id)
    try:
        names = os.listdir(data)
    except OSError as error:
        raise _incomplete(record, f"{data}: {error.strerror}") from error
    tarballs = tuple(
        Tarball(name, None if match["stem"] == "base" else int(match["stem"]))
        for name in sorted(names)
        if (match := _TARBALL.fullmatch(name)) is not None
    )
    if tarballs:
        _require_tarballs(data, record, tarballs)
        return BackupFiles(tarballs, _manifest_sizes(data / MANIFEST) if MANIFEST in names else {})
    _require_files(paths, data, record)
    return BackupFiles(has_stray_links=_has_stray_links(paths, data, record))


def read_histories(archive: WalArchive) -> Histories:
    """Return what the archived timeline history files say; one that makes no sense is left out, and logged.

    A file that came into the archive just before a crash may not be listed: those after the last are looked for.
    """
    timelines = archive.timelines()
    histories: dict[int, TimelineHistory] = {}
    timeline = 2
    while timeline <= max(timelines, default=0) or timeline - 1 in histories or timeline == 2:
        text = archive.history(timeline)
        if text is not None:
            try:
                histories[timeline] = parse_history(text, timeline)
            except WalError as error:
                _log.warning("%s", error)
        timeline += 1
    return histories


def view_archive(archive: WalArchive, streaming: Path, record: BackupRecord, histories: Histories) -> ArchiveView:
    """Return what the archive holds for recovery from the backup, on its timeline and newer ones.

    The ledger says what to expect, the files what there is: a segment counts if its file is there, listed or not.
    """
    size = record.xlog_segment_size
    begin, own = record.begin_wal, record.timeline
    if begin is None or own is None:
        return ArchiveView(histories)
    first = segment_number(begin, size)
    names: list[str] = []
    encrypted = None
    partials = set()
    for timeline in sorted({own, *(number for number in histories if number > own)}):
        for entry in archive.xlogdb.entries(segment_name(timeline, first, size), f"{timeline:08X}{'F' * 16}~"):
            if entry.name.endswith(".partial"):
                partials.add(entry.name)
            elif archive.exists(entry.name):
                names.append(entry.name)
                encrypted = encrypted or (entry.name if entry.encryption else None)
        names += _unlisted(archive, collect_runs(names, size), timeline, first, size)
    partials.update(name for name in _listing(streaming) if name.endswith(".partial"))
    return ArchiveView(histories, collect_runs(names, size), frozenset(partials), encrypted)


def _unlisted(archive: WalArchive, runs: SegmentRuns, timeline: int, first: int, size: int) -> list[str]:
    """Return the segments of timeline that are there without a line: in the holes, and right after the last one."""
    found = []
    number = first
    for begin, end in runs.get(timeline, ()):
        hole = range(number, min(begin, number + _PROBED_IN_HOLE))
        found += [name for name in (segment_name(timeline, n, size) for n in hole) if archive.exists(name)]
        number = end + 1
    while archive.exists(name := segment_name(timeline, number, size)):
        found.append(name)
        number += 1
    return found


def _listing(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _manifest_sizes(manifest: Path) -> Mapping[int | None, int]:
    sizes: dict[int | None, int] = {None: 0}
    with manifest.open(encoding="utf-8", errors="surrogateescape") as lines:
        for file in read_files(lines):
            match = _IN_TABLESPACE.match(file.path)
            oid = int(match[1]) if match else None
            sizes[oid] = sizes.get(oid, 0) + file.size
    return sizes


def _require_tarballs(data: Path, record: BackupRecord, tarballs: tuple[Tarball, ...]) -> None:
    wanted = {None, *(tablespace.oid for tablespace in record.tablespaces or () if tablespace.location.startswith("/"))}
    for oid in sorted(wanted - {tarball.oid for tarball in tarballs}, key=str):
        raise _incomplete(record, f"{data / ('base' if oid is None else str(oid))}.tar* is missing")


def _require_files(paths: ServerPaths, data: Path, record: BackupRecord) -> None:
    needed = [data / "PG_VERSION", data / CONTROL_FILE]
    for tablespace in record.tablespaces or ():
        is_outside = tablespace.location.startswith("/")
        place = paths.tablespace_dir(record.backup_id, tablespace.oid)
        needed.append(place if is_outside else data / "pg_tblspc" / str(tablespace.oid))
    for path in needed:
        if not path.exists():
            raise _incomplete(record, f"{path} is missing")


def _has_stray_links(paths: ServerPaths, data: Path, record: BackupRecord) -> bool:
    for tablespace in record.tablespaces or ():
        link = data / "pg_tblspc" / str(tablespace.oid)
        own = paths.tablespace_dir(record.backup_id, tablespace.oid)
        if tablespace.location.startswith("/") and not (link.exists() and link.samefile(own)):
            return True
    return False


def _incomplete(record: BackupRecord, reason: str) -> Refused:
    return Refused(f"backup {record.backup_id} is not complete: {reason}", hint="Choose another backup.")
