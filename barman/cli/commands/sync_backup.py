"""The command `sync-backup`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from barman.cli.arguments import SERVER_ARG, server_of
from barman.cli.context import Profile
from barman.errors import BarmanError, UnknownBackup

if TYPE_CHECKING:
    from barman.cli.context import App


def _complete(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Ids of the backups that the primary had when it was last asked, newest first, and the word for all."""
    from barman.sync.state import read_primary_info

    server = server_of(context)
    try:
        remembered = read_primary_info(server) if server is not None else None
    except (BarmanError, OSError):
        remembered = None
    ids = sorted(remembered.state.backups, reverse=True) if remembered is not None else []
    return [text for text in (*ids, "all") if text.startswith(incomplete)]


@click.command("sync-backup")
@SERVER_ARG
@click.argument("backup_id", shell_complete=_complete)
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

    server = app.server(server_name, Profile.D)
    with server.primary_logins() as logins:
        if backup_id != "all" and not is_backup_id(backup_id):
            raise UnknownBackup(f"'{backup_id}' is no backup id", hint="Give the id of a backup, or the word all.")
        # First of all: while somebody is let in, there is time to load the rest, and to see what is to be done.
        logins.begin(max(1, server.settings.parallel_jobs))
        from barman.sync.backup_copy import BackupSync
        from barman.sync.primary import Primary

        work = BackupSync(server, Primary(server, logins), app.output, app.now)
        if backup_id == "all":
            work.sync_all()
        else:
            work.sync(BackupId(backup_id))
