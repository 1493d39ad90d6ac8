"""The command `help`."""

from __future__ import annotations

import click


@click.command("help")
@click.pass_context
def command(ctx: click.Context) -> None:
    """Show the commands and global options."""
    click.echo(ctx.find_root().get_help())
