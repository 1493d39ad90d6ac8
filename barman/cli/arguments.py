"""Arguments and option types that commands share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import click

from barman.errors import BarmanError

if TYPE_CHECKING:
    from pathlib import Path

    from barman.config.load import Config
    from barman.server import Server


class _Number(click.IntRange):
    # What it is called when something else is given.
    name = "number"


NON_NEGATIVE: Final = _Number(min=0)
POSITIVE: Final = _Number(min=1)
COMPRESSION_LEVEL: Final = _Number(0, 9)

# Words that stand for a backup, in the order worth offering.
BACKUP_WORDS: Final = ("latest", "last", "oldest", "first", "latest-full", "last-full", "last-failed")


def complete_server(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of configured servers; `all` where several are taken."""
    config = _config(context)
    names = [*config.servers, *(["all"] if parameter.nargs != 1 else [])] if config else []
    return [name for name in names if name.startswith(incomplete)]


def complete_backup(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Ids of the server's backups, newest first, and the words that stand for one."""
    server = server_of(context)
    try:
        ids = sorted(server.backups.load(), reverse=True) if server is not None else []
    except (BarmanError, OSError):
        ids = []
    return [text for text in (*ids, *BACKUP_WORDS) if text.startswith(incomplete)]


def server_of(context: click.Context) -> Server | None:
    """Return the server that was named before what is being completed; None if there is none."""
    from barman.server import open_server

    config = _config(context)
    try:
        return open_server(config, context.params["server_name"]) if config is not None else None
    except (BarmanError, KeyError):
        return None


def absolute(_context: click.Context, _parameter: click.Parameter, value: Path | None) -> Path | None:
    """Refuse a path whose meaning depends on where the command is run."""
    if value is not None and not value.is_absolute():
        raise click.BadParameter(f"{str(value)!r} is not an absolute path")
    return value


def _config(context: click.Context) -> Config | None:
    from barman.config.load import find_config, load_config

    try:
        return load_config(find_config(context.find_root().params.get("config"), os.environ))
    except (BarmanError, OSError):
        return None


SERVER_ARG: Final = click.argument("server_name", shell_complete=complete_server)
SERVERS_ARG: Final = click.argument(
    "server_names", nargs=-1, required=True, metavar="SERVER_NAME...", shell_complete=complete_server
)
BACKUP_ARG: Final = click.argument("backup_id", shell_complete=complete_backup)
