"""The command `terminate-process`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from barman.cli.arguments import SERVER_ARG
from barman.cli.context import Profile

if TYPE_CHECKING:
    from barman.cli.context import App


@click.command("terminate-process")
@SERVER_ARG
@click.argument("task")
@click.pass_obj
def command(app: App, server_name: str, task: str) -> None:
    r"""Stop something barman is doing for a server, as Ctrl-C would, and wait until it has ended.

    TASK is a name that list-processes shows: receive-wal, archive-wal, backup, cron, sync-backup or
    sync-wal. The next cron starts receive-wal again if streaming_archiver is on.

    \b
    Example:
      barman terminate-process main receive-wal
    """
    from barman.cron.processes import terminate_process

    server = app.server(server_name, Profile.D)
    process = terminate_process(server, tuple(app.config.servers), task)
    app.output.info(f"Stopped process {process.name}({process.pid})")
