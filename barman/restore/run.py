"""A restore from the first question to the last fsync."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from barman.catalog.hook_variables import backup_variables
from barman.errors import Permanent
from barman.host import clock
from barman.host.hooks import Event
from barman.restore.destination import Allowed
from barman.restore.job import Job
from barman.restore.plan import Method, describe_target
from barman.restore.prepare import prepared
from barman.restore.write_local import LocalWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from barman.config.settings import ServerSettings
    from barman.progress import Reporter
    from barman.restore.plan import RestorePlan
    from barman.restore.prepare import Prepared
    from barman.restore.request import RestoreRequest
    from barman.restore.room import Mount
    from barman.restore.settings_plan import FileChange, FileFinding, SettingsPlan
    from barman.server import Server


# So many damaged files are named.
_TOLD = 10


class Writer(Protocol):
    """What carries out a plan, step by step in this order: on this host or on another."""

    def mounts(self) -> Sequence[Mount]:
        """Return the file systems that are written to."""

    def require_possible(self) -> None:
        """Refuse what is known to fail, before anything is written."""

    def place(self) -> None:
        """Write the base backup; the control file is held back."""

    def write_wal(self) -> None:
        """Write the WAL, if it is to be copied."""

    def configure(self) -> SettingsPlan:
        """Make the configuration safe and write the recovery settings; return what was done."""

    def find_damage(self, configured: SettingsPlan) -> Iterator[str]:
        """Yield what of the backup is not as its manifest says; configured: what was changed on purpose."""

    def finish(self) -> None:
        """Make everything durable, and only then give the control file its name."""


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What was done. changes, warnings: settings of the restored cluster. missing_files: usual ones it lacks.

    is_damaged: whether files of the backup are missing or not whole; they have been told of.
    """

    backup_id: str
    destination: Path
    changes: tuple[FileChange, ...]
    warnings: tuple[FileFinding, ...]
    missing_files: tuple[str, ...]
    is_damaged: bool
    started: datetime
    elapsed: timedelta


def restore(server: Server, request: RestoreRequest, reporter: Reporter) -> RestoreReport:
    """Restore a backup of server, to this host or another, as the request says, and return what was done.

    On return PostgreSQL can be started, and everything written is on stable storage. Until the very end the destination
    lacks its control file, so that a restore that failed or was interrupted cannot be started; what it wrote is left.
    Raises BarmanError; what can be refused is refused before a byte is written.
    """
    started, begun = clock.now(), clock.monotonic()
    settings = request.overrides.applied_to(server.settings)
    with _naming_what_failed(request), prepared(server, request, reporter) as ready:
        plan = ready.plan
        with open_writer(server, request, ready, settings, reporter) as writer:
            writer.require_possible()
            _announce(server, request, plan, reporter)
            _warn_of_deprecated(settings, plan, reporter)
            with _hooks(server, request, plan, reporter):
                configured, is_damaged = _write(writer, plan, reporter)
    return RestoreReport(
        backup_id=plan.record.backup_id,
        destination=plan.destination,
        changes=configured.changes,
        warnings=configured.warnings,
        missing_files=configured.missing_files,
        is_damaged=is_damaged,
        started=started,
        elapsed=timedelta(seconds=clock.monotonic() - begun),
    )


def _announce(server: Server, request: RestoreRequest, plan: RestorePlan, reporter: Reporter) -> None:
    where = "local" if request.remote_ssh_command is None else "remote"
    reporter.info(f"Starting {where} restore for server {server.name} using backup {plan.record.backup_id}")
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


def _write(writer: Writer, plan: RestorePlan, reporter: Reporter) -> tuple[SettingsPlan, bool]:
    """Carry out the plan; return the settings, and whether the backup is damaged."""
    reporter.info("Copying the base backup.")
    writer.place()
    if plan.wal_directory is not None:
        reporter.info("Copying required WAL segments.")
        writer.write_wal()
    reporter.info("Generating recovery configuration")
    configured = writer.configure()
    for note in configured.notes:
        reporter.warning(note)
    damage = list(writer.find_damage(configured))
    for finding in damage[:_TOLD]:
        reporter.error(f"backup {plan.record.backup_id} is damaged: {finding}")
    if len(damage) > _TOLD:
        reporter.error(f"backup {plan.record.backup_id} is damaged: {len(damage) - _TOLD} more files")
    # Better a cluster that lacks a file than none.
    writer.finish()
    return configured, bool(damage)


@contextlib.contextmanager
def open_writer(
    server: Server, request: RestoreRequest, ready: Prepared, settings: ServerSettings, reporter: Reporter
) -> Iterator[Writer]:
    """Yield what writes the restore where it is to go; a connection to another host lasts as long as the block."""
    may_be_full = request.delta if request.delta is not None else "delta-restore" in settings.recovery_options
    kept_out = frozenset(os.path.realpath(path) for path in (*server.paths.directories, *request.kept_out))
    job = Job(server, ready, settings, reporter, Allowed(may_be_full, request.allow_mount_point, kept_out))
    if request.remote_ssh_command is None:
        yield LocalWriter(job)
        return
    # What most restores need not load.
    from barman.host.session import open_session
    from barman.restore.write_remote import RemoteWriter

    with open_session(
        request.remote_ssh_command,
        env=server.environment(),
        logins=max(1, settings.parallel_jobs),
        batch=max(1, settings.parallel_jobs_start_batch_size),
        period_s=settings.parallel_jobs_start_batch_period,
    ) as session:
        yield RemoteWriter(job, session)


@contextlib.contextmanager
def _naming_what_failed(request: RestoreRequest) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise Permanent(
            f"the restore to {request.destination} failed: {error.strerror or error}{where}",
            hint="The destination is incomplete and cannot be started; go on with --delta-restore, or empty it.",
        ) from error


@contextlib.contextmanager
def _hooks(server: Server, request: RestoreRequest, plan: RestorePlan, reporter: Reporter) -> Iterator[None]:
    hooks = server.hooks(Event.RECOVERY)
    if not hooks:
        yield
        return
    variables = _hook_variables(server, request, plan)
    hooks.before(variables, reporter)
    try:
        yield
    except BaseException as error:
        hooks.after(variables, reporter, error=error)
        raise
    hooks.after(variables, reporter)


def _hook_variables(server: Server, request: RestoreRequest, plan: RestorePlan) -> Mapping[str, str]:
    tablespaces = {name: str(location) for name, location in request.tablespaces.items()}
    options = {name: value for name, value in _recover_options(request).items() if value}
    return {
        **backup_variables(server.paths, server.backups.load(), plan.record),
        "BARMAN_DESTINATION_DIRECTORY": str(plan.destination),
        "BARMAN_TABLESPACES": json.dumps(tablespaces) if tablespaces else "",
        "BARMAN_REMOTE_COMMAND": request.remote_ssh_command or "",
        "BARMAN_RECOVER_OPTIONS": json.dumps(options, sort_keys=True),
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
        "recovery_option_port": request.recovery_option_port,
    }
