"""What one Barman tells another about a server: the JSON of sync-info, and of primary.info. Pure.

The other side may be Barman 3.19, or a later version of either: what is not known is passed over, what cannot be
understood is said. Source of the shape: catalog layout of Barman 3.19.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from barman.catalog.record import BackupId, BackupRecord, KeepTarget, Status, is_backup_id, parse_json, record_to_json
from barman.catalog.xlog_lines import WalEntry
from barman.errors import CatalogError
from barman.postgres.wal_names import is_wal_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_KEEPS = "keeps"
_SHOWN = 100


class Position(NamedTuple):
    """Where the ledger of the primary ends. offset: of the first byte of its last line; ("", 0): it is empty."""

    name: str = ""
    offset: int = 0


@dataclass(frozen=True, slots=True)
class PrimaryState:
    """What the primary said. wals: its ledger, or only what was added since the position it was asked for.

    keeps: how its backups are kept for ever; None if that could not be learned. base, wal_directory, root: where its
    backups, its WAL archive and the rest of the server lie on its host. version: of its Barman.
    """

    backups: Mapping[BackupId, BackupRecord]
    wals: tuple[WalEntry, ...]
    position: Position
    base: str
    wal_directory: str
    root: str
    version: str = ""
    keeps: Mapping[BackupId, KeepTarget] | None = None

    @property
    def system_ids(self) -> frozenset[str]:
        """Which clusters its backups come from."""
        return frozenset(record.systemid for record in self.backups.values() if record.systemid)


def render_answer(
    records: Sequence[BackupRecord],
    wals: Sequence[WalEntry],
    position: Position,
    *,
    version: str,
    config: Mapping[str, object],
) -> str:
    """Return the text of an answer. config: every option of the server as JSON data, and its name."""
    parts = {
        "last_position": json.dumps(position.offset),
        "last_name": json.dumps(position.name),
        "backups": json.dumps({record.backup_id: _record(record) for record in records}, indent=4),
        # There may be a million of them, and the library takes its time for each.
        "wals": "[" + ",".join(map(_wal, wals)) + "\n]",
        "version": json.dumps(version),
        "config": json.dumps(config, indent=4),
    }
    return "{\n" + ",\n".join(f'"{key}": {value}' for key, value in parts.items()) + "\n}"


def with_keeps(text: str, keeps: Mapping[BackupId, KeepTarget] | None) -> str:
    """Return the text of an answer with the keep marks of the primary in it, as primary.info has them.

    text: one that parse_answer understands; what stands around the document is left out.
    """
    document = text[text.find("{") :].strip().removesuffix("{}")
    if keeps is None:
        return document
    marks = json.dumps({backup_id: target.value for backup_id, target in sorted(keeps.items())})
    return f'{{\n"{_KEEPS}": {marks},{document[1:]}'


def parse_answer(text: str) -> PrimaryState:
    """Return what an answer says; CatalogError, with the place, if it is damaged or lacks what is needed.

    Text before and after the document (a greeting of the remote shell, the empty document 3.19 appends) is left out.
    """
    document = _load(text)
    try:
        config = _mapping(document["config"])
        keeps = document.get(_KEEPS)
        return PrimaryState(
            backups={BackupId(name): _parse_record(name, one) for name, one in _mapping(document["backups"]).items()},
            wals=tuple(_parse_wal(one) for one in document["wals"]),
            position=Position(str(document["last_name"]), int(document["last_position"])),
            base=str(config["basebackups_directory"]),
            wal_directory=str(config["wals_directory"]),
            root=str(config["backup_directory"]),
            version=str(document.get("version", "")),
            keeps=None if keeps is None else _parse_keeps(_mapping(keeps)),
        )
    except KeyError as error:
        raise _not_understood(f"it has no {error}", document) from error
    except (TypeError, ValueError) as error:
        raise _not_understood(str(error), document) from error


def parse_keep(word: str) -> KeepTarget | None:
    """Return what the content of a keep annotation means; None if it is empty."""
    if not word.strip():
        return None
    return KeepTarget.STANDALONE if word.strip() == KeepTarget.STANDALONE.value else KeepTarget.FULL


def _load(text: str) -> dict[str, Any]:
    start = text.find("{")
    if start < 0:
        said = " ".join(text.split())[:_SHOWN]
        raise CatalogError(f"it is no JSON document: {said!r}" if said else "it is empty")
    try:
        document, _ = json.JSONDecoder().raw_decode(text, start)
    except ValueError as error:
        raise CatalogError(f"its JSON is damaged: {error}") from error
    return _mapping(document)


def _not_understood(reason: str, document: Mapping[str, Any]) -> CatalogError:
    version = document.get("version")
    return CatalogError(f"it cannot be understood: {reason}" + (f" (Barman {version})" if version else ""))


def _mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise CatalogError(f"it cannot be understood: {str(value)[:_SHOWN]!r} is no JSON object")
    return value


def _record(record: BackupRecord) -> dict[str, Any]:
    """Return record as sync-info shows it: with its times in both forms."""
    shown = record_to_json(record)
    for key in ("begin_time", "end_time"):
        moment = getattr(record, key)
        shown[f"{key}_iso"] = None if moment is None else moment.isoformat()
    return shown


def _wal(wal: WalEntry) -> str:
    compression, encryption = json.dumps(wal.compression), json.dumps(wal.encryption)
    return (
        f'\n{{"compression": {compression}, "encryption": {encryption}, "name": "{wal.name}", '
        f'"size": {wal.size}, "time": {wal.mtime!r}}}'
    )


def _parse_record(name: str, value: object) -> BackupRecord:
    if not is_backup_id(name):
        raise ValueError(f"{name!r} is no backup id")
    fields = dict(_mapping(value))
    for key in ("begin_time", "end_time"):
        exact = fields.pop(f"{key}_iso", None)
        if exact is not None:
            fields[key] = exact
        elif fields.get(key) is not None:
            # Old versions had no exact form: local time, without a zone.
            fields[key] = datetime.strptime(str(fields[key]), "%a %b %d %H:%M:%S %Y").astimezone().isoformat()
    record = parse_json(fields, name)
    if record.status not in (Status.DONE, Status.WAITING_FOR_WALS):
        raise ValueError(f"backup {name} is offered in status {record.status.value}")
    return record


def _parse_wal(value: object) -> WalEntry:
    wal = _mapping(value)
    name = str(wal["name"])
    if not is_wal_name(name):
        raise ValueError(f"{name!r} is no name of a WAL file")
    return WalEntry(
        name, int(wal["size"]), float(wal["time"]), _word(wal.get("compression")), _word(wal.get("encryption"))
    )


def _word(value: object) -> str | None:
    return None if value is None else str(value)


def _parse_keeps(values: Mapping[str, object]) -> dict[BackupId, KeepTarget]:
    found = {BackupId(backup_id): parse_keep(str(word)) for backup_id, word in values.items()}
    return {backup_id: target for backup_id, target in found.items() if target is not None}
