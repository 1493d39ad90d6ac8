"""A restore from the first question to the last fsync."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from barman.catalog.hook_variables import backup_variables
from barman.catalog.record import render_record
from barman.errors import Permanent
from barman.host import clock
from barman.host.files import fsync_directory, fsync_tree, write_durably
from barman.host.hooks import Event
from barman.progress import NoBar
from barman.restore.configure import configure
from barman.restore.exclusions import RECORD_COPY
from barman.restore.fetch import release_control_file
from barman.restore.place_data import DataPlacer
from barman.restore.plan import Method, describe_target
from barman.restore.prepare import prepared
from barman.restore.write_wal import WalWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from barman.config.settings import ServerSettings
    from barman.progress import Reporter
    from barman.restore.plan import RestorePlan
    from barman.restore.prepare import Prepared
    from barman.restore.request import RestoreRequest
    from barman.restore.settings_plan import FileChange, FileFinding, SettingsPlan
    from barman.server import Server

_FSYNC_WORKERS = 8


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What was done. changes, warnings: settings of the restored cluster. missing_files: usual ones it lacks."""

    backup_id: str
    destination: Path
    changes: tuple[FileChange, ...]
    warnings: tuple[FileFinding, ...]
    missing_files: tuple[str, ...]
    started: datetime
    elapsed: timedelta


def restore(server: Server, request: RestoreRequest, reporter: Reporter) -> RestoreReport:
    """Restore a backup of server to this host, as the request says, and return what was done.

    On return PostgreSQL can be started, and everything written is on stable storage. Until the very end the destination
    lacks its control file, so that a restore that failed or was interrupted cannot be started; what it wrote is left.
    Raises BarmanError; what can be refused is refused before a byte is written.
    """
    started, begun = clock.now(), clock.monotonic()
    settings = request.overrides.applied_to(server.settings)
    with _naming_what_failed(request), prepared(server, request, reporter) as ready:
        plan = ready.plan
        placer = DataPlacer(server, ready, settings, reporter)
        placer.require_possible()
        _announce(server, request, plan, reporter)
        _warn_of_deprecated(settings, plan, reporter)
        with _hooks(server, request, plan):
            configured = _write(server, ready, settings, placer, reporter)
    return RestoreReport(
        backup_id=plan.record.backup_id,
        destination=plan.destination,
        changes=configured.changes,
        warnings=configured.warnings,
        missing_files=configured.missing_files,
        started=started,
        elapsed=timedelta(seconds=clock.monotonic() - begun),
    )


def _announce(server: Server, request: RestoreRequest, plan: RestorePlan, reporter: Reporter) -> None:
    reporter.info(f"Starting local restore for server {server.name} using backup {plan.record.backup_id}")
    reporter.info(f"Destination directory: {plan.destination}")
    for placement in plan.placements:
        reporter.info(f"Tablespace {placement.name}: {placement.location}")
    target = describe_target(plan.target, request.target.timeline)
    if target is not None:
        reporter.info(target)
    own = plan.record.timeline
    if plan.wal.path.timeline != own:
        reporter.info(f"Recovery follows the timelines from {own} to {plan.wal.path.timeline}")
    for warning in plan.warnings:
        reporter.warning(warning)


def _warn_of_deprecated(settings: ServerSettings, plan: RestorePlan, reporter: Reporter) -> None:
    if plan.method is Method.COPY:
        return
    for name in ("recovery_staging_path", "local_staging_path"):
        if getattr(settings, name) is not None:
            reporter.warning(f"{name} is deprecated, use staging_path")


def _write(
    server: Server, ready: Prepared, settings: ServerSettings, placer: DataPlacer, reporter: Reporter
) -> SettingsPlan:
    plan = ready.plan
    reporter.info("Copying the base backup.")
    placer.place()
    write_durably(plan.destination / RECORD_COPY, render_record(plan.record).encode(), mode=0o600)
    if plan.wal_directory is not None:
        reporter.info("Copying required WAL segments.")
        with reporter.bar("Copying WAL", total=plan.wal.count, unit="segments") as bar:
            # Its pace is measured in bytes, its bar in segments.
            flow = placer.flow(NoBar())
            writer = WalWriter(plan, plan.wal_directory, server.wal_archive, server.paths.streaming, reporter, flow)
            writer.write(ready.histories, workers=_wal_workers(settings), bar=bar)
    reporter.info("Generating recovery configuration")
    configured = configure(plan)
    for note in configured.notes:
        reporter.warning(note)
    _make_durable(plan, reporter)
    return configured


def _make_durable(plan: RestorePlan, reporter: Reporter) -> None:
    roots = [plan.destination, *(placement.location for placement in plan.placements)]
    if plan.wal_directory is not None and not plan.is_wal_inside:
        roots.append(plan.wal_directory)
    with reporter.bar("Writing to stable storage", total=None, unit="bytes") as bar:
        for root in roots:
            fsync_tree(root, workers=_FSYNC_WORKERS, on_file=bar.advance)
    release_control_file(plan.destination)
    fsync_directory(plan.destination / "global")


def _wal_workers(settings: ServerSettings) -> int:
    """Return how many segments to decode at a time: it is the processor that limits, not the disk."""
    return max(settings.parallel_jobs, min(os.cpu_count() or 1, 4))


@contextlib.contextmanager
def _naming_what_failed(request: RestoreRequest) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise Permanent(
            f"the restore to {request.destination} failed: {error.strerror or error}{where}",
            hint="The destination is incomplete and cannot be started; empty it before you try again.",
        ) from error


@contextlib.contextmanager
def _hooks(server: Server, request: RestoreRequest, plan: RestorePlan) -> Iterator[None]:
    hooks = server.hooks(Event.RECOVERY)
    if not hooks:
        yield
        return
    variables = _hook_variables(server, request, plan)
    hooks.before(variables)
    try:
        yield
    except BaseException as error:
        hooks.after(variables, error=error)
        raise
    hooks.after(variables)


def _hook_variables(server: Server, request: RestoreRequest, plan: RestorePlan) -> Mapping[str, str]:
    tablespaces = {name: str(location) for name, location in request.tablespaces.items()}
    options = {name: value for name, value in _recover_options(request).items() if value}
    return {
        **backup_variables(server.paths, server.backups.load(), plan.record),
        "BARMAN_DESTINATION_DIRECTORY": str(plan.destination),
        "BARMAN_TABLESPACES": json.dumps(tablespaces) if tablespaces else "",
        "BARMAN_REMOTE_COMMAND": "",
        "BARMAN_RECOVER_OPTIONS": json.dumps(options),
    }


def _recover_options(request: RestoreRequest) -> Mapping[str, object]:
    asked = request.target
    return {
        "target_tli": asked.timeline,
        "target_time": str(asked.time) if asked.time else None,
        "target_xid": asked.xid,
        "target_lsn": asked.lsn,
        "target_name": asked.name,
        "target_immediate": asked.immediate,
        "exclusive": asked.exclusive,
        "target_action": asked.action.value if asked.action else None,
        "standby_mode": request.standby_mode,
        "recovery_conf_filename": request.recovery_conf_filename,
        "custom_restore_command": request.restore_command,
        "copy_partial": request.partial_wal,
    }
