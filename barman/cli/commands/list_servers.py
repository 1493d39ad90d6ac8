"""The command `list-servers`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from barman.cli.context import Profile

if TYPE_CHECKING:
    from barman.cli.context import App


@click.command("list-servers")
@click.option("--minimal", is_flag=True, help="Names only.")
@click.pass_obj
def command(app: App, minimal: bool) -> None:
    r"""List the configured servers, with their descriptions.

    \b
    Example:
      barman list-servers --minimal
    """
    from barman.monitor.servers import describe

    for server in app.servers(["all"], Profile.J):
        description = describe(server.config)
        app.output.result(server.name, {"description": description})
        app.output.show(f"{server.name} - {description}" if description and not minimal else server.name)
