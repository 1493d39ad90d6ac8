"""The command `rebuild-xlogdb`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from barman.cli.arguments import SERVERS_ARG
from barman.cli.context import Profile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from barman.cli.context import App
    from barman.server import Server


@click.command("rebuild-xlogdb")
@SERVERS_ARG
@click.pass_obj
def command(app: App, server_names: Sequence[str]) -> None:
    r"""Rebuild the list of archived WAL files from the files themselves.

    The old list stays in force until the new one is complete.

    \b
    Example:
      barman rebuild-xlogdb main
    """
    from barman.postgres.wal_names import WalKind, parse_wal_name

    def rebuild(server: Server) -> None:
        app.output.info(f"Rebuilding xlogdb for server {server.name}")
        kinds: Counter[WalKind] = Counter()
        server.wal_archive.rebuild(lambda entry: kinds.update((parse_wal_name(entry.name).kind,)))
        partial = f", partial: {kinds[WalKind.PARTIAL]}" if kinds[WalKind.PARTIAL] else ""
        app.output.info(
            f"Done rebuilding xlogdb for server {server.name} (history: {kinds[WalKind.HISTORY]}, "
            f"backup_labels: {kinds[WalKind.LABEL]}, wal_file: {kinds[WalKind.SEGMENT]}{partial})"
        )

    app.each(server_names, Profile.B, rebuild)
