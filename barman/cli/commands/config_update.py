"""The command `config-update`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from barman.cli.context import App


@click.command("config-update")
@click.argument("changes", metavar="JSON")
@click.pass_obj
def command(app: App, changes: str) -> None:
    r"""Change options of servers and models in the configuration files.

    JSON is an array of objects: scope is "server" or "model", server_name or model_name says which, and every other
    key is an option with its new value as text. An option is changed in the file that sets it now; one that is set
    nowhere goes to .barman.auto.conf in barman_home. The processes that receive WAL of the servers concerned are
    started anew, to follow.

    \b
    Example:
      barman config-update '[{"scope": "server", "server_name": "main", "compression": "zstd"}]'
    """
    from barman.cli.background import build_starter
    from barman.config.changes import update_configuration
    from barman.cron.receiver import find_affected, restart_receiver
    from barman.errors import BarmanError
    from barman.server import open_server

    settings = app.start()
    changed = update_configuration(changes, app.config_path, settings, app.output)
    for name in find_affected(app.config.servers.values(), changed):
        for problem in app.config.servers[name].errors:
            app.output.warning(f"server '{name}' is disabled now: {problem}")
        try:
            restart_receiver(open_server(app.config, name), build_starter(app))
        except BarmanError as error:
            app.report(error, server=name)
