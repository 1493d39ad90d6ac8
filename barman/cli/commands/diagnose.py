"""The command `diagnose`."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from barman.cli.context import App


@click.command("diagnose")
@click.option("--show-config-source", is_flag=True, help="Tell for every option which file it comes from.")
@click.pass_obj
def command(app: App, show_config_source: bool) -> None:
    r"""Print everything about this installation, as JSON: versions, configuration, state, backups, WAL.

    Works with configurations that keep other commands from running. Passwords of connection strings are blackened.

    \b
    Example:
      barman diagnose > for-support.json
    """
    from barman.monitor.diagnose import diagnose

    document = diagnose(app.config, app.now, show_source=show_config_source)
    app.output.write_line(json.dumps(document, indent=4, sort_keys=True, default=_text))


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
