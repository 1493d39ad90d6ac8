"""How a restore is shown that does not take place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from barman.human import pretty_interval, pretty_size
from barman.postgres.lsn import format_lsn
from barman.postgres.timelines import history_name
from barman.postgres.versions import version_text
from barman.restore.exclusions import MANIFEST, RECORD_COPY
from barman.restore.plan import Method

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from barman.restore.plan import RestorePlan
    from barman.restore.preview import Preview
    from barman.restore.settings_plan import SettingsPlan

_METHODS = {
    Method.COPY: "files are copied",
    Method.EXTRACT: "tarballs are unpacked",
    Method.COMBINE: "full and incremental backups are combined by pg_combinebackup",
}
_WIDTH = 18


def render_plan(preview: Preview) -> Iterator[str]:
    """Yield the lines that tell people what would be done."""
    plan = preview.plan
    yield "Restore plan; nothing has been written"
    yield from _lines("Backup", [f"{plan.record.backup_id} ({plan.reason})", *_about(plan)])
    yield from _lines("Method", list(_method(plan)))
    yield from _lines("Destination", [str(plan.destination)])
    for placement in plan.placements:
        yield from _lines("Tablespace", [f"{placement.name}: {placement.location}"])
    yield from _lines("Target", [_target(plan)])
    yield from _lines("Timelines", [_path(plan)])
    yield from _lines("WAL", list(_wal(plan)))
    yield from _lines("Room", [f"{room.what}: {_size(room.size_bytes)}, {room.path}" for room in plan.room])
    for mount in preview.mounts:
        needed = f"{'' if mount.is_all else 'at least '}{pretty_size(mount.needed_bytes)}"
        yield from _lines("Disk space", [f"{mount.path}: {needed} needed, {pretty_size(mount.free_bytes)} free"])
    yield from _lines("Expected time", [_time(plan)])
    yield from _lines("Files written", list(_files(preview)))
    yield from _lines("Settings changed", list(_changes(plan.settings)))
    yield from _lines("Settings added", [f"{plan.recovery.file}: {line}" for line in plan.recovery.lines])
    yield from _lines("Settings to check", list(_findings(plan.settings)))
    yield from _lines("Not known", plan.unread)
    yield from _lines("Missing files", [] if plan.settings is None else plan.settings.missing_files)
    yield from _lines("To look after", plan.advice)


def plan_to_json(preview: Preview) -> dict[str, object]:
    """Return the same as data; sizes in bytes, times in seconds, null for what is not known."""
    plan, settings = preview.plan, preview.plan.settings
    rate = plan.rate
    return {
        "backup_id": plan.record.backup_id,
        "reason": plan.reason,
        "chain": [record.backup_id for record in plan.chain],
        "staged": list(plan.staged),
        "staging_there": None if plan.staging_there is None else str(plan.staging_there),
        "method": plan.method.value,
        "destination": str(plan.destination),
        "tablespaces": {placement.name: str(placement.location) for placement in plan.placements},
        "postgresql_version": version_text(plan.record.version or 0),
        "target": None if plan.target is None else {"kind": plan.target.kind.value, "value": plan.target.text},
        "timelines": list(plan.wal.path.path),
        "wal": _wal_to_json(plan),
        "room": [{"what": room.what, "path": str(room.path), "size_bytes": room.size_bytes} for room in plan.room],
        "mounts": [mount._asdict() for mount in preview.mounts],
        "expected_seconds": None if plan.expected is None else plan.expected.total_seconds(),
        "expected_from": None if rate is None else {"backup_id": rate.backup_id, "bytes_per_s": rate.bytes_per_s},
        "files": list(_files(preview)),
        "settings_changed": None if settings is None else [change._asdict() for change in settings.changes],
        "settings_added": {"file": plan.recovery.file, "lines": list(plan.recovery.lines)},
        "settings_to_check": None if settings is None else [finding._asdict() for finding in settings.warnings],
        "not_known": list(plan.unread),
        "missing_files": None if settings is None else list(settings.missing_files),
        "warnings": [*plan.warnings, *_notes(settings)],
        "advice": list(plan.advice),
        "problem": None if preview.problem is None else preview.problem.message,
    }


def plan_warnings(preview: Preview) -> Sequence[str]:
    """Return what the operator is warned of."""
    return [*preview.plan.warnings, *_notes(preview.plan.settings)]


def _lines(label: str, texts: Sequence[str]) -> Iterator[str]:
    for number, text in enumerate(texts):
        yield f"  {label + ':' if number == 0 else '':<{_WIDTH}} {text}"


def _method(plan: RestorePlan) -> Iterator[str]:
    there = "" if plan.staging_there is None else f" on the other host, in {plan.staging_there}"
    yield f"{_METHODS[plan.method]}{there}"
    yield from (f"{'sent there' if there else 'laid out'} first: {backup}" for backup in plan.staged)


def _about(plan: RestorePlan) -> Iterator[str]:
    record = plan.record
    yield f"PostgreSQL {version_text(record.version or 0)}, ended {record.end_time} at {record.end_xlog}"
    if len(plan.chain) > 1:
        yield f"based on {', '.join(member.backup_id for member in plan.chain[:-1])}"


def _target(plan: RestorePlan) -> str:
    target = plan.target
    if target is None:
        return "the end of the WAL there is"
    return f"{target.kind.value} {target.text}{'' if target.inclusive else ', exclusive'}"


def _path(plan: RestorePlan) -> str:
    path = plan.wal.path
    left = [
        f"{branch.timeline} up to {format_lsn(branch.switch_lsn)}"
        for branch in path.branches
        if branch.timeline >= (plan.record.timeline or 0)
    ]
    return ", then ".join([*left, str(path.timeline)])


def _wal(plan: RestorePlan) -> Iterator[str]:
    wal, size = plan.wal, plan.wal.segment_size
    needed = list(wal.copies())
    where = "PostgreSQL fetches it (get-wal)" if plan.wal_directory is None else f"to {plan.wal_directory}"
    yield f"{len(needed)} files, {pretty_size(len(needed) * size)}, {where}"
    yield from _ranges([copy.name for copy in needed])
    if wal.partial is not None:
        yield f"{wal.partial} is unfinished"
    reach = plan.reach
    if reach.is_gap:
        yield f"missing: {reach.missing}; the archive goes on behind it"
    else:
        yield f"the archive ends before {reach.missing}"


def _wal_to_json(plan: RestorePlan) -> dict[str, object]:
    return {
        "directory": None if plan.wal_directory is None else str(plan.wal_directory),
        "files": [copy.stored for copy in plan.wal.copies()],
        "size_bytes": plan.wal.count * plan.wal.segment_size,
        "missing": plan.reach.missing,
        "is_gap": plan.reach.is_gap,
    }


def _ranges(names: Sequence[str]) -> Iterator[str]:
    """Yield first and last of the files of each timeline."""
    timelines = dict.fromkeys(name[:8] for name in names)
    for timeline in timelines:
        own = [name for name in names if name.startswith(timeline)]
        yield own[0] if len(own) == 1 else f"{own[0]} to {own[-1]}"


def _files(preview: Preview) -> Iterator[str]:
    """Yield what is written besides the base backup and WAL segments."""
    plan = preview.plan
    yield RECORD_COPY
    yield f"{MANIFEST}.{plan.record.backup_id}"
    if plan.settings is not None:
        yield from plan.settings.edits
    if plan.recovery.lines and plan.recovery.file not in (plan.settings.edits if plan.settings else ()):
        yield plan.recovery.file
    if plan.recovery.signal is not None:
        yield plan.recovery.signal
    if plan.wal_directory is not None:
        yield from (f"{plan.wal_directory}/{history_name(timeline)}" for timeline in sorted(preview.histories))


def _changes(settings: SettingsPlan | None) -> Iterator[str]:
    for change in () if settings is None else settings.changes:
        new = "(commented out)" if change.new is None else change.new
        yield f"{change.file} line {change.line}: {change.option} = {change.old} -> {new}"


def _findings(settings: SettingsPlan | None) -> Iterator[str]:
    for finding in () if settings is None else settings.warnings:
        yield f"{finding.file} line {finding.line}: {finding.option} = {finding.value}"


def _notes(settings: SettingsPlan | None) -> Sequence[str]:
    return () if settings is None else settings.notes


def _time(plan: RestorePlan) -> str:
    if plan.expected is None or plan.rate is None:
        return "unknown: nothing was measured"
    speed = f"{pretty_size(plan.rate.bytes_per_s)}/s, at which backup {plan.rate.backup_id} was copied"
    return f"{pretty_interval(plan.expected)} for the base backup, at {speed}; WAL and recovery: unknown"


def _size(size_bytes: int | None) -> str:
    return "unknown" if size_bytes is None else pretty_size(size_bytes)
