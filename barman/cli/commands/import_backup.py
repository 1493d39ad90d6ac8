"""The command `import-backup`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from barman.cli.arguments import SERVER_ARG
from barman.cli.context import Profile

if TYPE_CHECKING:
    from barman.cli.context import App


@click.command("import-backup")
@SERVER_ARG
@click.argument("tarball", type=click.Path(path_type=Path))
@click.pass_obj
def command(app: App, server_name: str, tarball: Path) -> None:
    r"""Take in a backup from a tarball that export-backup wrote.

    The server must have the name it was exported from, and back up the same PostgreSQL instance, or none yet. The
    backup is kept (standalone) until it is released with keep --release.

    \b
    Example:
      barman import-backup main /mnt/usb/backup-export-main-20261121T053358-20261121T090402-c4152e18.tar
    """
    from barman.exchange.importing import import_backup

    server = app.server(server_name, Profile.F)
    app.output.info(f"Importing {tarball} into server '{server.name}'")
    record = import_backup(server, tarball, app.output)
    app.output.info(f"Backup '{record.backup_id}' imported into server '{server.name}'")
