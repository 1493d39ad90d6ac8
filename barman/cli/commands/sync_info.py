"""The command `sync-info`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from barman.cli.arguments import NON_NEGATIVE, SERVER_ARG
from barman.cli.context import Profile
from barman.errors import UsageError

if TYPE_CHECKING:
    from barman.cli.context import App


@click.command("sync-info")
@SERVER_ARG
@click.argument("last_wal", required=False)
@click.argument("last_position", required=False, type=NON_NEGATIVE)
@click.option("--primary", is_flag=True, help="Ask the primary, remember its answer, and print it (passive nodes).")
@click.pass_obj
def command(app: App, server_name: str, last_wal: str | None, last_position: int | None, primary: bool) -> None:
    r"""Print, as JSON, which backups and WAL files a passive node can copy from here.

    The passive node runs this over ssh. With LAST_WAL, the last file it knows, and LAST_POSITION, where the list of
    WAL files had its line, only what came later is listed. Passwords of connection strings are blackened.

    \b
    Examples:
      barman sync-info main
      barman sync-info main 000000010000000000000014 1400
      barman sync-info --primary main
    """
    server = app.server(server_name, Profile.D)
    if primary:
        if last_wal is not None:
            raise UsageError("with --primary no LAST_WAL is taken: what is known of the primary is written down")
        with server.primary_logins() as logins:
            logins.begin()
            from barman.sync.primary import Primary
            from barman.sync.refresh import refresh

            text = refresh(server, Primary(server, logins), app.output, app.now).text
    else:
        from barman.monitor.servers import shown_options
        from barman.sync.answer import answer

        text = answer(server, shown_options(server.config), behind=last_wal, offset=last_position)
    if app.output.is_json:
        for key, value in json.loads(text).items():
            app.output.result(key, value)
    else:
        # Not as a message: those are searched for passwords, and here are none, but many lines.
        click.echo(text)
