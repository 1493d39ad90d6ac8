"""Looking at how far a passive node is behind, without asking the primary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from barman.catalog.record import Status
from barman.sync.lag import Lag, measure
from barman.sync.plan import COPY_FAILED, plan_sync, require_same_cluster
from barman.sync.state import gather_local, read_primary_info
from barman.sync.wal_copy import Wanted, missing_wal, never_asked

if TYPE_CHECKING:
    from datetime import datetime

    from barman.server import Server


def look_at_lag(server: Server, now: datetime) -> Lag:
    """Return how far a passive server is behind what its primary last said.

    Refused if the primary was never asked, or is another cluster; CatalogError if its answer cannot be read.
    """
    remembered = read_primary_info(server)
    if remembered is None:
        raise never_asked(server)
    state, local = remembered.state, gather_local(server)
    require_same_cluster(state, local, server.name)
    plan = plan_sync(state, None, local, now)
    entries = {entry.name: entry for part in plan.wal for entry in part.entries}
    missing = missing_wal(server, [Wanted(name, entries[name]) for name in entries])
    failures = tuple(
        f"backup {record.backup_id}: {record.error}"
        for record in local.records.values()
        if record.status is Status.FAILED and (record.error or "").startswith(COPY_FAILED)
    )
    locks = [server.locks.sync_wal(), *(server.locks.sync_backup(one) for one in state.backups)]
    return measure(
        state,
        plan,
        [entries[one.name] for one in missing],
        heard=remembered.heard,
        failures=failures,
        is_copying=any(lock.holder() is not None for lock in locks),
        now=now,
    )
