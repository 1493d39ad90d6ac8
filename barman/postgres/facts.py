"""What PostgreSQL says about itself, as values. Pure: code that only reads these does not load the driver."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from barman.postgres.lsn import parse_lsn
from barman.postgres.versions import version_text
from barman.postgres.wal_names import DEFAULT_SEGMENT_SIZE, segment_before

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

_NAMES_LIST = re.compile(r"\s*(?:(?:FIRST|ANY)?\s*\d+\s*)\((.*)\)\s*", re.IGNORECASE | re.DOTALL)
_LISTED_NAME = re.compile(r'"((?:[^"]|"")+)"|([^\s,"]+)')
_UNIT_BYTES = {"B": 1, "kB": 1024, "8kB": 8192, "16kB": 16384, "MB": 1024**2, "16MB": DEFAULT_SEGMENT_SIZE}


@dataclass(frozen=True, slots=True)
class Tablespace:
    """A tablespace other than the two built-in ones. location: as the server knows it."""

    name: str
    oid: int
    location: str


@dataclass(frozen=True, slots=True)
class Setting:
    """A row of pg_settings. unit: "kB", "8kB", "s", …, None if it has none."""

    value: str
    unit: str | None = None

    @property
    def bytes(self) -> int:
        """The value in bytes, for settings that have a memory unit."""
        return int(self.value) * _UNIT_BYTES[self.unit or "B"]


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """One look at a server. Times are aware. LSNs are text.

    timeline: the one being written, or on a standby the one being followed. current_lsn: write position of a primary,
    replay position of a standby. redo_lsn: where replay would begin after a crash now; no backup begun from now on
    begins before it. settings: those of queries.SETTINGS that the role may see; config_files: all files that supply
    settings. A role without pg_read_all_settings sees fewer of both.
    """

    version_num: int
    in_recovery: bool
    system_identifier: str
    timeline: int
    current_lsn: str | None
    redo_lsn: str
    server_time: datetime
    is_superuser: bool
    has_backup_privileges: bool
    has_monitoring_privileges: bool
    has_checkpoint_privileges: bool
    settings: Mapping[str, Setting] = field(default_factory=dict)
    config_files: tuple[str, ...] = ()
    tablespaces: tuple[Tablespace, ...] = ()

    def setting(self, name: str) -> str | None:
        """Return the setting's text, None if the server does not have it or the role may not see it."""
        found = self.settings.get(name)
        return None if found is None else found.value

    @property
    def version_text(self) -> str:
        """The version as text: "15.18"."""
        return version_text(self.version_num)

    @property
    def segment_size(self) -> int:
        """Bytes in a WAL segment."""
        found = self.settings.get("wal_segment_size")
        return DEFAULT_SEGMENT_SIZE if found is None else found.bytes

    @property
    def current_wal_name(self) -> str | None:
        """The segment a primary is writing, the one just filled when its position is a boundary; None of a standby.

        A standby's position does not tell the name, because it may be on its way to another timeline.
        """
        if self.in_recovery or self.current_lsn is None:
            return None
        return segment_before(parse_lsn(self.current_lsn), self.timeline, self.segment_size)

    @property
    def data_directory(self) -> str | None:
        """PGDATA on the server."""
        return self.setting("data_directory")

    @property
    def config_file(self) -> str | None:
        """Path of postgresql.conf on the server."""
        return self.setting("config_file")

    @property
    def hba_file(self) -> str | None:
        """Path of pg_hba.conf on the server."""
        return self.setting("hba_file")

    @property
    def ident_file(self) -> str | None:
        """Path of pg_ident.conf on the server."""
        return self.setting("ident_file")

    @property
    def included_files(self) -> tuple[str, ...]:
        """Files other than config_file that supply settings, postgresql.auto.conf among them."""
        return tuple(name for name in self.config_files if name != self.config_file)

    @property
    def data_checksums(self) -> str | None:
        """Text "on" or "off"."""
        return self.setting("data_checksums")

    @property
    def summarize_wal(self) -> str | None:
        """Text "on" or "off"; None before PostgreSQL 17."""
        return self.setting("summarize_wal")

    @property
    def wal_level(self) -> str | None:
        """One of minimal, replica, logical."""
        return self.setting("wal_level")

    @property
    def archive_mode(self) -> str | None:
        """One of off, on, always."""
        return self.setting("archive_mode")

    @property
    def archive_command(self) -> str | None:
        """The command; "(disabled)" while archive_mode is off."""
        return self.setting("archive_command")

    @property
    def synchronous_standby_names(self) -> tuple[str, ...]:
        """The names listed in the setting, without method and number."""
        return parse_synchronous_standby_names(self.setting("synchronous_standby_names") or "")


@dataclass(frozen=True, slots=True)
class SystemIdentity:
    """Answer to IDENTIFY_SYSTEM. lsn: flush position, or replay position of a standby."""

    system_identifier: str
    timeline: int
    lsn: str


@dataclass(frozen=True, slots=True)
class Slot:
    """A replication slot. restart_lsn: None until it was used once."""

    name: str
    active: bool
    restart_lsn: str | None


@dataclass(frozen=True, slots=True)
class SwitchResult:
    """What a WAL switch did. closed: the segment it completed, None if there was nothing to switch."""

    closed: str | None


@dataclass(frozen=True, slots=True)
class ArchiverStats:
    """pg_stat_archiver. archived_per_second: since the statistics were reset."""

    archived_count: int
    last_archived_wal: str | None
    last_archived_time: datetime | None
    failed_count: int
    last_failed_wal: str | None
    last_failed_time: datetime | None
    archived_per_second: float | None
    stats_reset: datetime | None

    @property
    def is_archiving(self) -> bool:
        """Whether the last attempt was no failure."""
        if self.last_failed_time is None:
            return True
        return self.last_archived_time is not None and self.last_archived_time >= self.last_failed_time


@dataclass(frozen=True, slots=True)
class ReplicationClient:
    """A row of pg_stat_replication, with the name of the physical slot it uses. LSNs are text, None if unknown."""

    pid: int
    user: str
    application_name: str
    client_addr: str | None
    client_hostname: str | None
    client_port: int | None
    backend_start: datetime
    backend_xmin: str | None
    state: str | None
    sent_lsn: str | None
    write_lsn: str | None
    flush_lsn: str | None
    replay_lsn: str | None
    sync_priority: int | None
    sync_state: str | None
    slot_name: str | None

    @property
    def kind(self) -> Literal["standby", "wal-streamer"]:
        """A client that reports what it replayed is a standby."""
        return "wal-streamer" if self.replay_lsn is None else "standby"


def parse_synchronous_standby_names(text: str) -> tuple[str, ...]:
    """Return the standby names in the setting's value: "FIRST 1 (a, "B c")" gives a and B c; * stands for any.

    Names are compared case-insensitively by PostgreSQL, and are returned as written. Source: PostgreSQL manual,
    synchronous_standby_names.
    """
    listed = _NAMES_LIST.fullmatch(text)
    names = _LISTED_NAME.findall(listed[1] if listed else text)
    return tuple(quoted.replace('""', '"') or bare for quoted, bare in names)
