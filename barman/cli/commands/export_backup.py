"""The command `export-backup`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from barman.cli.arguments import BACKUP_ARG, COMPRESSION_LEVEL, SERVER_ARG
from barman.cli.context import Profile
from barman.errors import UsageError

if TYPE_CHECKING:
    from barman.cli.context import App


@click.command("export-backup")
@SERVER_ARG
@BACKUP_ARG
@click.argument("output_directory", type=click.Path(path_type=Path))
@click.option("--compression", type=click.Choice(["gzip", "bzip2", "xz"]), help="Compress the tarball.")
@click.option(
    "--compression-level",
    type=COMPRESSION_LEVEL,
    metavar="N",
    help="1 to 9, for xz 0 to 9; only with --compression.",
)
@click.pass_obj
def command(
    app: App,
    server_name: str,
    backup_id: str,
    output_directory: Path,
    compression: str | None,
    compression_level: int | None,
) -> None:
    r"""Write a backup, with the WAL files it needs, to one tarball in OUTPUT_DIRECTORY.

    The backup must be DONE and not incremental. import-backup takes the tarball in on another Barman host.

    \b
    Example:
      barman export-backup --compression gzip main latest /mnt/usb
    """
    from barman.catalog.selection import resolve
    from barman.exchange.exporting import Compression, export_backup
    from barman.monitor.diagnose import system_info

    if compression_level is not None and compression is None:
        raise UsageError("--compression-level needs --compression")
    if compression_level == 0 and compression != "xz":
        raise UsageError(f"--compression-level of {compression} is 1 to 9")
    server = app.server(server_name, Profile.F)
    record = resolve(server.backups.load(), backup_id, server=server.name)
    app.output.info(f"Exporting backup '{record.backup_id}' from server '{server.name}' to '{output_directory}'")
    path = export_backup(
        server,
        record,
        output_directory,
        compression=Compression(compression, compression_level) if compression else None,
        origin=system_info(app.now),
        now=app.now,
        reporter=app.output,
    )
    app.output.info(f"Export completed successfully: {path}")
