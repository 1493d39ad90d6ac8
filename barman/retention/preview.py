"""What a deletion would remove, without removing anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from barman.retention.delete import plan_by_hand, plan_by_policy
from barman.retention.judge import server_keeps
from barman.retention.plan import plan_needs_after
from barman.retention.remove_wal import find_unneeded_wal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from barman.catalog.record import BackupId, BackupRecord
    from barman.retention.plan import Deletion
    from barman.server import Server


@dataclass(frozen=True, slots=True)
class WalPreview:
    """The archived WAL files that would go, and which stays. first, last: None without any; reason: why that much."""

    files: int
    size_bytes: int
    first: str | None
    last: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class DeletionPreview:
    """The backups that would go, in this order, with the size each has alone where that is known; and the WAL."""

    deletions: tuple[tuple[Deletion, int | None], ...]
    wal: WalPreview


def preview_by_hand(server: Server, backup_ids: Sequence[BackupId], now: datetime) -> DeletionPreview:
    """Return what delete_backups would do; raises what it would before touching anything, but for LockBusy."""
    records = server.backups.load()
    return _preview(server, records, plan_by_hand(server, records, backup_ids), now, by_hand=True)


def preview_by_policy(server: Server, now: datetime) -> DeletionPreview:
    """Return what cron would do at that moment; ConfigError if the policy cannot be understood."""
    records = server.backups.load()
    return _preview(server, records, plan_by_policy(server, records, now), now, by_hand=False)


def _preview(
    server: Server,
    records: Mapping[BackupId, BackupRecord],
    plan: Sequence[Deletion],
    now: datetime,
    *,
    by_hand: bool,
) -> DeletionPreview:
    leaving = [records[deletion.backup_id] for deletion in plan]
    gone = {record.backup_id for record in leaving}
    left = {backup_id: record for backup_id, record in records.items() if backup_id not in gone}
    needs = plan_needs_after(records, server_keeps(server, left, now), leaving, by_hand=by_hand)
    entries = [] if needs is None else find_unneeded_wal(server, needs)
    return DeletionPreview(
        deletions=tuple(
            (deletion, record.deduplicated_size or record.size) for deletion, record in zip(plan, leaving, strict=True)
        ),
        wal=WalPreview(
            files=len(entries),
            size_bytes=sum(entry.size for entry in entries),
            first=entries[0].name if entries else None,
            last=entries[-1].name if entries else None,
            reason="an older backup needs it" if needs is None else needs.reason,
        ),
    )
