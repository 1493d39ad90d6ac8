"""Writing a backup_manifest for a copy that came without one.

Source: PostgreSQL manual, "Backup Manifest Format". Only the files below data/ are listed, as Barman 3.19 does;
pg_verifybackup -n accepts the result.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from typing import TYPE_CHECKING, BinaryIO

from barman.errors import Refused, StorageError
from barman.host.files import naming, replacing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from barman.catalog.record import BackupRecord
    from barman.progress import Reporter
    from barman.server import Server

_CHUNK_BYTES = 1 << 20
_WORKERS = 8
_NAME = "backup_manifest"


def generate_manifest(server: Server, record: BackupRecord, reporter: Reporter) -> Path:
    """Write the manifest of a backup, durably, and return its path.

    Raises Refused if there is one already or the backup is being deleted, LockBusy if somebody changes the backup, and
    StorageError naming the file that cannot be read or written.
    """
    data = server.paths.data_dir(record.backup_id)
    target = data / _NAME
    with server.locks.lease(record.backup_id, "generating the manifest of"):
        if server.backups.get(record.backup_id).doomed:
            raise Refused(f"backup {record.backup_id} is being deleted")
        if target.exists():
            raise Refused(f"{target} exists already")
        if not data.is_dir():
            raise Refused(f"backup {record.backup_id} has no data directory")
        try:
            with replacing(target, mode=0o600) as file:
                _write_manifest(file, data, reporter)
        except OSError as error:
            raise StorageError(f"cannot generate the manifest: {error.filename}: {error.strerror}") from error
    return target


def _write_manifest(file: BinaryIO, data: Path, reporter: Reporter) -> None:
    checksum = hashlib.sha256()

    def write(text: str) -> None:
        encoded = text.encode()
        checksum.update(encoded)
        file.write(encoded)

    write('{"PostgreSQL-Backup-Manifest-Version": 1,\n"Files": [')
    separator = "\n"
    paths = list(_regular_files(data))
    with (
        reporter.bar("Generating manifest", total=len(paths), unit="files") as bar,
        # Hashing leaves Python to other threads.
        ThreadPoolExecutor(max_workers=min(_WORKERS, os.cpu_count() or 1)) as pool,
    ):
        for line in pool.map(lambda path: _describe(data, path), paths):
            write(f"{separator}{line}")
            separator = ",\n"
            bar.advance(1)
    write("],\n")
    file.write(f'"Manifest-Checksum": "{checksum.hexdigest()}"}}\n'.encode())


def _regular_files(data: Path) -> Iterator[str]:
    """Yield the files below data, those of a directory before those in its directories."""
    for parent, directories, names in os.walk(data, onerror=_raise):
        directories.sort()
        for name in sorted(names):
            path = os.path.join(parent, name)
            # The manifest itself is being written under a temporary name.
            if not name.startswith(f".{_NAME}.") and stat.S_ISREG(os.lstat(path).st_mode):
                yield path


def _raise(error: OSError) -> None:
    raise error


def _describe(data: Path, path: str) -> str:
    digest = hashlib.sha256()
    with naming(path), open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
        status = os.fstat(file.fileno())
    modified = datetime.fromtimestamp(status.st_mtime, timezone.utc)
    entry = {
        "Checksum": digest.hexdigest(),
        "Checksum-Algorithm": "SHA256",
        "Last-Modified": modified.strftime("%Y-%m-%d %H:%M:%S"),
        **_encoded_path(os.path.relpath(path, data)),
        "Size": status.st_size,
    }
    return json.dumps(entry)


def _encoded_path(path: str) -> dict[str, str]:
    try:
        path.encode()
    except UnicodeEncodeError:
        return {"Encoded-Path": os.fsencode(path).hex()}
    return {"Path": path}
