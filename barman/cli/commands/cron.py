"""The command `cron`."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import TYPE_CHECKING

import click

from barman.cli.context import Profile
from barman.errors import LockBusy

if TYPE_CHECKING:
    from barman.cli.context import App


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
    from barman.cron.tick import Starter, run_tick
    from barman.host.locks import cleanup
    from barman.host.runner import spawn_detached

    _apply_queue(app)
    servers = app.servers(["all"], Profile.I)
    program = (sys.executable, os.path.abspath(sys.argv[0]))
    starter = Starter(
        prefix=(*program, "-c", os.path.abspath(app.config_path), "-q"),
        spawn=partial(spawn_detached, keep_descriptors=keep_descriptors),
    )
    run_tick(servers, starter, app.output, app.now)
    if app.config.globals.lock_directory_cleanup:
        cleanup(app.config.globals.barman_lock_directory)


def _apply_queue(app: App) -> None:
    """Apply what config-update left queued; the configuration is read after that."""
    from barman.config.changes import apply_queued_changes

    try:
        apply_queued_changes(app.config_path, app.start(), app.output)
    except LockBusy as busy:
        app.output.warning(f"queued configuration changes have to wait: {busy.message}")
