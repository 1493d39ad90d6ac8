"""The command `backup`."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from barman.cli.arguments import NON_NEGATIVE, POSITIVE, SERVERS_ARG, absolute
from barman.cli.context import Profile
from barman.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from barman.cli.context import App
    from barman.host.ssh import Logins
    from barman.server import Server


def _size(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    from barman.config.values import parse_size

    try:
        return None if value is None else parse_size(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r}: {error}") from error


def _usable_name(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    from barman.backup.request import require_usable_name

    if value is not None:
        require_usable_name(value)
    return value


@click.command("backup")
@SERVERS_ARG
@click.option(
    "--immediate-checkpoint/--no-immediate-checkpoint",
    default=None,
    help="Begin with a checkpoint at full speed, or with one that spares the server.",
)
@click.option(
    "--incremental",
    "parent",
    metavar="BACKUP_ID",
    help="Copy only the blocks changed since this backup (PostgreSQL 17).",
)
@click.option(
    "--reuse-backup",
    type=click.Choice(["copy", "link", "off", "reflink"]),
    is_flag=False,
    flag_value="link",
    help="Take unchanged files from the previous backup; without a value: link.",
)
@click.option("--retry-times", "basebackup_retry_times", type=NON_NEGATIVE, metavar="N", help="Repeat a failed copy.")
@click.option("--no-retry", "basebackup_retry_times", flag_value=0, type=int, help="Do not repeat a failed copy.")
@click.option(
    "--retry-sleep", "basebackup_retry_sleep", type=NON_NEGATIVE, metavar="SECONDS", help="Pause before a repetition."
)
@click.option("-j", "--jobs", "parallel_jobs", type=POSITIVE, metavar="N", help="Copy with so many workers.")
@click.option(
    "--jobs-start-batch-size",
    "parallel_jobs_start_batch_size",
    type=POSITIVE,
    metavar="N",
    help="Start at most so many workers at a time.",
)
@click.option(
    "--jobs-start-batch-period",
    "parallel_jobs_start_batch_period",
    type=POSITIVE,
    metavar="SECONDS",
    help="Pause between two such starts.",
)
@click.option(
    "--bwlimit", "bandwidth_limit", type=NON_NEGATIVE, metavar="KBPS", help="Copy no faster than this; 0: no limit."
)
@click.option("-w", "--wait", is_flag=True, help="Return when the last WAL file of the backup is archived.")
@click.option(
    "--wait-timeout", type=NON_NEGATIVE, metavar="SECONDS", help="With --wait: give up waiting (not the backup) then."
)
@click.option(
    "--keepalive-interval", type=NON_NEGATIVE, metavar="SECONDS", help="Keep the idle session alive; 0: do not."
)
@click.option("--name", metavar="NAME", callback=_usable_name, help="A name that can be used in place of the id.")
@click.option(
    "--manifest/--no-manifest", "autogenerate_manifest", default=None, help="Write a backup_manifest (rsync only)."
)
@click.option("--fail-on-checksum", is_flag=True, help="Have the backup fail when a page of the cluster is damaged.")
@click.option(
    "--check-timeout", type=NON_NEGATIVE, metavar="SECONDS", help="Time limit for the checks made first; 0: none."
)
@click.option(
    "--cloud-staging-directory",
    type=click.Path(path_type=Path),
    callback=absolute,
    help="Buffer for an upload to an object store.",
)
@click.option("--cloud-staging-max-size", callback=_size, metavar="SIZE", help="Size of that buffer.")
@click.pass_obj
def command(
    app: App,
    /,
    server_names: Sequence[str],
    parent: str | None,
    name: str | None,
    wait: bool,
    wait_timeout: int | None,
    check_timeout: int | None,
    fail_on_checksum: bool,
    **overrides: Any,  # noqa: ANN401 - one for each option of Overrides, as parsed
) -> None:
    r"""Take a base backup of one or more servers, one after the other.

    All checks of 'barman check' are made first, and a failure of any that matters for the backup ends it. The backup is
    complete when all its files are on stable storage, and DONE when the WAL files from its begin to its end are
    archived too; until then it is WAITING_FOR_WALS, and cron looks after it. The options replace those of the
    configuration for this backup.

    \b
    Examples:
      barman backup main
      barman backup --wait --wait-timeout 600 main
      barman backup --incremental latest --name before-upgrade main
      barman backup all
    """
    from barman.backup.request import BackupRequest, Overrides

    request = BackupRequest(
        name=name,
        parent=parent,
        wait=wait,
        wait_timeout_s=wait_timeout,
        fail_on_checksum=fail_on_checksum,
        overrides=Overrides(**overrides),
    )

    def back_up(server: Server) -> None:
        # First of all: while somebody is let in, there is time to load the rest, and to check.
        logins = server.source_logins(request.overrides.applied_to(server.settings))
        with logins or contextlib.nullcontext():
            if logins is not None:
                logins.begin()
            _back_up(server, logins)

    def _back_up(server: Server, logins: Logins | None) -> None:
        from barman.backup.prepare import require_valid
        from barman.backup.run import run_backup
        from barman.catalog.record import BackupRecord, BackupType, record_to_json
        from barman.errors import BackupFailed
        from barman.manifest.generate import generate_manifest

        def show(record: BackupRecord) -> None:
            for key, value in record_to_json(record).items():
                app.output.result(key, value)

        require_valid(server, request)
        _require_checks(server, check_timeout, logins)
        try:
            record = run_backup(server, request, app.output, logins=logins).record
        except BackupFailed as failure:
            if failure.backup_id is not None:
                show(server.backups.get(failure.backup_id))
            raise
        show(record)
        if request.overrides.applied_to(server.settings).autogenerate_manifest and record.type is BackupType.RSYNC:
            generate_manifest(server, record, app.output)

    app.each(server_names, Profile.A, back_up)


def _require_checks(server: Server, timeout_s: int | None, logins: Logins | None) -> None:
    from barman.monitor.check import run_checks
    from barman.monitor.check_items import name_failures

    blocking = run_checks(server, timeout_s=timeout_s, logins=logins).blocking
    if blocking:
        raise Refused(
            f"backup of server {server.name} not started, failed checks: {name_failures(blocking)}",
            hint=f"See 'barman check {server.name}'.",
        )
