"""One backup as barman remembers it: the record, and its text form, backup.info. Pure.

The file has one key=value per line in alphabetical order; None is the null. A record read here and written again
stays readable by Barman 3.19, which refuses keys it does not know: never add one.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, NewType

from barman.errors import CatalogError
from barman.postgres.facts import Tablespace
from barman.postgres.wal_names import timeline_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

BackupId = NewType("BackupId", str)

BACKUP_ID_FORMAT = "%Y%m%dT%H%M%S"
RESERVED_NAMES = frozenset(
    ("latest", "last", "oldest", "first", "last-failed", "latest-full", "last-full", "auto"),
)

_BACKUP_ID = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})")


def is_backup_id(text: str) -> bool:
    """Whether text is a backup id: a local time, as YYYYMMDDTHHMMSS."""
    match = _BACKUP_ID.fullmatch(text)
    if match is None:
        return False
    try:
        # Catalogues of thousands ask for each name: strptime takes twenty times as long.
        datetime(*map(int, match.groups()))  # type: ignore[arg-type]  # noqa: DTZ001  local, as ids are
    except ValueError:
        return False
    return True


class Status(str, Enum):
    """How far a backup has come; the words of backup.info."""

    EMPTY = "EMPTY"
    STARTED = "STARTED"
    FAILED = "FAILED"
    WAITING_FOR_WALS = "WAITING_FOR_WALS"
    DONE = "DONE"
    SYNCING = "SYNCING"


class BackupType(str, Enum):
    """What kind of copy a backup is; derived, never stored."""

    FULL = "full"
    INCREMENTAL = "incremental"
    RSYNC = "rsync"
    SNAPSHOT = "snapshot"


class KeepTarget(str, Enum):
    """What keeping a backup for ever means for the WAL behind it."""

    FULL = "full"
    STANDALONE = "standalone"


@dataclass(frozen=True, slots=True)
class BackupRecord:
    """Everything known about one backup. Sizes and offsets in bytes, times aware, null as None.

    The last three fields are not in the file proper: extra holds keys we do not know (kept when writing), damage says
    why the file could not be understood (all other fields then have their defaults), doomed that a deletion has begun.
    """

    backup_id: BackupId
    backup_label: str | None = None
    backup_name: str | None = None
    begin_offset: int | None = None
    begin_time: datetime | None = None
    begin_wal: str | None = None
    begin_xlog: str | None = None
    children_backup_ids: tuple[BackupId, ...] = ()
    cluster_size: int | None = None
    compression: str | None = None
    config_file: str | None = None
    copy_stats: Mapping[str, Any] | None = None
    data_checksums: str | None = None
    deduplicated_size: int | None = None
    encryption: str | None = None
    end_offset: int | None = None
    end_time: datetime | None = None
    end_wal: str | None = None
    end_xlog: str | None = None
    error: str | None = None
    hba_file: str | None = None
    ident_file: str | None = None
    included_files: tuple[str, ...] | None = None
    mode: str | None = None
    parent_backup_id: BackupId | None = None
    pgdata: str | None = None
    server_name: str | None = None
    size: int | None = None
    snapshots_info: Mapping[str, Any] | None = None
    status: Status = Status.EMPTY
    summarize_wal: str | None = None
    systemid: str | None = None
    tablespaces: tuple[Tablespace, ...] | None = None
    timeline: int | None = None
    version: int | None = None
    xlog_segment_size: int = 16 * 1024 * 1024
    extra: Mapping[str, str] = field(default_factory=dict)
    damage: str | None = None
    doomed: bool = False

    @property
    def type(self) -> BackupType:
        """Full, incremental, rsync or snapshot."""
        mode = self.mode or ""
        if mode.startswith("snapshot"):
            return BackupType.SNAPSHOT
        if mode.startswith("rsync"):
            return BackupType.RSYNC
        return BackupType.INCREMENTAL if self.parent_backup_id else BackupType.FULL

    @property
    def end_timeline(self) -> int | None:
        """The timeline it ends on: newer than timeline if a standby followed its primary there during the backup."""
        return self.timeline if self.end_wal is None else timeline_of(self.end_wal)

    @property
    def is_incremental(self) -> bool:
        """Whether it needs its parent's blocks to be restored."""
        return self.parent_backup_id is not None

    @property
    def is_full(self) -> bool:
        """Whether "latest-full" may choose it: neither incremental nor snapshot."""
        return self.type not in (BackupType.INCREMENTAL, BackupType.SNAPSHOT)

    @property
    def is_copy_done(self) -> bool:
        """Whether the copy is complete and nobody is deleting it: what latest, oldest, previous and next look at."""
        return self.status in (Status.DONE, Status.WAITING_FOR_WALS) and not self.doomed

    @property
    def is_done(self) -> bool:
        """Whether it can be restored and counts as redundancy: DONE, and nobody is deleting it."""
        return self.status is Status.DONE and not self.doomed

    @property
    def deduplication_ratio(self) -> float:
        """The share of the backup that took no space of its own, 0 when unknown."""
        whole = self.size if self.type is BackupType.RSYNC else self.cluster_size
        if not whole or self.deduplicated_size is None:
            return 0.0
        return 1 - self.deduplicated_size / whole


