"""The command `keep`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from barman.cli.arguments import BACKUP_ARG, SERVER_ARG
from barman.cli.context import Profile
from barman.errors import UsageError, UserError

if TYPE_CHECKING:
    from barman.cli.context import App
    from barman.server import Server


@click.command("keep")
@SERVER_ARG
@BACKUP_ARG
@click.option("-s", "--status", is_flag=True, help="Print whether and how the backup is kept.")
@click.option("-r", "--release", is_flag=True, help="Leave the backup to the retention policy again.")
@click.option(
    "--target",
    type=click.Choice(["full", "standalone"]),
    help="Keep the backup with all WAL that follows it (full), or only with the WAL it needs itself (standalone).",
)
@click.pass_obj
def command(app: App, server_name: str, backup_id: str, status: bool, release: bool, target: str | None) -> None:
    r"""Keep a backup for ever, whatever the retention policy says.

    Only DONE backups that are not incremental can be kept. As long as the retention policy wants a backup anyway, the
    WAL behind it stays, also with --target standalone.

    \b
    Examples:
      barman keep --target standalone main 20261121T053358
      barman keep --status main 20261121T053358
      barman keep --release main 20261121T053358
    """
    from barman.catalog.record import KeepTarget
    from barman.catalog.selection import resolve
    from barman.retention.keep import keep_backup, release_backup

    if not (status or release or target):
        raise UserError("one of --release, --status and --target is required")
    if release and target:
        raise UsageError("--release and --target exclude each other")
    server = app.server(server_name, Profile.D)
    record = resolve(server.backups.load(), backup_id, server=server.name)
    if status:
        _show_status(app, server, record.backup_id)
    elif release:
        release_backup(server, record)
    else:
        keep_backup(server, record, KeepTarget(target))


def _show_status(app: App, server: Server, backup_id: str) -> None:
    target = server.backups.keep(backup_id)
    word = target.value if target else "nokeep"
    app.output.show(f"Server {server.name}:")
    app.output.show(f"\tKeep: {word}")
    app.output.result(server.name, {"keep_status": {"description": "Keep", "message": word}})
