"""Writing one backup, with the WAL that makes it consistent, to a tarball."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import tarfile
from contextlib import contextmanager
from datetime import datetime
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from barman.catalog.identity import read_identity
from barman.catalog.record import render_record
from barman.catalog.wal_archive import archive_key
from barman.catalog.xlog_lines import format_entry
from barman.errors import CatalogError, Refused, StorageError, UserError, WalError
from barman.exchange import tarball
from barman.host.files import fsync_directory
from barman.postgres.timelines import history_name
from barman.postgres.wal_names import timeline_of
from barman.wal.continuity import read_histories
from barman.wal.needs import has_followed, required_segments, serving_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from barman.catalog.identity import Identity
    from barman.catalog.record import BackupRecord
    from barman.catalog.wal_archive import WalArchive
    from barman.catalog.xlogdb import WalEntry
    from barman.progress import Bar, Reporter
    from barman.server import Server

_DEFAULT_LEVELS = {"gzip": 9, "bzip2": 9, "xz": 6}


class Compression:
    """How the tarball is compressed. level: None is the method's own default."""

    def __init__(self, method: str, level: int | None = None) -> None:
        """method: gzip, bzip2 or xz."""
        self.method = method
        self.level = _DEFAULT_LEVELS[method] if level is None else level


def export_backup(
    server: Server,
    record: BackupRecord,
    directory: Path,
    *,
    compression: Compression | None,
    origin: Mapping[str, object],
    now: datetime,
    reporter: Reporter,
) -> Path:
    """Write a DONE backup that is not incremental to a tarball in directory, durably, and return its path.

    origin: facts about this host, for barman.json. Raises Refused for any other backup, UserError for a directory that
    cannot be written, CatalogError without an identity, WalError naming WAL that is missing, LockBusy while the
    backup is being deleted, StorageError for what the disk does. After an error nothing is left in directory.
    """
    if not directory.is_dir() or not os.access(directory, os.W_OK):
        raise UserError(f"{directory} is not a directory that can be written")
    with server.locks.lease(record.backup_id, "exporting"):
        # As it is now that nobody can begin to delete it.
        record = server.backups.get(record.backup_id)
        identity = _require_exportable(server, record)
        wal = _require_wal(server, record)
        unfinished = directory / tarball.unfinished_name(server.name, record.backup_id, now)
        try:
            with reporter.bar("Exporting", total=record.size, unit="bytes") as bar:
                checksum = _write(unfinished, _Content(server, record, identity, origin, wal, now, bar), compression)
            name = tarball.tarball_name(
                server.name,
                record.backup_id,
                now,
                checksum=checksum,
                compression=compression.method if compression else None,
            )
            unfinished.rename(directory / name)
            fsync_directory(directory)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise StorageError(f"cannot export {error.filename or unfinished}: {error.strerror}") from error
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
    return directory / name


def _require_exportable(server: Server, record: BackupRecord) -> Identity:
    if record.is_incremental:
        raise Refused(f"backup {record.backup_id} is incremental and cannot be exported")
    if not record.is_done:
        state = "being deleted" if record.doomed else record.status.value
        raise Refused(f"backup {record.backup_id} is {state}; only a DONE backup can be exported")
    identity = read_identity(server.paths)
    if identity is None:
        raise CatalogError(f"{server.paths.identity} does not exist: the instance of the backup is not known")
    return identity


def _require_wal(server: Server, record: BackupRecord) -> Sequence[WalEntry]:
    """Return the lines of the WAL the backup needs, with the history if that leads over several timelines."""
    archive = server.wal_archive
    names: Sequence[str] = required_segments(record)
    if has_followed(record) or archive.missing(names):
        names = _names_over_timelines(archive, record)
    entries = server.xlogdb.get(names)
    return [entries[name] for name in names]


def _names_over_timelines(archive: WalArchive, record: BackupRecord) -> Sequence[str]:
    serving = serving_names(record, read_histories(archive))
    missing = set(archive.missing([name for each in serving for name in each]))
    names = []
    for each in serving:
        name = next((name for name in each if name not in missing), None)
        if name is None:
            raise WalError(f"WAL file {each[0]}, which backup {record.backup_id} needs, is not archived")
        names.append(name)
    history = history_name(timeline_of(names[-1]))
    return [*names, *({history} - set(archive.missing([history])))]


