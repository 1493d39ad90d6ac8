"""Taking in a backup that another Barman host exported. It appears whole, or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from barman.catalog.identity import Identity, read_identity, write_identity
from barman.catalog.record import KeepTarget, Status, parse_record
from barman.catalog.wal_archive import ArchivedWal, archive_key
from barman.catalog.xlog_lines import parse_chunk, parse_row
from barman.errors import Refused, StorageError, UserError, WalError
from barman.exchange import tarball
from barman.host.files import fsync_directory, fsync_tree, make_directories, remove_tree, unlink_durably
from barman.postgres.timelines import parse_history
from barman.postgres.wal_names import is_wal_name, timeline_of
from barman.storage.storage import Write
from barman.wal.needs import serving_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from barman.catalog.record import BackupRecord
    from barman.catalog.xlog_lines import WalEntry
    from barman.progress import Bar, Reporter
    from barman.server import Server

_STAGING = ".import-"
_CHUNK_BYTES = 1 << 20
_WORKERS = 8


def import_backup(server: Server, path: Path, reporter: Reporter) -> BackupRecord:
    """Take in the backup in the tarball at path, durably, and return its record; it is kept (standalone).

    A server without backups yet takes over the identity of the tarball. Raises UserError for a tarball that is not one,
    is damaged, or was made for another server; Refused when the backup is here already or is of another instance;
    WalError when WAL is missing or differs from what is archived; LockBusy; StorageError. After an error all is as
    before.
    """
    name = tarball.parse_tarball_name(path.name)
    if name.server != server.name:
        raise UserError(f"{path.name} was exported from server '{name.server}', not from '{server.name}'")
    with server.locks.backup(), server.locks.backup_id(name.backup_id):
        if name.backup_id in server.backups.load() or name.backup_id in server.backups.deletion_marks():
            raise Refused(f"backup {name.backup_id} is in the catalogue of server '{server.name}' already")
        _require_checksum(path, name.checksum, reporter)
        with _staging(server) as staging:
            with reporter.bar("Importing", total=None, unit="bytes") as bar:
                _extract(path, staging, bar)
            record = _read_record(staging, name.backup_id)
            identity = _read_identity(staging)
            _require_same_instance(server, record, identity, reporter)
            needed = _needed_wal(server, record, staging)
            _take_in(server, record, identity, staging, needed)
    return record


def _require_checksum(path: Path, expected: str, reporter: Reporter) -> None:
    digest = hashlib.sha256()
    try:
        with (
            reporter.bar("Checking the tarball", total=path.stat().st_size, unit="bytes") as bar,
            path.open("rb") as file,
        ):
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                bar.advance(len(chunk))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    if not digest.hexdigest().startswith(expected):
        raise UserError(f"{path} is damaged: its SHA-256 does not begin with {expected}, as its name says")


@contextmanager
def _staging(server: Server) -> Iterator[Path]:
    """Yield a directory beside the backups, removed at the end; whatever a killed import left is removed first."""
    base = server.paths.base
    try:
        make_directories(base)
        for left in base.glob(f"{_STAGING}*"):
            remove_tree(left)
        staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=base))
        try:
            yield staging
        finally:
            remove_tree(staging)
    except OSError as error:
        raise StorageError(f"cannot import: {error.filename or base}: {error.strerror}") from error


def _extract(path: Path, staging: Path, bar: Bar) -> None:
    """Unpack the tarball, which may come from anywhere: only files and directories, only in their places."""
    directories: list[tuple[Path, int]] = []
    try:
        with tarfile.open(path, "r|*") as tar:
            for member in tar:
                name = tarball.require_safe(member.name)
                target = staging / name
                if member.isdir():
                    target.mkdir(parents=True, exist_ok=True)
                    directories.append((target, member.mode))
                elif member.isreg():
                    _extract_file(tar, member, target)
                    bar.advance(member.size)
                elif not (member.issym() and tarball.linked_tablespace(name)):
                    raise UserError(f"the tarball has a member it must not have: {member.name!r}")
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise UserError(f"{path} is not a tarball that can be read: {error}") from error
    for directory, mode in reversed(directories):
        directory.chmod(mode & 0o777 | 0o700)
    for required in tarball.REQUIRED:
        if not (staging / required).exists():
            raise UserError(f"the tarball has no {required}")


def _extract_file(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    source = tar.extractfile(member)
    if source is None:
        raise UserError(f"the tarball has a member that cannot be read: {member.name!r}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with source, target.open("xb") as file:
        shutil.copyfileobj(source, file, _CHUNK_BYTES)
        os.fchmod(file.fileno(), member.mode & 0o777)
    os.utime(target, (member.mtime, member.mtime))


def _read_record(staging: Path, backup_id: str) -> BackupRecord:
    text = (staging / tarball.RECORD).read_text(errors="surrogateescape")
    record = parse_record(text, backup_id)
    if record.is_incremental or record.status is not Status.DONE:
        raise Refused(f"backup {backup_id} is {'incremental' if record.is_incremental else record.status.value}")
    return record


def _read_identity(staging: Path) -> Identity:
    try:
        content = json.loads((staging / tarball.IDENTITY).read_bytes())
        return Identity(str(content["systemid"]), str(content["version"]))
    except (ValueError, LookupError, TypeError) as error:
        raise UserError(f"the tarball's {tarball.IDENTITY} is damaged") from error


def _require_same_instance(server: Server, record: BackupRecord, theirs: Identity, reporter: Reporter) -> None:
    ours = read_identity(server.paths) or theirs
    if ours.systemid != theirs.systemid or record.systemid not in (None, theirs.systemid):
        raise Refused(
            f"backup {record.backup_id} is of the instance with system identifier {theirs.systemid}, "
            f"the backups of server '{server.name}' are of {ours.systemid}"
        )
    if ours.version != theirs.version:
        reporter.warning(
            f"backup {record.backup_id} is of PostgreSQL {theirs.version}, server '{server.name}' of {ours.version}"
        )


def _needed_wal(server: Server, record: BackupRecord, staging: Path) -> Sequence[WalEntry]:
    """Return the lines in the tarball of the WAL the backup needs, histories included; WalError if some is missing."""
    chunk = (staging / tarball.LEDGER).read_bytes()
    entries = (entry for entry in map(parse_row, parse_chunk(chunk).rows()) if is_wal_name(entry.name))
    lines = {entry.name: entry for entry in entries if _file(staging, entry).is_file()}
    needed = [line for name, line in lines.items() if name.endswith(".history")]
    histories = {}
    for line in needed:
        with server.wal_archive.decode(_file(staging, line).open("rb")) as file:
            timeline = timeline_of(line.name)
            histories[timeline] = parse_history(file.read().decode(errors="replace"), timeline)
    for names in serving_names(record, histories):
        found = next((lines[name] for name in names if name in lines), None)
        if found is None:
            raise WalError(f"the tarball has no WAL file {names[0]}, which backup {record.backup_id} needs")
        needed.append(found)
    return needed


def _plan_wal(server: Server, needed: Sequence[WalEntry], staging: Path) -> Sequence[ArchivedWal]:
    """Return the WAL to be added; WalError if some is here with another content."""
    added = []
    for line in needed:
        file = _file(staging, line)
        if not server.wal_archive.exists(line.name):
            added.append(ArchivedWal(Write(archive_key(line.name), file), line.compression, line.encryption))
        elif not _is_same(server, line, file):
            raise WalError(f"WAL file {line.name} is archived already, with another content than in the tarball")
    return added


def _file(staging: Path, line: WalEntry) -> Path:
    return staging / tarball.WALS / archive_key(line.name)


def _is_same(server: Server, line: WalEntry, file: Path) -> bool:
    archive = server.wal_archive
    with archive.open(line.name) as ours, file.open("rb") as theirs:
        if _digest(ours) == _digest(theirs):
            return True
    if line.encryption is not None:
        return False
    with archive.open_decoded(line.name) as ours, archive.decode(file.open("rb")) as theirs:
        return _digest(ours) == _digest(theirs)


def _digest(file: BinaryIO) -> bytes:
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.digest()


def _take_in(
    server: Server, record: BackupRecord, identity: Identity, staging: Path, needed: Sequence[WalEntry]
) -> None:
    """Give everything its place: WAL, files, annotation, identity, and last the record, which makes it a backup."""
    wal = _plan_wal(server, needed, staging)
    paths, backup_id = server.paths, record.backup_id
    data = staging / tarball.BACKUP
    _link_tablespaces(server, record, data)
    fsync_tree(data, workers=_WORKERS)
    # A directory without a record is what a killed import left.
    remove_tree(paths.backup_dir(backup_id))
    is_first = read_identity(paths) is None
    server.wal_archive.heal([line.name for line in needed])
    server.wal_archive.add(wal)
    try:
        data.rename(paths.backup_dir(backup_id))
        fsync_directory(paths.base)
        server.backups.set_keep(backup_id, KeepTarget.STANDALONE)
        # A server without any learns from its first backup what instance it is for.
        write_identity(paths, identity.systemid, identity.version or "")
        server.backups.save(replace(record, server_name=server.name, children_backup_ids=()))
    except BaseException:
        # The record first: it may stand already when its directory cannot be flushed, or a signal comes.
        server.backups.remove(backup_id)
        remove_tree(paths.backup_dir(backup_id))
        if is_first:
            unlink_durably(paths.identity)
        server.wal_archive.remove([one.write.key.rpartition("/")[2] for one in wal])
        raise


def _link_tablespaces(server: Server, record: BackupRecord, data: Path) -> None:
    """Make the links in pg_tblspc lead to where the tablespaces will be here."""
    if record.compression:
        return
    links = data / "data" / "pg_tblspc"
    for tablespace in record.tablespaces or ():
        if not links.is_dir() or record.mode != "postgres":
            return
        link = links / str(tablespace.oid)
        if not link.exists():
            link.symlink_to(server.paths.tablespace_dir(record.backup_id, tablespace.oid))
