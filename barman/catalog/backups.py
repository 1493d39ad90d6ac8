"""The records of one server's backups, with their annotations and deletion marks, as files in meta/."""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from barman.catalog.page_report import parse_report, render_report
from barman.catalog.record import (
    BACKUP_ID_FORMAT,
    BackupId,
    BackupRecord,
    KeepTarget,
    is_backup_id,
    parse_record,
    render_record,
)
from barman.errors import CatalogError, NotFound, StorageError, UnknownBackup
from barman.host import files
from barman.storage.storage import Write

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from barman.catalog.layout import ServerPaths
    from barman.catalog.page_report import PageReport
    from barman.storage.storage import Storage

_log = logging.getLogger(__name__)

_ID_LENGTH = 15
_RECORD = "-backup.info"
_KEEP = "-keep"
_DELETION = "-delete_this"
_PAGES = "-pages.json"


class BackupCatalog:
    """Reads and writes the records. Nothing is cached: every call sees what is on disk now."""

    def __init__(self, meta: Storage, paths: ServerPaths) -> None:
        """meta: the directory paths.meta. Records and annotations of older layouts are found below paths.base."""
        self._meta = meta
        self._paths = paths

    def load(self) -> Mapping[BackupId, BackupRecord]:
        """Return all records, oldest first.

        A record that cannot be understood is there with its damage noted, so that it neither hides nor stops the
        others. children_backup_ids is made from the children's own parent links, which are never wrong.
        """
        names = self._names()
        doomed = frozenset(_ids(names, _DELETION))
        records = {}
        for backup_id in self._recorded_ids(names):
            record = self._read(backup_id)
            if record is not None:
                records[backup_id] = replace(record, doomed=True) if backup_id in doomed else record
        return _with_children(records)

    def get(self, backup_id: str) -> BackupRecord:
        """Return the record of one backup; UnknownBackup if there is none, CatalogError if it is damaged."""
        record = self.load().get(BackupId(backup_id))
        if record is None:
            raise UnknownBackup(f"Unknown backup '{backup_id}'")
        if record.damage:
            raise CatalogError(record.damage)
        return record

    def is_there(self, backup_id: str) -> bool:
        """Whether there is a record of the backup, readable or not; costs next to nothing."""
        return self._meta.exists(backup_id + _RECORD) or self._paths.legacy_record_file(backup_id).exists()

    def save(self, record: BackupRecord) -> None:
        """Write the record, atomically and durably."""
        if record.damage:
            raise CatalogError(f"the damaged record of backup {record.backup_id} is not overwritten")
        self._write(record.backup_id + _RECORD, render_record(record).encode(errors="surrogateescape"))

    def new_record(self, now: datetime, **fields: Any) -> BackupRecord:  # noqa: ANN401  any field of BackupRecord
        """Create the record of a backup that begins now, durably, and return it.

        Its id is the local time, or one second above the highest id there is: ids never repeat or go back, whatever
        the clock does. Hold the backup lock.
        """
        backup_id = now.astimezone().strftime(BACKUP_ID_FORMAT)
        highest = max(self._used_ids(), default="")
        if backup_id <= highest:
            following = datetime.strptime(highest, BACKUP_ID_FORMAT) + timedelta(seconds=1)  # noqa: DTZ007  local, as ids are
            backup_id = following.strftime(BACKUP_ID_FORMAT)
        record = BackupRecord(backup_id=BackupId(backup_id), **fields)
        self.save(record)
        return record

    def remove(self, backup_id: str) -> None:
        """Forget a backup whose files are gone: its record, its annotation, and last the mark of its deletion."""
        self._meta.delete_batch([backup_id + _RECORD, backup_id + _KEEP, backup_id + _PAGES])
        self._meta.delete_batch([backup_id + _DELETION])

    # Page checksums

    def page_report(self, backup_id: str) -> PageReport | None:
        """Return what was found in the pages of a backup; None if nobody looked, or it cannot be read."""
        try:
            with self._meta.open(backup_id + _PAGES) as file:
                return parse_report(file.read())
        except NotFound:
            return None
        except (StorageError, ValueError) as error:
            _log.warning("%s%s cannot be read: %s", backup_id, _PAGES, error)
            return None

    def save_page_report(self, backup_id: str, report: PageReport) -> None:
        """Keep what was found, durably."""
        self._write(backup_id + _PAGES, render_report(report))

    # Keep annotations

    def keep(self, backup_id: str) -> KeepTarget | None:
        """Return how the backup is kept for ever, None if it is not.

        An empty annotation, left by a crash of older versions, is none; any word but standalone means full.
        """
        word = self._annotation(backup_id, "keep")
        if not word:
            return None
        return KeepTarget.STANDALONE if word == KeepTarget.STANDALONE.value else KeepTarget.FULL

    def keeps(self) -> Mapping[BackupId, KeepTarget]:
        """Return the annotations of all backups that are kept."""
        names = self._names()
        marked = set(_ids(names, _KEEP))
        found = (
            (backup_id, self.keep(backup_id))
            for backup_id in self._recorded_ids(names)
            if backup_id in marked or os.path.exists(self._paths.legacy_annotation(backup_id, "keep"))
        )
        return {backup_id: target for backup_id, target in found if target is not None}

    def set_keep(self, backup_id: str, target: KeepTarget) -> None:
        """Keep the backup for ever, durably."""
        self._write(backup_id + _KEEP, target.value.encode())
        self._remove_older_annotation(backup_id, "keep")

    def clear_keep(self, backup_id: str) -> None:
        """Keep the backup no longer, durably; nothing happens if it was not kept."""
        self._meta.delete_batch([backup_id + _KEEP])
        self._remove_older_annotation(backup_id, "keep")

    # Deletion marks

    def mark_deletion(self, backup_id: str) -> None:
        """Write down, durably, that the deletion of a backup has begun: from here on it can only be finished.

        Works on a full disk too, where deleting is needed most: a second name of the record takes no block.
        """
        try:
            self._write(backup_id + _DELETION, b"delete")
        except StorageError:
            mark = self._paths.meta / (backup_id + _DELETION)
            records = (self._paths.record_file(backup_id), self._paths.legacy_record_file(backup_id))
            if not any(self._link_mark(mark, record) for record in records):
                raise

    def deletion_marks(self) -> frozenset[BackupId]:
        """Return the backups whose deletion has begun; the record of one may be gone already."""
        return frozenset(_ids(self._names(), _DELETION))

    @staticmethod
    def _link_mark(mark: Path, record: Path) -> bool:
        try:
            with contextlib.suppress(FileExistsError):
                mark.hardlink_to(record)
            files.fsync_directory(mark.parent)
        except OSError:
            _log.debug("cannot link %s to %s either", mark, record, exc_info=True)
            return False
        return True

    # Inside

    def _names(self) -> Sequence[str]:
        return [entry.key for entry in self._meta.list()]

    def _recorded_ids(self, names: Sequence[str]) -> list[BackupId]:
        recorded = set(_ids(names, _RECORD))
        older = (BackupId(name) for name in self._directories() if name not in recorded)
        return sorted({*recorded, *(name for name in older if self._paths.legacy_record_file(name).exists())})

    def _directories(self) -> list[str]:
        """Return the names of the backup directories."""
        try:
            return list(filter(is_backup_id, os.listdir(self._paths.base)))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CatalogError(f"cannot read {self._paths.base}: {error.strerror}") from error

    def _used_ids(self) -> list[str]:
        prefixes = (name[:_ID_LENGTH] for name in self._names())
        return [*filter(is_backup_id, prefixes), *self._directories()]

    def _read(self, backup_id: BackupId) -> BackupRecord | None:
        """Return the record, None if it went away meanwhile."""
        try:
            text = self._content(backup_id).decode(errors="surrogateescape")
            if not text.strip():
                raise CatalogError(f"the record of backup {backup_id} is empty, as a power cut leaves it")
            return parse_record(text, backup_id)
        except NotFound:
            return None
        except (CatalogError, StorageError) as error:
            return BackupRecord(backup_id=backup_id, damage=error.message)

    def _content(self, backup_id: str) -> bytes:
        try:
            with self._meta.open(backup_id + _RECORD) as file:
                return file.read()
        except NotFound:
            return _read_older(self._paths.legacy_record_file(backup_id))
        except OSError as error:
            raise CatalogError(f"cannot read the record of backup {backup_id}: {error.strerror}") from error

    def _annotation(self, backup_id: str, key: str) -> str:
        try:
            with self._meta.open(f"{backup_id}-{key}") as file:
                return file.read().decode(errors="replace").strip()
        except NotFound:
            with contextlib.suppress(NotFound):
                return _read_older(self._paths.legacy_annotation(backup_id, key)).decode(errors="replace").strip()
        except OSError as error:
            raise CatalogError(f"cannot read the {key} annotation of backup {backup_id}: {error.strerror}") from error
        return ""

    def _remove_older_annotation(self, backup_id: str, key: str) -> None:
        path = self._paths.legacy_annotation(backup_id, key)
        try:
            files.unlink_durably(path)
        except OSError as error:
            raise CatalogError(f"cannot remove {path}: {error.strerror}") from error

    def _write(self, key: str, content: bytes) -> None:
        self._meta.write_batch([Write(key, content)])


def _ids(names: Sequence[str], suffix: str) -> Iterator[BackupId]:
    """Yield the backup ids of the names that end in suffix."""
    for name in names:
        backup_id = name.removesuffix(suffix)
        if backup_id != name and is_backup_id(backup_id):
            yield BackupId(backup_id)


def _read_older(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"{path} does not exist") from error
    except OSError as error:
        raise CatalogError(f"cannot read {path}: {error.strerror}") from error


def _with_children(records: Mapping[BackupId, BackupRecord]) -> dict[BackupId, BackupRecord]:
    children: dict[BackupId, set[BackupId]] = {}
    for record in records.values():
        if record.parent_backup_id is not None:
            children.setdefault(record.parent_backup_id, set()).add(record.backup_id)
        # A damaged child no longer tells its parent; the parent still does.
        damaged = (child for child in record.children_backup_ids if child in records and records[child].damage)
        children.setdefault(record.backup_id, set()).update(damaged)
    result = {}
    for backup_id, record in records.items():
        true = tuple(sorted(children[backup_id]))
        result[backup_id] = record if record.children_backup_ids == true else replace(record, children_backup_ids=true)
    return result
