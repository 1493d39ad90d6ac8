"""What the probes found out, under the keys that show-servers and diagnose print. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from barman.postgres.versions import MINIMUM_VERSION, Feature, is_tool_compatible, supports, version_text
from barman.wal.streaming_area import is_synchronous

if TYPE_CHECKING:
    from collections.abc import Mapping

    from barman.config.settings import ServerSettings
    from barman.monitor.check_facts import PostgresProbe, RemoteFacts, StreamingProbe, ToolFacts, ToolProbe
    from barman.postgres.facts import ServerFacts

_PLAIN_SETTINGS = (
    "wal_level",
    "hot_standby",
    "max_wal_senders",
    "data_checksums",
    "max_replication_slots",
    "wal_compression",
)
# Also while PostgreSQL cannot be reached, as in Barman 3.19.
_ALWAYS_THERE = (
    "server_txt_version",
    "version_supported",
    "postgres_systemid",
    "current_xlog",
    "data_directory",
    "is_in_recovery",
    "is_superuser",
    "replication_slot",
    "replication_slot_support",
    "synchronous_standby_names",
)
_SECONDS = ("archive_timeout", "checkpoint_timeout")


def remote_status(settings: ServerSettings, remote: RemoteFacts, tools: ToolFacts) -> Mapping[str, object]:
    """The remote status: JSON data and datetimes, None for what is not known; {} if nobody was asked."""
    server = None if remote.postgres is None else remote.postgres.facts
    status: dict[str, object] = {}
    if remote.postgres is not None:
        status.update(_sql(remote.postgres))
        if settings.archiver:
            status.update(_archiver(remote.postgres))
    if remote.streaming is not None:
        status.update(_streaming(remote.streaming))
    if tools.pg_receivewal is not None:
        status.update(_receiver(settings, tools.pg_receivewal, server))
    if tools.pg_basebackup is not None:
        status.update(_basebackup(tools.pg_basebackup, server))
    errors = [probe.error for probe in (remote.postgres, remote.streaming) if probe is not None and probe.error]
    if remote.postgres is not None or remote.streaming is not None:
        status["connection_error"] = errors[0] if errors else None
    return status


def _sql(probe: PostgresProbe) -> Mapping[str, object]:
    facts = probe.facts
    if facts is None:
        return dict.fromkeys(_ALWAYS_THERE)
    slot = probe.slot
    wal_keep = "wal_keep_size" if supports(facts.version_num, Feature.WAL_KEEP_SIZE) else "wal_keep_segments"
    return {
        "server_txt_version": facts.version_text,
        "version_supported": facts.version_num >= MINIMUM_VERSION,
        "is_superuser": facts.is_superuser,
        "has_backup_privileges": facts.has_backup_privileges,
        "has_monitoring_privileges": facts.has_monitoring_privileges,
        "is_in_recovery": facts.in_recovery,
        "current_lsn": facts.current_lsn,
        "current_xlog": facts.current_wal_name,
        "current_size": probe.cluster_size,
        "data_directory": facts.data_directory,
        "config_file": facts.config_file,
        "hba_file": facts.hba_file,
        "ident_file": facts.ident_file,
        "included_files": list(facts.included_files),
        "xlog_segment_size": facts.segment_size,
        **{name: _number(facts.setting(name)) for name in _SECONDS},
        **{name: facts.setting(name) for name in (*_PLAIN_SETTINGS, wal_keep)},
        "replication_slot_support": True,
        "replication_slot": None if slot is None else [slot.name, slot.active, slot.restart_lsn],
        "synchronous_standby_names": list(facts.synchronous_standby_names),
        "postgres_systemid": facts.system_identifier,
    }


def _archiver(probe: PostgresProbe) -> Mapping[str, object]:
    facts, stats = probe.facts, probe.archiver
    status: dict[str, object] = {
        "archive_mode": None if facts is None else facts.archive_mode,
        "archive_command": None if facts is None else facts.archive_command,
    }
    if stats is not None:
        status |= {
            "archived_count": stats.archived_count,
            "failed_count": stats.failed_count,
            "last_archived_wal": stats.last_archived_wal,
            "last_archived_time": stats.last_archived_time,
            "last_failed_wal": stats.last_failed_wal,
            "last_failed_time": stats.last_failed_time,
            "is_archiving": stats.is_archiving and status["archive_mode"] in ("on", "always"),
            "current_archived_wals_per_second": stats.archived_per_second,
            "stats_reset": stats.stats_reset,
        }
    return status


def _streaming(probe: StreamingProbe) -> Mapping[str, object]:
    identity = probe.identity
    return {
        "streaming": identity is not None,
        "streaming_supported": True,
        "streaming_systemid": None if identity is None else identity.system_identifier,
        "timeline": None if identity is None else identity.timeline,
        "xlogpos": None if identity is None else identity.lsn,
    }


def _tool(prefix: str, tool: ToolProbe, server: ServerFacts | None) -> dict[str, object]:
    compatible = None
    if tool.version_num is not None and server is not None:
        compatible = is_tool_compatible(tool.version_num, server.version_num)
    return {
        f"{prefix}_installed": tool.error is None,
        f"{prefix}_path": tool.path,
        f"{prefix}_version": None if tool.version_num is None else version_text(tool.version_num),
        f"{prefix}_compatible": compatible,
    }


def _receiver(settings: ServerSettings, tool: ToolProbe, server: ServerFacts | None) -> Mapping[str, object]:
    synchronous = None
    if server is not None:
        synchronous = is_synchronous(settings.streaming_archiver_name, server.synchronous_standby_names)
    usable = tool.error is None or None
    return {
        **_tool("pg_receivexlog", tool, server),
        "pg_receivexlog_supports_slots": usable,
        "pg_receivexlog_synchronous": synchronous,
    }


def _basebackup(tool: ToolProbe, server: ServerFacts | None) -> Mapping[str, object]:
    usable = tool.error is None or None
    return {
        **_tool("pg_basebackup", tool, server),
        "pg_basebackup_bwlimit": usable,
        "pg_basebackup_tbls_mapping": usable,
    }


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)
