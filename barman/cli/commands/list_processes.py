"""The command `list-processes`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from barman.cli.arguments import SERVER_ARG
from barman.cli.context import Profile

if TYPE_CHECKING:
    from barman.cli.context import App


@click.command("list-processes")
@SERVER_ARG
@click.pass_obj
def command(app: App, server_name: str) -> None:
    r"""List what barman is doing for a server right now, with process ids.

    \b
    Example:
      barman list-processes main
    """
    from barman.cron.processes import list_processes

    server = app.server(server_name, Profile.D)
    processes = list_processes(server, tuple(app.config.servers))
    output = app.output
    output.result(server.name, [process._asdict() for process in processes])
    if not processes:
        output.show(f"No active subprocesses found for server {server.name}.")
        return
    output.show(f"Active subprocesses for server {server.name}:")
    for process in processes:
        output.show(f"{process.pid} {process.name}")
