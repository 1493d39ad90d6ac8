"""The command `check-backup`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from barman.cli.arguments import BACKUP_ARG, SERVER_ARG
from barman.cli.context import Profile
from barman.errors import LockBusy

if TYPE_CHECKING:
    from barman.cli.context import App


@click.command("check-backup")
@SERVER_ARG
@BACKUP_ARG
@click.pass_obj
def command(app: App, server_name: str, backup_id: str) -> None:
    r"""Look whether all WAL files a backup needs are archived, and set its status accordingly.

    All here: DONE. Some still to come: WAITING_FOR_WALS. One missing although later ones are here: FAILED, and an
    error; when the missing one arrives after all, the command makes the backup DONE again. cron does this by itself
    for backups that wait.

    \b
    Example:
      barman check-backup main latest
    """
    from barman.backup.finalise import check_backup
    from barman.catalog.selection import resolve

    server = app.server(server_name, Profile.D)
    record = resolve(server.backups.load(), backup_id, server=server.name)
    try:
        check_backup(server, record.backup_id, app.output)
    except LockBusy as busy:
        app.output.info(busy.message)
