"""The command `cron`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from barman.cli.context import Profile
from barman.errors import BarmanError, LockBusy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from barman.cli.context import App
    from barman.cron.tick import Starter
    from barman.server import Server


@click.command("cron")
@click.option(
    "--keep-descriptors", is_flag=True, help="Let background processes write where this one writes; for containers."
)
@click.pass_obj
def command(app: App, keep_descriptors: bool) -> None:
    r"""Do the regular maintenance of all servers; run it every minute.

    For every active server: starts archiving when WAL is waiting, keeps receive-wal running if streaming_archiver is
    on, completes backups that were waiting for WAL, and deletes what the retention policy no longer needs. Applies
    queued changes of config-update first. Takes no backups. Background processes go on after this command ends;
    several cron commands at a time do no harm.

    \b
    In /etc/cron.d/barman:
      * * * * *  barman  barman -q cron
    """
    from barman.cli.background import build_starter
    from barman.cron.receiver import find_affected
    from barman.cron.tick import run_tick
    from barman.host.locks import cleanup

    changed = _apply_queue(app)
    servers = app.servers(["all"], Profile.I)
    starter = build_starter(app, keep_descriptors=keep_descriptors)
    affected = find_affected((server.config for server in servers), changed)
    _restart_receivers([server for server in servers if server.name in affected], app, starter)
    run_tick(servers, starter, app.output, app.now)
    if app.config.globals.lock_directory_cleanup:
        cleanup(app.config.globals.barman_lock_directory)


def _apply_queue(app: App) -> tuple[str, ...]:
    """Apply what config-update left queued, and say whom it concerns; the configuration is read after that."""
    from barman.config.changes import apply_queued_changes

    try:
        return apply_queued_changes(app.config_path, app.start(), app.output)
    except LockBusy as busy:
        app.output.warning(f"queued configuration changes have to wait: {busy.message}")
        return ()


def _restart_receivers(servers: Sequence[Server], app: App, starter: Starter) -> None:
    """Let the processes that receive WAL of these servers follow the change."""
    from barman.cron.receiver import restart_receiver

    for server in servers:
        try:
            restart_receiver(server, starter)
        except BarmanError as error:
            app.report(error)
