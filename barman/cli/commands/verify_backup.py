"""The command `verify-backup`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from barman.cli.arguments import BACKUP_ARG, SERVER_ARG
from barman.cli.context import Profile

if TYPE_CHECKING:
    from barman.cli.context import App


@click.command("verify-backup")
@SERVER_ARG
@BACKUP_ARG
@click.pass_obj
def command(app: App, server_name: str, backup_id: str) -> None:
    r"""Compare every file of a backup with its manifest, by pg_verifybackup.

    \b
    Example:
      barman verify-backup main latest
    """
    from barman.catalog.selection import resolve
    from barman.manifest.verify import verify_backup

    server = app.server(server_name, Profile.G)
    record = resolve(server.backups.load(), backup_id, server=server.name)
    app.output.info(f"Verifying backup '{record.backup_id}' on server '{server.name}'")
    verify_backup(server, record, app.output)
