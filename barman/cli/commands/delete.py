"""The command `delete`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from barman.cli.arguments import BACKUP_ARG, SERVER_ARG
from barman.cli.context import Profile

if TYPE_CHECKING:
    from barman.cli.context import App


@click.command("delete")
@SERVER_ARG
@BACKUP_ARG
@click.pass_obj
def command(app: App, server_name: str, backup_id: str) -> None:
    r"""Delete a backup, the incremental backups based on it, and the WAL files nothing else needs.

    Refused for backups that are kept, and when fewer than minimum_redundancy backups would be left. A deletion that
    was interrupted is finished by giving the command again with the id of the backup, or by cron.

    \b
    Examples:
      barman delete main oldest
      barman delete main 20261121T053358
    """
    from barman.catalog.record import is_backup_id
    from barman.catalog.selection import resolve
    from barman.retention.delete import delete_backup

    server = app.server(server_name, Profile.F)
    if not is_backup_id(backup_id):
        backup_id = resolve(server.backups.load(), backup_id, server=server.name).backup_id
    delete_backup(server, backup_id, app.output)
