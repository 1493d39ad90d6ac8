"""The command `receive-wal`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from barman.cli.arguments import SERVER_ARG
from barman.cli.context import Profile
from barman.errors import Refused

if TYPE_CHECKING:
    from barman.cli.context import App


@click.command("receive-wal")
@SERVER_ARG
@click.option("--stop", is_flag=True, help="Stop the process that receives WAL of this server.")
@click.option("--reset", is_flag=True, help="Go on at the server's current position, giving up what lies between.")
@click.option("--create-slot", is_flag=True, help="Create the replication slot slot_name.")
@click.option("--if-not-exists", is_flag=True, help="With --create-slot: a slot that exists is fine.")
@click.option("--drop-slot", is_flag=True, help="Drop the replication slot slot_name.")
@click.pass_obj
def command(
    app: App,
    server_name: str,
    stop: bool,
    reset: bool,
    create_slot: bool,
    if_not_exists: bool,
    drop_slot: bool,
) -> None:
    r"""Receive WAL by streaming replication, until interrupted.

    Needs streaming_archiver = on. cron starts it in the background where it is not running; by hand it is useful to
    see what goes wrong. Ctrl-C ends it.

    \b
    Examples:
      barman receive-wal main
      barman receive-wal --create-slot main
      barman receive-wal --stop main
    """
    from barman.config.load import with_wal_conninfo
    from barman.wal import receive

    server = app.server(server_name, Profile.F if stop or reset or create_slot or drop_slot else Profile.D)
    if stop and reset:
        raise Refused("--stop and --reset cannot be combined")
    if stop:
        app.output.info(f"Stopped process receive-wal({receive.stop_receive_wal(server)})")
        return
    for line in with_wal_conninfo(server.config)[1]:
        app.output.info(line)
    if create_slot:
        receive.create_slot(server, app.output, if_not_exists=if_not_exists)
    elif drop_slot:
        receive.drop_slot(server, app.output)
    elif reset:
        receive.reset_receive_wal(server, app.output)
    else:
        receive.receive_wal(server, app.output)
