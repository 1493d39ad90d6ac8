"""`status`: how a server is doing, at a glance. The lines are pure; gathering what they tell is one look around."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from barman.errors import BarmanError, ConfigError
from barman.host import clock
from barman.human import ctime, pretty_size
from barman.monitor.check_primary import lag_lines
from barman.monitor.probes import probe_remote
from barman.retention.policy import counted_redundancy, parse_policy
from barman.sync.watch import look_at_lag
from barman.wal.continuity import find_costly_gaps, view_wal
from barman.wal.gaps import describe_gaps

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from barman.catalog.record import BackupId, BackupRecord
    from barman.config.load import ServerConfig
    from barman.config.settings import ServerSettings
    from barman.monitor.check_facts import PostgresProbe
    from barman.server import Server


class StatusItem(NamedTuple):
    """One line. key: for programs. label: for people."""

    key: str
    label: str
    message: str


def server_status(server: Server) -> list[StatusItem]:
    """The status of one server, reachable or not, within its check_timeout."""
    remote = probe_remote(server, server.settings.check_timeout or None, with_size=True)
    records = server.backups.load()
    items = [*status_items(server.config, remote.postgres, records.values(), _wal_continuity(server, records))]
    return [*items, *_synchronisation(server)]


def _synchronisation(server: Server) -> Iterator[StatusItem]:
    """How far a passive server is behind."""
    if not server.config.is_passive:
        return
    now = clock.now()
    try:
        yield from (StatusItem(*line) for line in lag_lines(look_at_lag(server, now), now))
    except (BarmanError, OSError) as error:
        yield StatusItem("synchronisation", "Synchronisation", f"unknown ({error})")


def status_items(
    config: ServerConfig,
    probe: PostgresProbe | None,
    records: Collection[BackupRecord],
    wal_continuity: str,
) -> Iterator[StatusItem]:
    """The lines in their order. probe: None for a server that has no PostgreSQL to ask."""
    settings = config.settings
    if settings.description:
        yield StatusItem("description", "Description", settings.description)
    yield StatusItem("active", "Active", str(config.is_active))
    yield StatusItem("disabled", "Disabled", str(config.is_disabled))
    yield StatusItem("active_model", "Active configuration model", str(config.active_model))
    if probe is not None:
        yield from _postgres(settings, probe)
    yield StatusItem("passive_node", "Passive node", str(config.is_passive))
    yield StatusItem("retention_policies", "Retention policies", _retention(settings))
    yield from _backups(settings, records)
    yield StatusItem("wal_continuity", "WAL continuity", wal_continuity)
    if settings.primary_ssh_command is not None:
        yield StatusItem("primary_ssh_command", "SSH command to primary server", settings.primary_ssh_command)


def _wal_continuity(server: Server, records: Mapping[BackupId, BackupRecord]) -> str:
    """What is said of holes in the WAL archive."""
    try:
        gaps = find_costly_gaps(server, records, view_wal(server, records), clock.now())
    except (BarmanError, OSError) as error:
        return f"unknown ({error})"
    return describe_gaps(gaps) or "no gaps"


def _postgres(settings: ServerSettings, probe: PostgresProbe) -> Iterator[StatusItem]:
    facts = probe.facts
    if facts is None:
        yield StatusItem("pg_version", "PostgreSQL version", f"FAILED trying to get PostgreSQL version ({probe.error})")
        return
    yield StatusItem("pg_version", "PostgreSQL version", facts.version_text)
    state = "in archive recovery" if facts.in_recovery else "in production"
    yield StatusItem("is_in_recovery", "Cluster state", state)
    if probe.cluster_size is not None:
        yield StatusItem("current_size", "Current data size", pretty_size(probe.cluster_size))
    if facts.data_directory is not None:
        yield StatusItem("data_directory", "PostgreSQL Data directory", facts.data_directory)
    segment = facts.current_wal_name
    if segment is not None:
        yield StatusItem("current_xlog", "Current WAL segment", segment)
    if settings.archiver:
        yield from _archiver(probe, facts.archive_command)


def _archiver(probe: PostgresProbe, archive_command: str | None) -> Iterator[StatusItem]:
    yield StatusItem("archive_command", "PostgreSQL 'archive_command' setting", archive_command or "FAILED (not set)")
    stats = probe.archiver
    if stats is None:
        return
    last = "No WAL segment shipped yet"
    if stats.last_archived_wal and stats.last_archived_time:
        last = f"{stats.last_archived_wal}, at {ctime(stats.last_archived_time)}"
    yield StatusItem("last_archived_wal", "Last archived WAL", last)
    failures = str(stats.failed_count)
    if stats.failed_count and stats.last_failed_time:
        failures += f" ({stats.last_failed_wal} at {ctime(stats.last_failed_time)})"
    yield StatusItem("failed_count", "Failures of WAL archiver", failures)
    if stats.archived_per_second:
        rate = f"{stats.archived_per_second * 3600:.2f}/hour"
        yield StatusItem("server_archived_wals_per_hour", "Server WAL archiving rate", rate)


def _retention(settings: ServerSettings) -> str:
    if settings.retention_policy is None:
        return "not enforced"
    try:
        policy = parse_policy(settings.retention_policy)
    except ConfigError as error:
        return f"not enforced ({error.message})"
    wal = settings.wal_retention_policy.upper()
    return f"enforced (mode: {settings.retention_policy_mode}, retention: {policy}, WAL retention: {wal})"


def _backups(settings: ServerSettings, records: Collection[BackupRecord]) -> Iterator[StatusItem]:
    done = sorted(record.backup_id for record in records if record.is_done)
    yield StatusItem("backups_number", "No. of available backups", str(len(done)))
    yield StatusItem("first_backup", "First available backup", done[0] if done else "None")
    yield StatusItem("last_backup", "Last available backup", done[-1] if done else "None")
    counted = counted_redundancy({record.backup_id: record for record in records})
    verdict = "satisfied" if counted >= settings.minimum_redundancy else "FAILED"
    yield StatusItem(
        "minimum_redundancy", "Minimum redundancy requirements", f"{verdict} ({counted}/{settings.minimum_redundancy})"
    )
