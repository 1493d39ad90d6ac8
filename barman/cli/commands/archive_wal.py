"""The command `archive-wal`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from barman.cli.arguments import SERVER_ARG
from barman.cli.context import Profile
from barman.errors import LockBusy

if TYPE_CHECKING:
    from barman.cli.context import App


@click.command("archive-wal")
@SERVER_ARG
@click.pass_obj
def command(app: App, server_name: str) -> None:
    r"""Move waiting WAL files into the archive.

    Files received by streaming come first, then those sent by archive_command. Every file is checked: what is damaged,
    belongs to another cluster, is no WAL, or is in the archive already with another content, goes to the errors
    directory. Ends with 1 if a file was damaged, foreign, or could not be archived.

    \b
    Examples:
      barman archive-wal main
    """
    from barman.wal.archive import archive_wal

    server = app.server(server_name, Profile.D)
    if server.config.is_passive:
        return
    try:
        archive_wal(server, app.output)
    except LockBusy as busy:
        app.output.info(busy.message)
