"""The verdicts of `check` on what lies on this host: the catalogue, the directories, the configuration. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from barman.catalog.record import Status
from barman.errors import ConfigError
from barman.human import pretty_interval, pretty_size
from barman.retention.policy import Combined, Redundancy, counted_redundancy, parse_policy
from barman.wal.gaps import describe_gaps
from barman.wal.needs import is_abandoned

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from barman.catalog.record import BackupRecord
    from barman.config.load import ServerConfig
    from barman.config.settings import ServerSettings
    from barman.monitor.check_facts import CheckFacts, LocalFacts, ToolProbe
    from barman.wal.gaps import Finding


# All that would be asked of the server may be well, and still nothing is backed up.
_METHODS_TO_COME = ("snapshot", "local-to-cloud")

_MOST_TOLD = 3

# Between the clocks of two hosts that are both right enough.
_CLOCK_TOLERANCE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class CheckItem:
    """One line of `check`. critical: a failure forbids backups. size_bytes, age: to plot, on lines that have one."""

    name: str
    ok: bool
    hint: str = ""
    critical: bool = True
    size_bytes: int | None = None
    age: timedelta | None = None


def name_failures(items: Iterable[CheckItem]) -> str:
    """Return items in one line, each reason once, behind all that have it in common."""
    names: dict[str, list[str]] = {}
    for item in items:
        names.setdefault(item.hint, []).append(item.name)
    return "; ".join(", ".join(those) + (f": {hint}" if hint else "") for hint, those in names.items())


def judge_wal_arrival(facts: CheckFacts) -> Iterator[CheckItem]:
    """Whether WAL reaches the archive at all, and is not piling up in front of it. Silent when well."""
    if facts.wal_arrival is not None:
        yield CheckItem("WAL archive", ok=False, hint=facts.wal_arrival)


def judge_queues(settings: ServerSettings, local: LocalFacts) -> Iterator[CheckItem]:
    """Whether the directories in front of the archive hold no more than they should. Silent when well."""
    for kind, enabled, waiting, place in (
        # pg_receivewal always has one file open.
        ("incoming", settings.archiver, local.waiting_incoming, settings.incoming_wals_directory),
        ("streaming", settings.streaming_archiver, local.waiting_streaming, settings.streaming_wals_directory),
    ):
        option = "archiver" if kind == "incoming" else "streaming_archiver"
        limit = settings.max_incoming_wals_queue
        if not enabled and waiting:
            hint = f"{place} holds {waiting} files although {option} is off"
            yield CheckItem(f"empty {kind} directory", ok=False, hint=hint, critical=False)
        elif enabled and limit is not None and waiting - (kind == "streaming") > limit:
            hint = f"{waiting} WAL files are waiting in {place}, more than max_incoming_wals_queue = {limit}"
            yield CheckItem(f"{kind} WALs directory", ok=False, hint=hint, critical=False)


def judge_catalogue(config: ServerConfig, local: LocalFacts, now: datetime) -> Iterator[CheckItem]:
    """The lines from directories to minimum redundancy."""
    settings = config.settings
    if not config.is_disabled or local.directory_problems:
        yield CheckItem("directories", ok=not local.directory_problems, hint="; ".join(local.directory_problems))
    yield _retention_policy(settings)
    last = max((record for record in local.records if record.is_copy_done), key=lambda r: r.backup_id, default=None)
    yield _maximum_age(settings.last_backup_maximum_age, last, now)
    yield from _clock(last, now)
    yield _minimum_size(settings.last_backup_minimum_size, last)
    if settings.encryption != "none":
        yield CheckItem("encryption", ok=not local.encryption_problem, hint=local.encryption_problem)
    yield _wal_age(settings.last_wal_maximum_age, last, local.newest_wal_age)
    yield CheckItem(
        "wal size", ok=True, hint=pretty_size(local.wal_after_backup_bytes), size_bytes=local.wal_after_backup_bytes
    )
    yield judge_continuity(local.gaps)
    unusable = _unusable_compression(settings)
    yield CheckItem("compression settings", ok=not unusable, hint=unusable)
    yield _failed_backups(local)
    yield from _damage(local)
    yield _redundancy(settings.minimum_redundancy, local.records)


def judge_configuration(config: ServerConfig) -> Iterator[CheckItem]:
    """Whether every value counts as it was written, and barman can do what is asked for. Silent when well."""
    method = config.settings.backup_method
    if method in _METHODS_TO_COME and not config.is_passive:
        hint = f"no backup is taken, backup_method = {method} is not supported yet"
        yield CheckItem("backup method", ok=False, hint=hint)
    bad_values = [problem for problem in config.problems if problem.bad_value]
    if config.errors or bad_values:
        # What a mistyped threshold costs is a wrong threshold; it must be seen, but no backup less for it.
        yield CheckItem("configuration", ok=False, critical=bool(config.errors))


def judge_continuity(gaps: Sequence[Finding]) -> CheckItem:
    """Whether the last backup can be recovered up to the newest WAL.

    A hole in front of it does harm to older backups, but there is nothing more to be done about it.
    """
    opened = [finding for finding in gaps if finding.is_open]
    return CheckItem("WAL continuity", ok=not opened, hint=describe_gaps(opened or gaps), critical=False)


def judge_archiver_errors(local: LocalFacts) -> CheckItem:
    """Whether nothing was set aside while archiving."""
    counts = ", ".join(f"{kind}: {count}" for kind, count in sorted(local.errors.items()))
    return CheckItem("archiver errors", ok=not local.errors, hint=counts, critical=False)


def judge_tool(name: str, tool: ToolProbe, *, server_version_text: str | None, compatible: bool) -> Iterator[CheckItem]:
    """Whether a program is there, and not older than the server (unknown: given the benefit of the doubt)."""
    yield CheckItem(name, ok=tool.error is None, hint=tool.error or "")
    hint = "" if compatible else f"PostgreSQL {server_version_text} needs a newer one than {tool.path}"
    yield CheckItem(f"{name} compatible", ok=tool.error is None and compatible, hint=hint or tool.error or "")


def _retention_policy(settings: ServerSettings) -> CheckItem:
    name = "retention policy settings"
    if settings.retention_policy is None:
        return CheckItem(name, ok=True)
    try:
        policy = parse_policy(settings.retention_policy)
    except ConfigError as error:
        return CheckItem(name, ok=False, hint=error.message)
    recovery = policy.recovery if isinstance(policy, Combined) else policy
    if isinstance(recovery, Redundancy) and recovery.backups < settings.minimum_redundancy:
        return CheckItem(name, ok=True, hint=f"raised to minimum_redundancy = {settings.minimum_redundancy}")
    return CheckItem(name, ok=True)


def _maximum_age(limit: timedelta | None, last: BackupRecord | None, now: datetime) -> CheckItem:
    name = "backup maximum age"
    age = None if last is None or last.end_time is None else now - last.end_time
    if limit is None:
        return CheckItem(name, ok=True, hint="no last_backup_maximum_age provided", critical=False, age=age)
    provided = f"interval provided: {pretty_interval(limit)}, latest backup age: "
    if age is None:
        return CheckItem(name, ok=False, hint=provided + "No available backups", critical=False)
    return CheckItem(name, ok=age <= limit, hint=provided + pretty_interval(age), critical=False, age=age)


def _clock(last: BackupRecord | None, now: datetime) -> Iterator[CheckItem]:
    """Whether the last backup ended in the past. Silent when well: what is old is told by the clock."""
    if last is not None and last.end_time is not None and last.end_time - now > _CLOCK_TOLERANCE:
        ahead = pretty_interval(last.end_time - now)
        hint = f"backup {last.backup_id} ended {ahead} from now: the clock of this host or of PostgreSQL's is wrong"
        yield CheckItem("clock", ok=False, hint=hint, critical=False)


def _failed_backups(local: LocalFacts) -> CheckItem:
    failed = sum(record.status is Status.FAILED for record in local.records)
    abandoned = [record.backup_id for record in local.records if not local.is_backup_running and is_abandoned(record)]
    hint = f"there are {failed} failed backups"
    if abandoned:
        hint += f", and the process that took {', '.join(abandoned)} has died, which cron will note"
    return CheckItem("failed backups", ok=not failed and not abandoned, hint=hint, critical=False)


def _damage(local: LocalFacts) -> Iterator[CheckItem]:
    """Whether every record can be read, every backup has its files, and every hook its script. Silent when well."""
    damage = [record.damage for record in local.records if record.damage]
    damage += [f"the files of backup {backup_id} are not there" for backup_id in local.lost]
    if damage:
        more = f"; and {len(damage) - _MOST_TOLD} more" if len(damage) > _MOST_TOLD else ""
        yield CheckItem("backup records", ok=False, hint="; ".join(damage[:_MOST_TOLD]) + more, critical=False)
    if local.hook_problems:
        yield CheckItem("hook scripts", ok=False, hint="; ".join(local.hook_problems), critical=False)


def _minimum_size(limit: int | None, last: BackupRecord | None) -> CheckItem:
    name, size = "backup minimum size", (last.size if last else None) or 0
    if limit is None:
        return CheckItem(name, ok=True, hint=pretty_size(size), critical=False, size_bytes=size)
    ok = size >= limit
    hint = f"last backup size {pretty_size(size)} {'>' if ok else '<'} {pretty_size(limit)} minimum"
    return CheckItem(name, ok=ok, hint=hint, critical=False, size_bytes=size)


def _wal_age(limit: timedelta | None, last: BackupRecord | None, age: timedelta | None) -> CheckItem:
    name = "wal maximum age"
    if limit is None:
        return CheckItem(name, ok=True, hint="no last_wal_maximum_age provided", critical=False, age=age)
    if last is None or age is None:
        return CheckItem(name, ok=False, hint="No WAL files archived for last backup", critical=False)
    hint = f"interval provided: {pretty_interval(limit)}, latest wal age: {pretty_interval(max(age, timedelta()))}"
    return CheckItem(name, ok=age <= limit, hint=hint, critical=False, age=age)


def _unusable_compression(settings: ServerSettings) -> str:
    if settings.compression == "custom" and not (
        settings.custom_compression_filter and settings.custom_decompression_filter
    ):
        return "compression = custom needs custom_compression_filter and custom_decompression_filter"
    return ""


def _redundancy(minimum: int, records: Sequence[BackupRecord]) -> CheckItem:
    have = counted_redundancy({record.backup_id: record for record in records})
    hint = f"have {have} non-incremental backups, expected at least {minimum}"
    return CheckItem("minimum redundancy requirements", ok=have >= minimum, hint=hint, critical=False)
