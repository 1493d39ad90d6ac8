"""The command `list-restore-points`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from barman.cli.arguments import SERVER_ARG
from barman.cli.context import Profile

if TYPE_CHECKING:
    from barman.cli.context import App

# So many unreadable files are named.
_TOLD = 10


@click.command("list-restore-points")
@SERVER_ARG
@click.option("--names", is_flag=True, help="Look for named restore points, too: reads all WAL that can be recovered.")
@click.pass_obj
def command(app: App, server_name: str, names: bool) -> None:
    r"""Show from where to where a server can be recovered, timeline by timeline.

    Every time and LSN within one of the windows can be the target of a restore. A window begins with the end of a
    backup, or where its timeline branched off, and ends with the archive or where WAL is missing; its last transaction
    is recovered by a restore without a target.

    \b
    Examples:
      barman list-restore-points main
      barman list-restore-points --names main
    """
    from barman.cli.render.restore_points import render_restore_points, restore_points_to_json
    from barman.monitor.restore_points import find_restore_points

    server = app.server(server_name, Profile.G)
    found = find_restore_points(server, app.output, names=names)
    for name, reason in found.unread[:_TOLD]:
        app.output.warning(f"restore points in {name} are not listed: {reason}")
    if len(found.unread) > _TOLD:
        app.output.warning(f"restore points in {len(found.unread) - _TOLD} more WAL files are not listed")
    app.output.show(render_restore_points(server.name, found))
    app.output.result(server.name, restore_points_to_json(found))