class _Codec(NamedTuple):
    parse: Callable[[str], Any]
    render: Callable[[Any], str]


def parse_record(text: str, backup_id: str) -> BackupRecord:
    """Return the record that text, the content of a backup.info, describes; CatalogError if it cannot be understood.

    Keys in any order; missing ones take their defaults, unknown ones go to extra. An empty text is a record in status
    EMPTY: what a power cut leaves of a file that was renamed but not flushed.
    """
    values: dict[str, Any] = {}
    extra: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        key, separator, value = line.partition("=")
        key, value = key.strip(), value.strip()
        if key.startswith("#") or not (key or separator):
            continue
        if not separator:
            raise CatalogError(f"backup {backup_id}: line {number} of backup.info has no '='")
        codec = _CODECS.get(key)
        if codec is None:
            extra[key] = value
        elif value != "None":
            values[key] = _decode(codec, key, value, backup_id)
    return BackupRecord(backup_id=BackupId(backup_id), extra=extra, **values)


def render_record(record: BackupRecord) -> str:
    """Return the content of the backup.info of record: the inverse of parse_record."""
    lines = dict(record.extra)
    for key, codec in _CODECS.items():
        value = getattr(record, key)
        if value is not None and (value or key != "children_backup_ids"):
            lines[key] = codec.render(value)
        elif key not in _OMITTED_WHEN_NULL:
            lines[key] = "None"
    return "".join(f"{key}={lines[key]}\n" for key in sorted(lines))


def record_to_json(record: BackupRecord, *, iso_times: bool = False) -> dict[str, Any]:
    """Return record in the shape all JSON outputs share: label encoded, children joined, times as ctime or ISO 8601."""
    result: dict[str, Any] = {"backup_id": record.backup_id}
    for key in _CODECS:
        value = getattr(record, key)
        if value is None and key in _OMITTED_WHEN_NULL:
            continue
        result[key] = _to_json(key, value, iso_times=iso_times)
    return result


def parse_json(values: Mapping[str, object], backup_id: str) -> BackupRecord:
    """Return the record that record_to_json, with ISO times, gave values for; CatalogError if it cannot be understood.

    Missing keys take their defaults; unknown ones are left out, because Barman 3.19 refuses a record that has them.
    """
    fields = {
        key: _decode(codec, key, value if isinstance(value, str) else repr(value), backup_id)
        for key, codec in _CODECS.items()
        if (value := values.get(key)) is not None
    }
    return BackupRecord(backup_id=BackupId(backup_id), **fields)  # type: ignore[arg-type]


