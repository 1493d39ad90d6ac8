"""The command `check-wal-archive`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from barman.cli.arguments import POSITIVE, SERVER_ARG
from barman.cli.context import Profile

if TYPE_CHECKING:
    from barman.cli.context import App


@click.command("check-wal-archive")
@SERVER_ARG
@click.option("--timeline", type=POSITIVE, metavar="N", help="Only WAL of timeline N or a later one is in the way.")
@click.pass_obj
def command(app: App, server_name: str, timeline: int | None) -> None:
    r"""Check that a new PostgreSQL server may archive here: the archive is empty.

    A server that was restored and continues on a new timeline may archive where only older timelines are.

    \b
    Examples:
      barman check-wal-archive main
      barman check-wal-archive --timeline 3 main
    """
    server = app.server(server_name, Profile.D)
    app.output.show(f"Server {server.name}:")
    if server.xlogdb.is_empty(from_timeline=timeline or 0):
        message = f"WAL archive check for server {server.name} passed"
        app.output.show(f" - {message}")
        app.output.result(server.name, message)
        return
    app.output.result(server.name, {})
    if timeline is None:
        reason = "Expected empty archive"
    else:
        reason = f"WAL of timeline {timeline} or a later one is archived already"
    app.output.error(f"WAL archive check failed for server {server.name}: {reason}")