class _Content:
    """The members of the tarball, in their order."""

    def __init__(
        self,
        server: Server,
        record: BackupRecord,
        identity: Identity,
        origin: Mapping[str, object],
        wal: Sequence[WalEntry],
        now: datetime,
        bar: Bar,
    ) -> None:
        self._server = server
        self._record = record
        self._identity = {"systemid": identity.systemid, "version": identity.version}
        self._origin = dict(origin)
        self._wal = wal
        self._now = now
        self._bar = bar

    def add_to(self, tar: tarfile.TarFile) -> None:
        self._add_text(tar, tarball.IDENTITY, _json(self._identity) + "\n")
        self._add_text(tar, tarball.RECORD, render_record(self._record))
        self._add_text(tar, tarball.ORIGIN, _json(self._origin))
        self._add_tree(tar, self._server.paths.backup_dir(self._record.backup_id))
        for entry in self._wal:
            key = archive_key(entry.name)
            self._add_file(tar, str(self._server.paths.wals / key), f"{tarball.WALS}/{key}")
        self._add_text(tar, tarball.LEDGER, b"".join(map(format_entry, self._wal)).decode())

    def _add_text(self, tar: tarfile.TarFile, name: str, text: str) -> None:
        content = text.encode(errors="surrogateescape")
        member = tarfile.TarInfo(name)
        member.size = len(content)
        member.mtime = int(self._now.timestamp())
        tar.addfile(member, io.BytesIO(content))

    def _add_tree(self, tar: tarfile.TarFile, root: Path) -> None:
        for parent, directories, names in os.walk(root, onerror=_raise):
            directories.sort()
            below = os.path.relpath(parent, root)
            place = tarball.BACKUP if below == "." else f"{tarball.BACKUP}/{below}"
            tar.addfile(tar.gettarinfo(parent, place))
            links = [name for name in directories if os.path.islink(os.path.join(parent, name))]
            for name in sorted([*names, *links]):
                self._add_file(tar, os.path.join(parent, name), f"{place}/{name}")

    def _add_file(self, tar: tarfile.TarFile, path: str, name: str) -> None:
        status = os.lstat(path)
        member = tar.gettarinfo(path, name)
        if stat.S_ISLNK(status.st_mode) and tarball.linked_tablespace(name):
            tar.addfile(member)
            return
        if not stat.S_ISREG(status.st_mode):
            raise CatalogError(f"{path} is neither a file nor a directory and cannot be exported")
        # Another name of a file that is in already is a file of its own at the other end.
        member.type, member.linkname, member.size = tarfile.REGTYPE, "", status.st_size
        with open(path, "rb") as file:
            tar.addfile(member, file)
        self._bar.advance(status.st_size)


class _Hashing(io.RawIOBase):
    """A file that knows the SHA-256 of what was written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        view = memoryview(cast("bytes", data))
        self.digest.update(view)
        return self._file.write(view)


def _write(path: Path, content: _Content, compression: Compression | None) -> str:
    """Write the tarball, durably, and return its checksum."""
    with path.open("xb") as file:
        # All the data of a cluster is in it.
        os.fchmod(file.fileno(), 0o600)
        hashing = _Hashing(file)
        with _compressed(hashing, compression) as stream, tarfile.open(fileobj=stream, mode="w|") as tar:
            content.add_to(tar)
        file.flush()
        os.fsync(file.fileno())
    return hashing.digest.hexdigest()


@contextmanager
def _compressed(raw: _Hashing, compression: Compression | None) -> Iterator[IO[bytes]]:
    file = cast("BinaryIO", raw)
    if compression is None:
        yield file
    elif compression.method == "gzip":
        import gzip

        # Without name and time, so that the same content makes the same file.
        with gzip.GzipFile("", "wb", compression.level, file, mtime=0) as zipped:
            yield cast("IO[bytes]", zipped)
    elif compression.method == "bzip2":
        import bz2

        with bz2.BZ2File(file, "wb", compresslevel=compression.level) as zipped:
            yield cast("IO[bytes]", zipped)
    else:
        import lzma

        with lzma.LZMAFile(file, "wb", preset=compression.level) as zipped:
            yield cast("IO[bytes]", zipped)


def _json(data: Mapping[str, object]) -> str:
    return json.dumps(data, indent=4, sort_keys=True, default=_iso_time)


def _iso_time(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _raise(error: OSError) -> None:
    raise error