def _to_json(key: str, value: object, *, iso_times: bool) -> object:
    if isinstance(value, datetime):
        return value.isoformat() if iso_times else value.ctime()
    if isinstance(value, Status):
        return value.value
    if key == "children_backup_ids" and isinstance(value, tuple):
        return ",".join(value) or None
    if key == "backup_label" and value is not None:
        return repr(value)
    if isinstance(value, tuple):
        return [[item.name, item.oid, item.location] if isinstance(item, Tablespace) else item for item in value]
    return value


def _decode(codec: _Codec, key: str, value: str, backup_id: str) -> object:
    try:
        return codec.parse(value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise CatalogError(f"backup {backup_id}: invalid value of {key} in backup.info: {value[:80]!r}") from error


def _parse_time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    # Barman of old wrote local times without a zone.
    return time if time.tzinfo is not None else time.astimezone()


def _parse_label(text: str) -> str:
    # A passive node of the reference encodes the literal once more at every hop.
    label = ast.literal_eval(text)
    while isinstance(label, str) and label[:1] in {"'", '"'}:
        label = ast.literal_eval(label)
    if not isinstance(label, str):
        raise TypeError(text)
    return label


def _parse_children(text: str) -> tuple[BackupId, ...]:
    names = text.split(",")
    if max(map(len, names)) <= 1:
        # A passive node of the reference joins the characters instead of the ids: 2,0,2,6,... (and ",,," between ids).
        names = text[::2].split(",")
    if not all(map(is_backup_id, names)):
        raise ValueError(text)
    return tuple(BackupId(name) for name in names)


def _parse_mapping(text: str) -> Mapping[str, Any]:
    value = ast.literal_eval(text)
    if not isinstance(value, dict):
        raise TypeError(text)
    return value


def _parse_paths(text: str) -> tuple[str, ...]:
    value = ast.literal_eval(text)
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise TypeError(text)
    return tuple(value)


def _parse_tablespaces(text: str) -> tuple[Tablespace, ...]:
    value = ast.literal_eval(text)
    if not isinstance(value, (list, tuple)):
        raise TypeError(text)
    return tuple(Tablespace(str(name), int(oid), str(location)) for name, oid, location in value)


def _render_text(value: str) -> str:
    return " ".join(value.splitlines()) if "\n" in value or "\r" in value else value


def _render_tablespaces(value: tuple[Tablespace, ...]) -> str:
    return repr([(tablespace.name, tablespace.oid, tablespace.location) for tablespace in value])


def _render_paths(value: tuple[str, ...]) -> str:
    return repr(list(value))


_TEXT = _Codec(str, _render_text)
_INT = _Codec(int, str)
_TIME = _Codec(_parse_time, str)
_MAPPING = _Codec(_parse_mapping, lambda value: repr(dict(value)))

_SPECIAL = {
    "backup_label": _Codec(_parse_label, repr),
    "begin_time": _TIME,
    "end_time": _TIME,
    "children_backup_ids": _Codec(_parse_children, ",".join),
    "copy_stats": _MAPPING,
    "snapshots_info": _MAPPING,
    "included_files": _Codec(_parse_paths, _render_paths),
    "tablespaces": _Codec(_parse_tablespaces, _render_tablespaces),
    "status": _Codec(Status, lambda value: str(value.value)),
    **dict.fromkeys(
        (
            "begin_offset",
            "cluster_size",
            "deduplicated_size",
            "end_offset",
            "size",
            "timeline",
            "version",
            "xlog_segment_size",
        ),
        _INT,
    ),
}
_OMITTED_WHEN_NULL = frozenset(("backup_name", "snapshots_info"))
_CODECS: Mapping[str, _Codec] = {
    entry.name: _SPECIAL.get(entry.name, _TEXT)
    for entry in fields(BackupRecord)
    if entry.name not in {"backup_id", "extra", "damage", "doomed"}
}
