"""The command `config-switch`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from barman.cli.arguments import SERVER_ARG
from barman.cli.context import Profile
from barman.errors import UserError

if TYPE_CHECKING:
    from barman.cli.context import App


@click.command("config-switch")
@SERVER_ARG
@click.argument("model_name", metavar="[MODEL]", required=False)
@click.option("--reset", is_flag=True, help="Take the applied model back.")
@click.pass_obj
def command(app: App, server_name: str, model_name: str | None, reset: bool) -> None:
    r"""Apply a configuration model to a server, or take it back.

    The options of the model override those of the server until another model is applied or --reset is given. The
    process that receives WAL is started anew, to follow.

    \b
    Examples:
      barman config-switch main main:failover
      barman config-switch main --reset
    """
    from barman.cli.background import build_starter
    from barman.config.load import load_config
    from barman.config.switch import apply_model, reset_model
    from barman.cron.receiver import restart_receiver
    from barman.errors import Refused
    from barman.server import open_server

    server = app.server(server_name, Profile.G)
    if reset:
        reset_model(server.config, app.output)
    elif model_name is None:
        raise UserError("either a model or --reset must be given")
    else:
        try:
            apply_model(app.config, server.config, model_name, app.output)
        except Refused as error:
            app.report(error)
    restart_receiver(open_server(load_config(app.config_path), server_name), build_starter(app))
