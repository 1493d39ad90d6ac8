"""The command `sync-wals`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from barman.cli.arguments import SERVER_ARG
from barman.cli.context import Profile

if TYPE_CHECKING:
    from barman.cli.context import App


@click.command("sync-wals")
@SERVER_ARG
@click.pass_obj
def command(app: App, server_name: str) -> None:
    r"""Copy WAL files from the primary of a passive node; cron does this by itself.

    What the primary has is taken from its last answer to sync-info. Waits while another sync-wals is running. When
    there is nothing to copy, the files of the archive are compared with their lines, and what is missing or has
    another size is fetched again.

    \b
    Example:
      barman sync-wals main
    """
    server = app.server(server_name, Profile.D)
    with server.primary_logins() as logins:
        # First of all: while somebody is let in, there is time to load the rest, and to see what is to be done.
        logins.begin(max(1, server.settings.parallel_jobs))
        from barman.sync.primary import Primary
        from barman.sync.wal_copy import sync_wals

        sync_wals(server, Primary(server, logins), app.output, app.now)
