"""The command `switch-wal`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from barman.cli.arguments import NON_NEGATIVE, SERVERS_ARG
from barman.cli.context import Profile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from barman.cli.context import App
    from barman.server import Server


@click.command("switch-wal")
@SERVERS_ARG
@click.option("--force", is_flag=True, help="Have a checkpoint first, so that there is something to switch.")
@click.option("--archive", is_flag=True, help="Wait until the closed WAL file is in the archive.")
@click.option(
    "--archive-timeout",
    type=NON_NEGATIVE,
    default=30,
    metavar="SECONDS",
    help="How long --archive waits at most; 0 for ever. Default: 30.",
)
@click.pass_obj
def command(app: App, server_names: Sequence[str], force: bool, archive: bool, archive_timeout: int) -> None:
    r"""Make PostgreSQL close its current WAL file, so that it can be archived.

    A standby cannot do that: its primary is asked where primary_conninfo is set. --force needs a superuser, or from
    PostgreSQL 15 on the role pg_checkpoint.

    \b
    Examples:
      barman switch-wal main
      barman switch-wal --force --archive --archive-timeout 60 main
    """
    from barman.wal.switch import switch_wal

    def switch(server: Server) -> None:
        switch_wal(server, app.output, force=force, archive=archive, timeout_s=archive_timeout)

    app.each(server_names, Profile.B, switch)
