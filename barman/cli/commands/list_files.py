"""The command `list-files`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from barman.cli.arguments import BACKUP_ARG, SERVER_ARG
from barman.cli.context import Profile

if TYPE_CHECKING:
    from barman.cli.context import App


@click.command("list-files")
@SERVER_ARG
@BACKUP_ARG
@click.option(
    "--target",
    type=click.Choice(["standalone", "data", "wal", "full"]),
    default="standalone",
    show_default=True,
    help="data: the copy; standalone: with the WAL that makes it consistent; full: with all WAL up to the next "
    "backup; wal: only that WAL.",
)
@click.option("--list-empty-directories", is_flag=True, help="Name the empty directories of the copy too.")
@click.pass_obj
def command(app: App, server_name: str, backup_id: str, target: str, list_empty_directories: bool) -> None:
    r"""List the files of a backup, one full path per line.

    \b
    Example:
      barman list-files --target full main latest
    """
    from barman.catalog.selection import resolve
    from barman.monitor.listing import Target, list_files

    server = app.server(server_name, Profile.G)
    records = server.backups.load()
    record = resolve(records, backup_id, server=server.name)
    for path in list_files(server, records, record, Target(target), empty_directories=list_empty_directories):
        app.output.write_line(str(path))
