"""What a tick starts for a passive server, after asking its primary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from barman.cron.children import Child
from barman.errors import Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from barman.progress import Reporter
    from barman.server import Server
    from barman.sync.refresh import Refreshed


class Primaries:
    """The primaries of this tick. One that cannot be reached is not tried again for every server it has."""

    def __init__(self) -> None:
        """None of them has been asked yet."""
        self._unreachable: dict[str | None, Unreachable] = {}

    def find_children(self, server: Server, reporter: Reporter, now: datetime) -> Iterator[Child]:
        """Yield the commands that bring over what is missing here, unless they are running.

        One process copies backups, one after the other, so that each can share files with its neighbour; another one
        WAL. Raises what keeps the primary from answering.
        """
        command = server.settings.primary_ssh_command
        if command in self._unreachable:
            raise self._unreachable[command]
        with server.primary_logins() as logins:
            logins.begin()
            # Costs those who have no passive servers nothing, and the others no time.
            from barman.sync.primary import Primary
            from barman.sync.refresh import refresh

            try:
                refreshed = refresh(server, Primary(server, logins), reporter, now)
            except Unreachable as error:
                self._unreachable[command] = error
                raise
            yield from _children(server, refreshed)


def _children(server: Server, refreshed: Refreshed) -> Iterator[Child]:
    from barman.sync.document import Position
    from barman.sync.state import read_position

    name = server.name
    plan = refreshed.plan
    backups = [*(purge.backup_id for purge in plan.purges), *(copy.backup_id for copy in plan.due)]
    if backups and not any(server.locks.sync_backup(one).holder() is not None for one in refreshed.state.backups):
        wanted = plan.due[0].backup_id if plan.due else backups[0]
        yield Child(("sync-backup", name, "all"), f"Starting copy of backup {wanted} for server {name}")
    # Without a backup no WAL is needed, and what there is of it has to be offered again later.
    is_behind = bool(refreshed.state.backups) and (read_position(server) or Position()) != refreshed.state.position
    if (plan.wal or is_behind) and server.locks.sync_wal().holder() is None:
        yield Child(("sync-wals", name), f"Started copy of WAL files for server {name}")
