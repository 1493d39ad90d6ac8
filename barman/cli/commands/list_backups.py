"""The command `list-backups`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from barman.cli.arguments import SERVERS_ARG
from barman.cli.context import Profile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from barman.cli.context import App
    from barman.server import Server


@click.command("list-backups")
@SERVERS_ARG
@click.option("--minimal", is_flag=True, help="Print the ids only.")
@click.pass_obj
def command(app: App, server_names: Sequence[str], minimal: bool) -> None:
    r"""List the backups of servers, newest first.

    A line tells the type (F full, I incremental, R rsync, S snapshot), when the backup ended, its size with the WAL
    it needs, the size of the WAL that follows, the status unless it is DONE, and what the retention policy says.

    \b
    Examples:
      barman list-backups main
      barman list-backups --minimal all
    """
    from barman.cli.render.backup_list import line_to_json, render_line
    from barman.monitor.listing import list_backups

    def list_one(server: Server) -> None:
        if minimal:
            ids = sorted(server.backups.load(), reverse=True)
            app.output.result(server.name, ids)
            for backup_id in ids:
                app.output.show(backup_id)
            return
        lines = list_backups(server, app.now)
        app.output.result(server.name, [line_to_json(line) for line in lines])
        for line in lines:
            app.output.show(render_line(server.name, line))
            if line.record.damage:
                app.output.warning(line.record.damage)

    app.each(server_names, Profile.C, list_one)
