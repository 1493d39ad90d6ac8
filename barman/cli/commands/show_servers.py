"""The command `show-servers`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from barman.cli.arguments import SERVERS_ARG
from barman.cli.context import Profile
from barman.cli.render.titles import server_title

if TYPE_CHECKING:
    from collections.abc import Sequence

    from barman.cli.context import App
    from barman.server import Server


@click.command("show-servers")
@SERVERS_ARG
@click.pass_obj
def command(app: App, server_names: Sequence[str]) -> None:
    r"""Show the settings of servers as they count, and what PostgreSQL and its programs say about themselves.

    \b
    Examples:
      barman show-servers main
      barman -f json show-servers all
    """
    from barman.monitor.servers import show_server

    def show(server: Server) -> None:
        shown = show_server(server)
        app.output.show(server_title(server.config))
        for key in sorted(shown):
            app.output.show(f"\t{key}: {shown[key]}")
        app.output.result(server.name, shown)

    app.each(server_names, Profile.C, show)
