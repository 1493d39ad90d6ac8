"""Looking at what is there to restore from: the files of the backup, and the WAL archive."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from barman.errors import NotFound, Refused
from barman.postgres.control_file import parse_limits
from barman.postgres.manifest import read_files
from barman.postgres.wal_names import segment_name, segment_number
from barman.postgres.wal_runs import collect_runs
from barman.restore.configure import DirectoryFiles
from barman.restore.exclusions import CONTROL_FILE, MANIFEST, is_excluded
from barman.restore.fetch import tree_size
from barman.restore.plan import ArchiveView, BackupFiles, Configuration, Tarball
from barman.restore.tarred_settings import look_into

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from barman.catalog.layout import ServerPaths
    from barman.catalog.record import BackupId, BackupRecord
    from barman.catalog.wal_archive import WalArchive
    from barman.postgres.wal_runs import SegmentRuns
    from barman.restore.fetch import Route
    from barman.restore.timelines import Histories
    from barman.storage.encrypt.gpg import Decryption

# A crash leaves a batch of files without lines; a longer hole is a real one.
_PROBED_IN_HOLE = 4096
_IN_TABLESPACE = re.compile(r"pg_tblspc/(\d+)/")
_TARBALL = re.compile(r"(?P<stem>base|[0-9]+)\.tar(?:\.(?:gz|lz4|zst|bz2|xz))?(?:\.gpg)?")


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
    return BackupFiles(sizes=_tree_sizes(paths, data, record), has_stray_links=_has_stray_links(paths, data, record))


def restored_sizes(
    paths: ServerPaths, chain: Sequence[BackupRecord], files: Mapping[BackupId, BackupFiles]
) -> Mapping[int | None, int]:
    """Return the bytes of the restored cluster by tablespace oid, None for the data directory; {} if they are unknown.

    Those of a chain of incremental backups are those of its last manifest, where what is there as changed blocks only
    counts as it was in the newest backup before that has it whole.
    """
    if len(chain) == 1:
        return files[chain[0].backup_id].sizes
    wanted: dict[str, int] | None = None
    found: dict[str, int] = {}
    for record in reversed(chain):
        manifest = paths.data_dir(record.backup_id) / MANIFEST
        if not manifest.exists():
            return {}
        sizes = dict(_manifest_entries(manifest))
        if wanted is None:
            wanted = {_whole_name(path): 0 for path in sizes}
        for path in wanted:
            if path not in found and path in sizes:
                found[path] = sizes[path]
    return _by_tablespace((path, found.get(path, 0)) for path in wanted or {})


def inspect_configuration(
    paths: ServerPaths, record: BackupRecord, files: BackupFiles, *, decryption: Decryption | None
) -> Configuration:
    """Return the configuration of the backup, but for what a restore leaves out; files: of the same.

    Of tarballs no more is read than is quick.
    """
    data = paths.data_dir(record.backup_id)
    for tarball in files.tarballs:
        if tarball.oid is None:
            tarred = look_into(data / tarball.name, data / MANIFEST, decryption=decryption)
            try:
                return Configuration(tarred, parse_limits(tarred.control_file()))
            except NotFound as error:
                return Configuration(tarred, unread=(error.message,))
    return Configuration(
        DirectoryFiles(data, is_absent=is_excluded),
        parse_limits((data / CONTROL_FILE).read_bytes()),
    )


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


def _tree_sizes(paths: ServerPaths, data: Path, record: BackupRecord) -> Mapping[int | None, int]:
    outside = [tablespace.oid for tablespace in record.tablespaces or () if tablespace.location.startswith("/")]
    links = {f"pg_tblspc/{oid}" for oid in outside}

    def keep(path: str) -> str | None:
        return None if is_excluded(path) or path in links else path

    trees: dict[int | None, tuple[Path, Route]] = {None: (data, keep)}
    trees |= {oid: (paths.tablespace_dir(record.backup_id, oid), lambda path: path) for oid in outside}
    return {oid: tree_size(*tree) for oid, tree in trees.items()}


def _manifest_sizes(manifest: Path) -> Mapping[int | None, int]:
    return _by_tablespace(_manifest_entries(manifest))


def _manifest_entries(manifest: Path) -> Iterator[tuple[str, int]]:
    with manifest.open(encoding="utf-8", errors="surrogateescape") as lines:
        for file in read_files(lines):
            yield file.path, file.size


def _by_tablespace(entries: Iterable[tuple[str, int]]) -> Mapping[int | None, int]:
    sizes: dict[int | None, int] = {None: 0}
    for path, size in entries:
        match = _IN_TABLESPACE.match(path)
        oid = int(match[1]) if match else None
        sizes[oid] = sizes.get(oid, 0) + size
    return sizes


def _whole_name(path: str) -> str:
    """Return the path of the file that changed blocks (INCREMENTAL.NAME) belong to."""
    directory, slash, name = path.rpartition("/")
    return directory + slash + name.removeprefix("INCREMENTAL.")


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
