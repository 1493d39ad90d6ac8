"""The command `lock-directory-cleanup`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from barman.cli.context import App


@click.command("lock-directory-cleanup")
@click.pass_obj
def command(app: App) -> None:
    r"""Remove every lock file of barman_lock_directory that nobody holds.

    cron does the same after each run, unless lock_directory_cleanup is off. Locks in use are left alone.

    \b
    Example:
      barman lock-directory-cleanup
    """
    from barman.host.locks import cleanup

    cleanup(app.start().barman_lock_directory)
