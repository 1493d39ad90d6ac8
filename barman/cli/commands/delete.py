"""The command `delete`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from barman.cli.arguments import SERVER_ARG, complete_backup
from barman.cli.context import Profile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from barman.catalog.record import BackupId
    from barman.cli.context import App
    from barman.server import Server


@click.command("delete")
@SERVER_ARG
@click.argument("backup_ids", nargs=-1, required=True, metavar="BACKUP_ID...", shell_complete=complete_backup)
@click.option("--dry-run", is_flag=True, help="Print what would be deleted, and delete nothing.")
@click.pass_obj
def command(app: App, server_name: str, backup_ids: Sequence[str], dry_run: bool) -> None:
    r"""Delete backups, the incremental backups based on them, and the WAL files nothing else needs.

    Refused for backups that are kept, and when fewer than minimum_redundancy backups would be left; then none is
    deleted. A backup that is being restored, verified, exported or copied from is not deleted. A deletion that was
    interrupted is finished by giving the command again with the id of the backup, or by cron.

    \b
    Examples:
      barman delete main oldest
      barman delete main 20261121T053358 20261122T053412
      barman delete --dry-run main oldest
    """
    server = app.server(server_name, Profile.F)
    wanted = _resolve(server, backup_ids)
    if not dry_run:
        from barman.retention.delete import delete_backups

        delete_backups(server, wanted, app.output)
        return
    from barman.cli.render.previews import preview_to_json, render_preview
    from barman.retention.preview import preview_by_hand

    preview = preview_by_hand(server, wanted, app.now)
    app.output.result(server.name, preview_to_json(preview))
    for line in render_preview(preview):
        app.output.show(line)


def _resolve(server: Server, texts: Sequence[str]) -> list[BackupId]:
    """Return the ids that are meant; one given as such may be that of a backup whose deletion has begun."""
    from barman.catalog.record import BackupId, is_backup_id
    from barman.catalog.selection import resolve

    if all(map(is_backup_id, texts)):
        return [BackupId(text) for text in texts]
    records = server.backups.load()
    return [
        BackupId(text) if is_backup_id(text) else resolve(records, text, server=server.name).backup_id for text in texts
    ]
