"""What the checks of one server are decided on: plain values, gathered before. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from barman.catalog.record import BackupId, BackupRecord
    from barman.postgres.facts import ArchiverStats, ServerFacts, Slot, SystemIdentity
    from barman.sync.lag import Lag
    from barman.wal.gaps import Finding


@dataclass(frozen=True, slots=True)
class PostgresProbe:
    """What a normal connection told, or why there is none.

    slot: of slot_name, asked only where one is set. cluster_size: in bytes, asked only on demand: it takes long.
    """

    facts: ServerFacts | None = None
    archiver: ArchiverStats | None = None
    slot: Slot | None = None
    cluster_size: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class StreamingProbe:
    """What a replication connection told, or why there is none."""

    identity: SystemIdentity | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ToolProbe:
    """A program of PostgreSQL that was looked for: its version, or why it cannot be used."""

    version_num: int | None = None
    path: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class RemoteFacts:
    """What was found out beyond this host. None: not asked, because the configuration has no use for it."""

    postgres: PostgresProbe | None = None
    streaming: StreamingProbe | None = None
    wal_postgres: PostgresProbe | None = None
    wal_streaming: StreamingProbe | None = None
    primary: PostgresProbe | None = None


@dataclass(frozen=True, slots=True)
class ToolFacts:
    """The programs looked for. None: not needed."""

    pg_basebackup: ToolProbe | None = None
    pg_receivewal: ToolProbe | None = None


@dataclass(frozen=True, slots=True)
class LocalFacts:
    """What lies on this host.

    waiting_*: number of files, temporary ones not counted. errors: number of files in errors/ by kind.
    wal_after_backup_bytes: archived after the last backup. newest_wal_age: of the newest WAL archived since the last
    backup began. stored_system_id: as in identity.json. receiver: pid of receive-wal, 0 if unknown.
    encryption_problem: why nothing can be encrypted as configured; empty if it can, or is not asked for.
    lost: the DONE backups whose files are not there. hook_problems: which hook scripts cannot be run, and why.
    """

    directory_problems: tuple[str, ...] = ()
    waiting_incoming: int = 0
    waiting_streaming: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    records: tuple[BackupRecord, ...] = ()
    has_archived_wal: bool = False
    wal_after_backup_bytes: int = 0
    newest_wal_age: timedelta | None = None
    gaps: tuple[Finding, ...] = ()
    stored_system_id: str | None = None
    receiver: int | None = None
    is_backup_running: bool = False
    encryption_problem: str = ""
    lost: tuple[BackupId, ...] = ()
    hook_problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """The host whose files are copied. error: why it, or its data directory, cannot be reached.

    noise: what its shell prints without being asked. has_label: whether a backup_label lies in the data directory.
    """

    error: str | None = None
    noise: str = ""
    has_label: bool = False


@dataclass(frozen=True, slots=True)
class PrimaryFacts:
    """The primary of a passive server. lag: how far we are behind it; lag_error: why that is not known.

    ssh_error: why it cannot be reached.
    """

    lag: Lag | None = None
    lag_error: str | None = None
    ssh_error: str | None = None


@dataclass(frozen=True, slots=True)
class CheckFacts:
    """Everything the verdicts need. A part is None when the time was over before it was known.

    wal_arrival: why no WAL is in the archive, or could be brought there; None when some is. source: None also when
    backups do not copy files. primary: None also when the server is not passive.
    """

    now: datetime
    local: LocalFacts | None = None
    remote: RemoteFacts | None = None
    tools: ToolFacts | None = None
    wal_arrival: str | None = None
    source: SourceFacts | None = None
    primary: PrimaryFacts | None = None
