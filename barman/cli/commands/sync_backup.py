"""The command `sync-backup`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from barman.cli.arguments import SERVER_ARG
from barman.cli.context import Profile
from barman.errors import UnknownBackup

if TYPE_CHECKING:
    from barman.cli.context import App


@click.command("sync-backup")
@SERVER_ARG
@click.argument("backup_id")
@click.pass_obj
def command(app: App, server_name: str, backup_id: str) -> None:
    r"""Copy a backup from the primary of a passive node; cron does this by itself.

    What the primary has is taken from its last answer to sync-info. A copy that was interrupted goes on where it was.
    A backup that is here already is compared with the primary and with its manifest, and files that differ are
    fetched again. `all` copies every backup that is missing here, newest first. Obsolete ones are not copied.

    \b
    Examples:
      barman sync-backup main 20261121T053358
      barman sync-backup main all
    """
    from barman.catalog.record import BackupId, is_backup_id
    from barman.sync.backup_copy import sync_all_backups, sync_backup
    from barman.sync.primary import require_passive

    server = app.server(server_name, Profile.D)
    require_passive(server)
    if backup_id == "all":
        sync_all_backups(server, app.output, app.now)
    elif is_backup_id(backup_id):
        sync_backup(server, BackupId(backup_id), app.output, app.now)
    else:
        raise UnknownBackup(f"'{backup_id}' is no backup id", hint="Give the id of a backup, or the word all.")
