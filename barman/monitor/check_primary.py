"""The verdicts of `check`, and the lines of `status`, on a passive server and its primary. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from barman.monitor.check_items import CheckItem
from barman.sync.lag import describe, is_well

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from barman.monitor.check_facts import PrimaryFacts
    from barman.sync.lag import Lag


def judge_primary(facts: PrimaryFacts, now: datetime) -> Iterator[CheckItem]:
    """Whether the primary can be reached, and everything it has is here or on its way."""
    yield CheckItem("ssh", ok=facts.ssh_error is None, hint=facts.ssh_error or "Barman primary node")
    if facts.lag is None:
        yield CheckItem("synchronisation", ok=False, hint=facts.lag_error or "")
    else:
        yield CheckItem("synchronisation", ok=is_well(facts.lag, now), hint=describe(facts.lag, now))


def lag_lines(lag: Lag, now: datetime) -> Iterator[tuple[str, str, str]]:
    """Yield key, label and value of what status tells: in words, and as numbers."""
    yield "synchronisation", "Synchronisation", describe(lag, now)
    yield "backups_behind", "Backups behind the primary", str(lag.backups)
    yield "wals_behind", "WAL files behind the primary", str(lag.wals)
    yield "bytes_behind", "Bytes behind the primary", str(lag.backup_bytes + lag.wal_bytes)
    yield "seconds_behind", "Seconds behind the primary", str(int(lag.age(now).total_seconds()))
