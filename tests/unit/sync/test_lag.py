"""How far behind a passive node is, in words and as a verdict."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from barman.catalog.record import BackupRecord, Status
from barman.catalog.xlog_lines import WalEntry
from barman.sync.document import Position, PrimaryState
from barman.sync.lag import Lag, describe, is_well, measure
from barman.sync.plan import CopyBackup, SyncPlan
from tests.support.catalogs import backup_id, segment

NOW = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)


def _ago(**time):
    return NOW - timedelta(**time)


@pytest.mark.parametrize(
    ("lag", "words", "well"),
    [
        pytest.param(Lag(_ago(seconds=5)), "up to date; heard of the primary 5 seconds ago", True, id="even"),
        pytest.param(
            Lag(_ago(seconds=5), backups=2, backup_bytes=3 << 20, wals=1, wal_bytes=16, oldest=_ago(minutes=2)),
            "behind by 2 backups (3.0 MiB) and 1 WAL file (16 B), the oldest 2 minutes old; "
            "heard of the primary 5 seconds ago",
            True,
            id="behind a little",
        ),
        pytest.param(
            Lag(_ago(), wals=3, oldest=_ago(hours=2)),
            "behind by 3 WAL files (0 B), the oldest 2 hours old; heard of the primary less than one second ago",
            False,
            id="behind for long",
        ),
        pytest.param(
            Lag(_ago(), wals=3, oldest=_ago(hours=2), is_copying=True),
            "behind by 3 WAL files (0 B), the oldest 2 hours old; heard of the primary less than one second ago",
            True,
            id="behind for long, catching up",
        ),
        pytest.param(Lag(_ago(hours=1)), "up to date; heard of the primary 1 hour ago", False, id="silent"),
        pytest.param(
            Lag(_ago(), failures=("backup x: no room",)),
            "up to date; heard of the primary less than one second ago; backup x: no room",
            False,
            id="failed",
        ),
        pytest.param(
            Lag(_ago(seconds=-30), clock_ahead=timedelta(hours=1)),
            "up to date; heard of the primary less than one second ago; its clock is at least 1 hour ahead of ours",
            True,
            id="clocks that differ",
        ),
    ],
)
def test_it_is_said_and_judged(lag, words, well):
    assert describe(lag, NOW) == words
    assert is_well(lag, NOW) is well


def test_it_is_measured_by_what_is_missing():
    backup = BackupRecord(backup_id(1), status=Status.DONE, size=1000, end_time=_ago(hours=3))
    wal = WalEntry(segment(1), 16, _ago(minutes=1).timestamp())
    state = PrimaryState({backup.backup_id: backup}, (wal,), Position("x", 1), "", "", "")
    plan = SyncPlan(copies=(CopyBackup(backup.backup_id, ""),))
    lag = measure(state, plan, [wal], heard=NOW, failures=(), is_copying=False, now=NOW)
    assert (lag.backups, lag.backup_bytes, lag.wals, lag.wal_bytes) == (1, 1000, 1, 16)
    assert lag.age(NOW) == timedelta(hours=3)
    assert lag.clock_ahead == timedelta()


def test_a_file_from_the_future_tells_of_the_clocks():
    wal = WalEntry(segment(1), 16, _ago(minutes=-10).timestamp())
    state = PrimaryState({}, (wal,), Position("x", 1), "", "", "")
    lag = measure(state, SyncPlan(), [], heard=NOW, failures=(), is_copying=False, now=NOW)
    assert lag.clock_ahead == timedelta(minutes=10)
    assert lag.age(NOW) == timedelta()
