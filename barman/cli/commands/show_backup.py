"""The command `show-backup`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from barman.cli.arguments import BACKUP_ARG, SERVER_ARG
from barman.cli.context import Profile

if TYPE_CHECKING:
    from barman.cli.context import App


@click.command("show-backup")
@SERVER_ARG
@BACKUP_ARG
@click.pass_obj
def command(app: App, server_name: str, backup_id: str) -> None:
    r"""Show all about one backup.

    BACKUP_ID is an id, the name of a backup, or a word such as latest, oldest, latest-full or last-failed.

    \b
    Examples:
      barman show-backup main latest
      barman -f json show-backup main 20261121T053358
    """
    from barman.catalog.selection import resolve
    from barman.cli.render.backup_details import details_to_json, incomplete_to_json, render_details, render_incomplete
    from barman.monitor.listing import show_backup

    server = app.server(server_name, Profile.G)
    records = server.backups.load()
    record = resolve(records, backup_id, server=server.name)
    if record.damage:
        app.output.warning(record.damage)
    if record.is_copy_done:
        details = show_backup(server, records, record, app.now)
        app.output.show(render_details(details))
        app.output.result(server.name, details_to_json(details))
    else:
        app.output.show(render_incomplete(record))
        app.output.result(server.name, incomplete_to_json(record))
