"""The command `generate-manifest`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from barman.cli.arguments import BACKUP_ARG, SERVER_ARG
from barman.cli.context import Profile

if TYPE_CHECKING:
    from barman.cli.context import App


@click.command("generate-manifest")
@SERVER_ARG
@BACKUP_ARG
@click.pass_obj
def command(app: App, server_name: str, backup_id: str) -> None:
    r"""Write a backup_manifest with the SHA-256 of every file of a backup that came without one.

    \b
    Example:
      barman generate-manifest main latest
    """
    from barman.catalog.selection import resolve
    from barman.manifest.generate import generate_manifest

    server = app.server(server_name, Profile.D)
    record = resolve(server.backups.load(), backup_id, server=server.name)
    generate_manifest(server, record, app.output)
    app.output.info(
        f"Backup manifest for backup '{record.backup_id}' successfully generated for server '{server.name}'"
    )
