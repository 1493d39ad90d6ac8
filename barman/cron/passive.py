"""What a tick starts for a passive server, after asking its primary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from barman.cron.children import Child
from barman.sync.refresh import refresh
from barman.sync.state import read_position

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from barman.progress import Reporter
    from barman.server import Server


def find_sync_children(server: Server, reporter: Reporter, now: datetime) -> Iterator[Child]:
    """Yield the commands that bring over what is missing here, unless they are running.

    One process copies backups, one after the other, so that each can share files with its neighbour; another one WAL.
    Raises what keeps the primary from answering.
    """
    name = server.name
    refreshed = refresh(server, reporter, now)
    plan = refreshed.plan
    backups = [*(purge.backup_id for purge in plan.purges), *(copy.backup_id for copy in plan.copies)]
    if backups and not any(server.locks.sync_backup(one).holder() is not None for one in refreshed.state.backups):
        wanted = plan.copies[0].backup_id if plan.copies else backups[0]
        yield Child(("sync-backup", name, "all"), f"Starting copy of backup {wanted} for server {name}")
    if (plan.wal or read_position(server) != refreshed.state.position) and server.locks.sync_wal().holder() is None:
        yield Child(("sync-wals", name), f"Started copy of WAL files for server {name}")
