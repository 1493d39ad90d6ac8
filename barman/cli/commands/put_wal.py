"""put-wal: the way in for callers of click; the program itself parses its options, see barman/wal/put.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.exceptions import Exit

from barman.wal import put

if TYPE_CHECKING:
    from barman.cli.context import App


@click.command(
    "put-wal", add_help_option=False, context_settings={"ignore_unknown_options": True, "help_option_names": []}
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def command(app: App, arguments: tuple[str, ...]) -> None:
    """Pass the command line on."""
    raise Exit(put.main([*app.options.as_arguments(), "put-wal", *arguments]))
