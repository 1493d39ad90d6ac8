"""The command `restore`, also known as `recover`."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from barman.cli.arguments import BACKUP_ARG, NON_NEGATIVE, POSITIVE, SERVER_ARG, absolute
from barman.cli.context import Profile
from barman.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from barman.cli.context import App
    from barman.restore.request import Overrides, RestoreRequest
    from barman.restore.run import RestoreReport
    from barman.restore.targets import TargetOptions
    from barman.server import Server

# Parsed, so that the refusal is clear; the names are those of the parameters below.
_NOT_AVAILABLE: Mapping[str, str] = {
    "snapshot_recovery_instance": "restoring disk snapshots (--snapshot-recovery-instance)",
    "gcp_zone": "restoring disk snapshots (--gcp-zone)",
    "azure_resource_group": "restoring disk snapshots (--azure-resource-group)",
    "aws_region": "restoring disk snapshots (--aws-region)",
}


def _tablespaces(_ctx: click.Context, _param: click.Parameter, values: Sequence[str]) -> Mapping[str, Path]:
    places = {}
    for value in values:
        name, separator, location = value.partition(":")
        if not (separator and name and location.startswith("/")):
            raise click.BadParameter(f"{value!r} is not NAME:LOCATION with an absolute location")
        places[name] = Path(os.path.normpath(location))
    return places


def _path_option(name: str, text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    kind = click.Path(path_type=Path, readable=False)
    return click.option(name, type=kind, callback=absolute, metavar="PATH", help=text)


@click.command("restore")
@SERVER_ARG
@BACKUP_ARG
@click.argument("destination_directory", type=click.Path(path_type=Path, readable=False))
@click.option("--target-time", metavar="TIME", help="Recover up to this time; without a zone, in that of this host.")
@click.option("--target-xid", metavar="XID", help="Recover up to this transaction.")
@click.option("--target-lsn", metavar="LSN", help="Recover up to this position in the WAL.")
@click.option("--target-name", metavar="NAME", help="Recover up to this restore point.")
@click.option("--target-immediate", is_flag=True, help="Recover only until the backup is consistent.")
@click.option("--exclusive", is_flag=True, help="Stop just before the target (time, transaction, LSN).")
@click.option(
    "--target-tli",
    metavar="TIMELINE",
    help="Recover along this timeline: a number, 'current' (that of the backup) or 'latest'.",
)
@click.option(
    "--target-action",
    type=click.Choice(["pause", "shutdown", "promote"]),
    help="What PostgreSQL does when the target is reached.",
)
@click.option("--standby-mode", is_flag=True, help="Make the restored cluster a standby.")
@click.option(
    "--tablespace",
    "tablespaces",
    multiple=True,
    callback=_tablespaces,
    metavar="NAME:LOCATION",
    help="Put a tablespace elsewhere; may be repeated.",
)
@click.option("--get-wal/--no-get-wal", default=None, help="PostgreSQL fetches WAL from barman, or gets a copy now.")
@click.option("--partial-wal", is_flag=True, help="Copy the last, unfinished WAL file too.")
@click.option("--restore-command", metavar="COMMAND", help="With get-wal: PostgreSQL's restore_command.")
@click.option("--recovery-conf-filename", metavar="NAME", help="File for the recovery settings (PostgreSQL 12).")
@click.option("--recovery-option-port", type=POSITIVE, metavar="PORT", help="ssh port for barman-wal-restore.")
@_path_option("--staging-wal-directory", "Where WAL for recovery to a target is put; removed by PostgreSQL at the end.")
@_path_option("--staging-path", "Where chains of incremental backups are laid out to be combined.")
@click.option("--staging-location", type=click.Choice(["local", "remote"]), help="The host of the staging path.")
@_path_option("--recovery-staging-path", "Deprecated, use --staging-path.")
@_path_option("--local-staging-path", "Deprecated, use --staging-path.")
@click.option(
    "--combine-mode",
    type=click.Choice(["copy", "link", "clone", "copy-file-range"]),
    help="How incremental backups are combined.",
)
@click.option("--retry-times", "basebackup_retry_times", type=NON_NEGATIVE, metavar="N", help="Repeat a failed copy.")
@click.option("--no-retry", "basebackup_retry_times", flag_value=0, type=int, help="Do not repeat a failed copy.")
@click.option(
    "--retry-sleep", "basebackup_retry_sleep", type=NON_NEGATIVE, metavar="SECONDS", help="Pause before a repetition."
)
@click.option("-j", "--jobs", "parallel_jobs", type=POSITIVE, metavar="N", help="Copy with so many workers.")
@click.option(
    "--bwlimit", "bandwidth_limit", type=NON_NEGATIVE, metavar="KBPS", help="Copy no faster than this; 0: no limit."
)
@click.option("--jobs-start-batch-size", "parallel_jobs_start_batch_size", type=POSITIVE, hidden=True)
@click.option("--jobs-start-batch-period", "parallel_jobs_start_batch_period", type=POSITIVE, hidden=True)
@click.option("--network-compression/--no-network-compression", default=None, help="Compress on the wire.")
@click.option(
    "--delta-restore/--no-delta-restore",
    "delta",
    default=None,
    help="Make what is in the destination equal to the backup: only what differs is written.",
)
@click.option("--allow-mount-point", is_flag=True, help="The destination may be where a file system is mounted.")
@click.option("--remote-ssh-command", metavar="COMMAND", help="Restore to the host this ssh command leads to.")
@click.option("--snapshot-recovery-instance", hidden=True)
@click.option("--gcp-zone", "--snapshot-recovery-zone", "gcp_zone", hidden=True)
@click.option("--azure-resource-group", hidden=True)
@click.option("--aws-region", hidden=True)
@click.option("--dry-run", is_flag=True, help="Show what would be done, and whether it can be; write nothing.")
@click.pass_obj
def command(
    app: App,
    /,
    server_name: str,
    backup_id: str,
    destination_directory: Path,
    *,
    dry_run: bool,
    **options: Any,  # noqa: ANN401 - one for each option, as parsed
) -> None:
    r"""Restore a backup into a data directory, on this host or with --remote-ssh-command on another.

    Without a target PostgreSQL replays all archived WAL; the backup id 'auto' finds the newest backup from which the
    target time or LSN can be reached. The destination must be empty, unless --delta-restore is given. PostgreSQL can be
    started as soon as the command has ended well: everything is on stable storage then, the restored cluster recovers,
    begins a timeline of its own, and does not archive its WAL anywhere until archive_command is set again. A target
    that cannot be reached is refused before anything is written; --dry-run shows the whole plan.

    \b
    Examples:
      barman restore main latest /var/lib/postgresql/15/restored
      barman restore main auto /restore --target-time '2026-11-21 05:41:46+00:00' --target-action promote
      barman restore main 20261121T053401 /restore --tablespace fast:/ssd/fast --jobs 4
      barman restore main latest /restore --remote-ssh-command 'ssh postgres@db2' --delta-restore
    """
    from barman.catalog.layout import server_paths
    from barman.restore.request import Overrides, RestoreRequest
    from barman.restore.run import restore

    _require_available(options)
    _require_consistent(app, options)
    server = app.server(server_name, Profile.F)
    servers = app.config.servers.values()
    request = RestoreRequest(
        backup=backup_id,
        destination=Path(os.path.abspath(destination_directory)),
        target=_target_options(app, options),
        kept_out=frozenset(path for one in servers for path in server_paths(one.settings, one.name).directories),
        overrides=Overrides(**_chosen(options, Overrides)),
        **_chosen(options, RestoreRequest),
    )
    if dry_run:
        _show_preview(app, server, request)
    else:
        _show(app, restore(server, request, app.output))


def _show_preview(app: App, server: Server, request: RestoreRequest) -> None:
    from barman.cli.render.restore_plans import plan_to_json, plan_warnings, render_plan
    from barman.restore.preview import preview

    found = preview(server, request, app.output)
    for line in render_plan(found):
        app.output.show(line)
    app.output.result("plan", plan_to_json(found))
    for warning in plan_warnings(found):
        app.output.warning(warning)
    if found.problem is not None:
        raise found.problem


def _chosen(options: Mapping[str, Any], record: type[Overrides | RestoreRequest]) -> dict[str, Any]:
    """Return the options that are fields of record."""
    return {field.name: options[field.name] for field in fields(record) if field.name in options}


def _require_available(options: Mapping[str, Any]) -> None:
    for name, what in _NOT_AVAILABLE.items():
        if options[name]:
            raise Refused(f"{what} is not available in this version")


def _require_consistent(app: App, options: Mapping[str, Any]) -> None:
    """Refuse options that contradict each other; tell of those without effect."""
    if options["remote_ssh_command"] is not None:
        return
    if options["network_compression"]:
        raise Refused("--network-compression needs --remote-ssh-command")
    if options["staging_location"] == "remote":
        raise Refused("--staging-location remote needs --remote-ssh-command")
    if options["recovery_option_port"] is not None:
        app.output.warning("--recovery-option-port has no effect for a restore to this host")


def _target_options(app: App, options: Mapping[str, Any]) -> TargetOptions:
    from barman.restore.targets import TargetAction, TargetOptions, parse_timeline

    time = None
    if options["target_time"] is not None:
        from barman.restore.times import parse_target_time

        time, has_zone = parse_target_time(options["target_time"])
        if not has_zone:
            app.output.warning(f"the target time has no time zone; it is taken as {time.isoformat(sep=' ')}")
    return TargetOptions(
        time=time,
        xid=options["target_xid"],
        lsn=options["target_lsn"],
        name=options["target_name"],
        immediate=options["target_immediate"],
        exclusive=options["exclusive"],
        action=None if options["target_action"] is None else TargetAction(options["target_action"]),
        timeline=None if options["target_tli"] is None else parse_timeline(options["target_tli"]),
    )


def _show(app: App, report: RestoreReport) -> None:
    from barman.human import pretty_interval

    output = app.output
    if report.changes:
        output.show("IMPORTANT: these settings were changed, so that the restored cluster cannot do harm")
        for change in report.changes:
            output.show(f"    {change.file} line {change.line}: {change.option} = {change.value}")
    if report.warnings:
        output.show("WARNING: look at these settings before you start PostgreSQL")
        for warning in report.warnings:
            output.show(f"    {warning.file} line {warning.line}: {warning.option} = {warning.value}")
    if report.missing_files:
        output.show("WARNING: the backup does not have these files; PostgreSQL may need them")
        for name in report.missing_files:
            output.show(f"    {name}")
    elapsed = pretty_interval(report.elapsed)
    output.info(f"Restore operation completed (start time: {report.started}, elapsed time: {elapsed})")
    if not report.is_damaged:
        output.info("Your PostgreSQL server has been successfully prepared for recovery!")
    output.result("changes", [[change.file, change.line, change.option, change.value] for change in report.changes])
    output.result("changes_count", len(report.changes))
    output.result("warnings", [list(warning) for warning in report.warnings])
    output.result("warnings_count", len(report.warnings))
    output.result("missing_files", list(report.missing_files))
    output.result("recovery_start_time", str(report.started))
    output.result("recovery_start_time_timestamp", str(int(report.started.timestamp())))
    output.result("recovery_elapsed_time", elapsed)
    output.result("recovery_elapsed_time_seconds", report.elapsed.total_seconds())
