"""The verdicts of `check` on the PostgreSQL server and on how its WAL travels. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from barman.monitor.check_items import CheckItem, judge_tool
from barman.postgres.base_compression import base_compression, compression_problems
from barman.postgres.versions import MINIMUM_VERSION, Feature, is_tool_compatible, supports, version_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from barman.config.settings import ServerSettings
    from barman.monitor.check_facts import LocalFacts, PostgresProbe, RemoteFacts, StreamingProbe, ToolFacts, ToolProbe
    from barman.postgres.facts import ServerFacts

_WAL_SUFFIX = " (WAL streaming)"


def judge_postgres(settings: ServerSettings, remote: RemoteFacts) -> Iterator[CheckItem]:
    """The lines from the connection to the replication slot; without a connection only the first ones."""
    if remote.postgres is None:
        return
    facts = remote.postgres.facts
    error = remote.postgres.error
    if facts is not None and facts.version_num < MINIMUM_VERSION:
        error = f"PostgreSQL {facts.version_text} is too old, {version_text(MINIMUM_VERSION)} is the oldest supported"
    yield CheckItem("PostgreSQL", ok=error is None, hint=error or "")
    usable = facts if error is None else None
    if usable is not None:
        yield _backup_privileges(usable)
    yield from _streaming(remote.streaming)
    if usable is not None:
        yield _wal_level(usable)
        yield from _standby(usable, remote.primary)
    yield from _wal_source(settings, remote)
    if remote.wal_postgres is None and usable is not None:
        yield from _slot(settings, remote.postgres)


def judge_backup_tools(settings: ServerSettings, tools: ToolFacts, server: ServerFacts | None) -> Iterator[CheckItem]:
    """The lines about pg_basebackup."""
    tool = tools.pg_basebackup
    if tool is None:
        return
    yield from _tool("pg_basebackup", tool, server)
    if server is not None:
        # Every pg_basebackup that barman can use at all (10 and later) has --tablespace-mapping.
        name = "pg_basebackup supports tablespaces mapping"
        yield CheckItem(name, ok=tool.error is None, hint=tool.error or "")
    compression = base_compression(settings)
    if compression is not None:
        problems = compression_problems(
            compression,
            tool_version_num=tool.version_num,
            server_version_num=None if server is None else server.version_num,
        )
        if problems:
            yield CheckItem("backup compression settings", ok=False, hint="; ".join(problems))


def judge_identity(local: LocalFacts, remote: RemoteFacts) -> CheckItem:
    """Whether all connections, and what is remembered, name one and the same cluster."""
    ids = {
        "of the connection": _system_id(remote.postgres),
        "of the streaming connection": _streamed_id(remote.streaming),
        "stored with the backups": local.stored_system_id,
    }
    known = {place: value for place, value in ids.items() if value is not None}
    if len(set(known.values())) > 1:
        hint = "system identifiers differ: " + ", ".join(f"{value} {place}" for place, value in known.items())
        return CheckItem("systemid coherence", ok=False, hint=hint)
    hint = "no system identifier stored yet" if local.stored_system_id is None else ""
    return CheckItem("systemid coherence", ok=True, hint=hint)


def judge_wal_transport(
    settings: ServerSettings, local: LocalFacts, remote: RemoteFacts, tools: ToolFacts
) -> Iterator[CheckItem]:
    """The lines about receiving and archiving WAL of an active server."""
    server = remote.postgres.facts if remote.postgres is not None else None
    if settings.streaming_archiver and tools.pg_receivewal is not None:
        yield from _tool("pg_receivexlog", tools.pg_receivewal, server)
        hint = "" if local.receiver is not None else "cron starts it; why it ended is in the log"
        yield CheckItem("receive-wal running", ok=local.receiver is not None, hint=hint)
    if settings.archiver and server is not None and remote.postgres is not None:
        yield from _file_archiving(server, remote.postgres)


def _file_archiving(server: ServerFacts, probe: PostgresProbe) -> Iterator[CheckItem]:
    on = server.archive_mode in {"on", "always"}
    yield CheckItem("archive_mode", ok=on, hint="" if on else "archive_mode of PostgreSQL must be 'on' or 'always'")
    command = server.archive_command
    ok = bool(command and command != "(disabled)") or bool(server.setting("archive_library"))
    yield CheckItem("archive_command", ok=ok, hint="" if ok else "archive_command of PostgreSQL is not set")
    if on and ok and probe.archiver is not None:
        ok = probe.archiver.is_archiving
        hint = "" if ok else f"PostgreSQL failed to archive {probe.archiver.last_failed_wal}, see its log"
        yield CheckItem("continuous archiving", ok=ok, hint=hint)


def _backup_privileges(facts: ServerFacts) -> CheckItem:
    if facts.has_backup_privileges:
        return CheckItem("superuser or standard user with backup privileges", ok=True)
    if not supports(facts.version_num, Feature.PREDEFINED_ROLES):
        hint = "before PostgreSQL 10 the role must be a superuser"
    else:
        verb = "pg_backup_{}" if supports(facts.version_num, Feature.BACKUP_WORDING) else "pg_{}_backup"
        begin, end = verb.format("start"), verb.format("stop")
        hint = f"grant pg_monitor, and execute on {begin}, {end}, pg_switch_wal and pg_create_restore_point"
    return CheckItem("no access to backup functions", ok=False, hint=hint)


def _streaming(probe: StreamingProbe | None, suffix: str = "") -> Iterator[CheckItem]:
    if probe is not None:
        yield CheckItem(f"PostgreSQL streaming{suffix}", ok=probe.error is None, hint=probe.error or "")


def _wal_level(facts: ServerFacts, suffix: str = "") -> CheckItem:
    ok = facts.wal_level != "minimal"
    return CheckItem(f"wal_level{suffix}", ok=ok, hint="" if ok else "wal_level must be 'replica' or 'logical'")


def _standby(facts: ServerFacts, primary: PostgresProbe | None) -> Iterator[CheckItem]:
    if primary is None:
        return
    hint = "" if facts.in_recovery else "conninfo does not lead to a standby, primary_conninfo is not used"
    yield CheckItem("PostgreSQL server is standby", ok=facts.in_recovery, hint=hint, critical=False)
    if not facts.in_recovery:
        return
    other = primary.facts
    ok = other is not None and not other.in_recovery
    hint = "" if ok else primary.error or "primary_conninfo leads to a standby"
    yield CheckItem("Primary server is not a standby", ok=ok, hint=hint)
    ok = other is not None and other.system_identifier == facts.system_identifier
    hint = "" if ok else primary.error or "primary_conninfo leads to another cluster"
    yield CheckItem("Primary and standby have same system ID", ok=ok, hint=hint)


def _wal_source(settings: ServerSettings, remote: RemoteFacts) -> Iterator[CheckItem]:
    """The node WAL is received from, where it is another than the one that is backed up."""
    probe = remote.wal_postgres
    if probe is None:
        return
    facts = probe.facts
    if facts is None or not facts.has_monitoring_privileges:
        yield CheckItem(f"no access to monitoring functions{_WAL_SUFFIX}", ok=False, hint=probe.error or "")
    else:
        yield CheckItem(f"has monitoring privileges{_WAL_SUFFIX}", ok=True)
    yield from _streaming(remote.wal_streaming, _WAL_SUFFIX)
    if facts is None:
        return
    yield _wal_level(facts, _WAL_SUFFIX)
    backed_up, streamed = _system_id(remote.postgres), _streamed_id(remote.wal_streaming)
    ids = {value for value in (facts.system_identifier, backed_up, streamed) if value is not None}
    hint = "" if len(ids) == 1 else "the connection strings lead to different clusters"
    yield CheckItem(f"systemid coherence{_WAL_SUFFIX}", ok=len(ids) == 1, hint=hint)
    yield from _slot(settings, probe, _WAL_SUFFIX)


def _slot(settings: ServerSettings, probe: PostgresProbe, suffix: str = "") -> Iterator[CheckItem]:
    name = settings.slot_name
    if name is None:
        return
    slot, label = probe.slot, f"replication slot{suffix}"
    if not settings.streaming_archiver:
        if slot is not None and slot.restart_lsn is not None:
            hint = f"WARNING: slot '{name}' holds back WAL although streaming_archiver is off"
            yield CheckItem(label, ok=True, hint=hint)
        return
    if slot is None:
        hint = f"replication slot '{name}' does not exist; 'barman receive-wal --create-slot' makes it"
    elif slot.restart_lsn is None:
        hint = f"slot '{name}' not initialised: is 'receive-wal' running?"
    elif not slot.active:
        hint = f"slot '{name}' not active: is 'receive-wal' running?"
    else:
        hint = ""
    yield CheckItem(label, ok=not hint, hint=hint)


def _tool(name: str, tool: ToolProbe, server: ServerFacts | None) -> Iterator[CheckItem]:
    compatible = server is None or tool.version_num is None or is_tool_compatible(tool.version_num, server.version_num)
    text = None if server is None else server.version_text
    return judge_tool(name, tool, server_version_text=text, compatible=compatible)


def _system_id(probe: PostgresProbe | None) -> str | None:
    return probe.facts.system_identifier if probe is not None and probe.facts is not None else None


def _streamed_id(probe: StreamingProbe | None) -> str | None:
    return probe.identity.system_identifier if probe is not None and probe.identity is not None else None
