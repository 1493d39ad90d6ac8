"""How far a passive node is behind its primary. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from barman.human import pretty_interval, pretty_size

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from barman.catalog.xlog_lines import WalEntry
    from barman.sync.document import PrimaryState
    from barman.sync.plan import SyncPlan

# cron asks every minute.
_SILENCE = timedelta(minutes=10)
_PATIENCE = timedelta(hours=1)
_TOLERANCE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Lag:
    """What the primary had when it was last heard of, and is not here.

    oldest: when the oldest of it was written; None if nothing is missing. failures: why copies failed, by backup.
    clock_ahead: how much later than now the primary's newest file was written, if so. is_copying: whether somebody is
    at it.
    """

    heard: datetime
    backups: int = 0
    backup_bytes: int = 0
    wals: int = 0
    wal_bytes: int = 0
    oldest: datetime | None = None
    failures: tuple[str, ...] = ()
    clock_ahead: timedelta = timedelta()
    is_copying: bool = False

    def age(self, now: datetime) -> timedelta:
        """How old the oldest missing thing is; nothing if all is here."""
        return timedelta() if self.oldest is None else max(now - self.oldest, timedelta())


def measure(
    state: PrimaryState,
    plan: SyncPlan,
    missing: Collection[WalEntry],
    *,
    heard: datetime,
    failures: tuple[str, ...],
    is_copying: bool,
    now: datetime,
) -> Lag:
    """Return how far behind we are. missing: of the WAL that plan wants, what is not here."""
    backups = [state.backups[copy.backup_id] for copy in plan.copies]
    times = [backup.end_time for backup in backups if backup.end_time] + [_time(wal) for wal in missing]
    known = [record.end_time for record in state.backups.values() if record.end_time] + [
        _time(wal) for wal in state.wals
    ]
    ahead = max(known, default=now) - now
    return Lag(
        heard=heard,
        backups=len(backups),
        backup_bytes=sum(backup.size or 0 for backup in backups),
        wals=len(missing),
        wal_bytes=sum(wal.size for wal in missing),
        oldest=min(times, default=None),
        failures=failures,
        clock_ahead=ahead if ahead > _TOLERANCE else timedelta(),
        is_copying=is_copying,
    )


def describe(lag: Lag, now: datetime) -> str:
    """Return it in words."""
    return "; ".join(_words(lag, now))


def is_well(lag: Lag, now: datetime) -> bool:
    """Whether the primary is heard of, nothing has failed, and what is missing is on its way."""
    is_heard = now - lag.heard <= _SILENCE
    return is_heard and not lag.failures and (lag.is_copying or lag.age(now) <= _PATIENCE)


def _words(lag: Lag, now: datetime) -> Iterator[str]:
    behind = []
    if lag.backups:
        behind.append(f"{lag.backups} backup{'s' * (lag.backups > 1)} ({pretty_size(lag.backup_bytes)})")
    if lag.wals:
        behind.append(f"{lag.wals} WAL file{'s' * (lag.wals > 1)} ({pretty_size(lag.wal_bytes)})")
    if behind:
        yield f"behind by {' and '.join(behind)}, the oldest {pretty_interval(lag.age(now))} old"
    else:
        yield "up to date"
    yield f"heard of the primary {pretty_interval(max(now - lag.heard, timedelta()))} ago"
    yield from lag.failures
    if lag.clock_ahead:
        yield f"its clock is at least {pretty_interval(lag.clock_ahead)} ahead of ours"


def _time(wal: WalEntry) -> datetime:
    return datetime.fromtimestamp(wal.mtime, timezone.utc)
