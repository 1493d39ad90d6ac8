"""The command `status`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from barman.cli.arguments import SERVERS_ARG
from barman.cli.context import Profile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from barman.cli.context import App
    from barman.server import Server


@click.command("status")
@SERVERS_ARG
@click.pass_obj
def command(app: App, server_names: Sequence[str]) -> None:
    r"""Show the state of servers: PostgreSQL, archiving, retention, backups.

    Ends with 0 even if PostgreSQL cannot be reached; for a verdict use check.

    \b
    Example:
      barman status main
    """
    from barman.monitor.status import server_status

    def show(server: Server) -> None:
        items = server_status(server)
        app.output.show(f"Server {server.name}:")
        for item in items:
            app.output.show(f"\t{item.label}: {item.message}")
        app.output.result(
            server.name, {item.key: {"description": item.label, "message": item.message} for item in items}
        )

    app.each(server_names, Profile.C, show)
