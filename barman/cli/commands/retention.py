"""The command `retention`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from barman.cli.arguments import NON_NEGATIVE, SERVERS_ARG
from barman.cli.context import Profile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from barman.cli.context import App
    from barman.server import Server


@click.command("retention")
@SERVERS_ARG
@click.option("--explain", is_flag=True, help="Print what the policy says about each backup, and why. The default.")
@click.option(
    "--simulate",
    type=NON_NEGATIVE,
    default=0,
    metavar="DAYS",
    help="As it will be so many days from now, if no backup is taken until then.",
)
@click.option("--dry-run", is_flag=True, help="Print what cron would delete.")
@click.pass_obj
def command(app: App, server_names: Sequence[str], explain: bool, simulate: int, dry_run: bool) -> None:
    r"""Explain what the retention policy does with the backups of servers. Nothing is deleted.

    VALID backups are needed, VALID:STANDALONE ones are kept for the long term with their own WAL only, OBSOLETE ones
    are deleted by cron, but for OBSOLETE*, which minimum_redundancy asks for. KEEP marks were set with 'barman keep'.

    \b
    Examples:
      barman retention main --explain
      barman retention main --explain --simulate 30
      barman retention all --dry-run
    """
    try:
        now = app.now + timedelta(days=simulate)
    except OverflowError:
        raise click.BadParameter(f"{simulate} days from now there is no calendar", param_hint="--simulate") from None

    def show(server: Server) -> None:
        document: dict[str, object] = {}
        if explain or not dry_run:
            document |= _explain(app, server, now)
        if dry_run:
            document |= _preview(app, server, now)
        app.output.result(server.name, document)

    app.each(server_names, Profile.C, show)


def _explain(app: App, server: Server, now: datetime) -> dict[str, object]:
    from barman.cli.render.backup_list import status_word
    from barman.retention.judge import server_policy, server_verdicts

    records = server.backups.load()
    policy, found = server_policy(server), server_verdicts(server, records, now)
    minimum = server.settings.minimum_redundancy
    app.output.show(f"Server {server.name}: {policy or 'no retention policy'}, minimum redundancy {minimum}")
    for backup_id in sorted(found, reverse=True):
        verdict = found[backup_id]
        app.output.show(f"\t{backup_id} - {verdict.word.value} ({verdict.reason})")
    return {
        "retention_policy": None if policy is None else str(policy),
        "minimum_redundancy": minimum,
        "evaluated_for": now.isoformat(),
        "backups": [
            {
                "backup_id": backup_id,
                "status": status_word(records[backup_id]),
                "retention_status": found[backup_id].word.value,
                "reason": found[backup_id].reason,
            }
            for backup_id in sorted(found, reverse=True)
        ],
    }


def _preview(app: App, server: Server, now: datetime) -> dict[str, object]:
    from barman.cli.render.previews import preview_to_json, render_preview
    from barman.retention.preview import preview_by_policy

    preview = preview_by_policy(server, now)
    for line in render_preview(preview):
        app.output.show(f"{server.name}: {line}")
    return {"deletion": preview_to_json(preview)}
