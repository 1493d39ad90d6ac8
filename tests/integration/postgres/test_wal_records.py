"""Records are read as PostgreSQL's own program reads them."""

from __future__ import annotations

import re

import pytest

from barman.postgres.lsn import parse_lsn
from barman.postgres.wal_records import SegmentRecords
from tests.support.ledger import Ledger
from tests.support.processes import run

_END = re.compile(r"rmgr: Transaction .*?tx:\s+(\d+), lsn: ([0-9A-F/]+),.*desc: (?:COMMIT|ABORT)(?:_PREPARED)? ")


@pytest.mark.pg(">= 13")
def test_transactions_and_restore_points_are_where_they_were_written(cluster):
    cluster.load(500)
    ledger = Ledger(cluster)
    ledger.go_to(30)
    cluster.load(500)
    name = cluster.switch_wal()
    path = cluster.data / "pg_wal" / name
    content = path.read_bytes()

    ends = list(SegmentRecords(content).transaction_ends())
    points = {point.name: point for point in SegmentRecords(content).restore_points()}

    for step in ledger.steps:
        [end] = [end for end in ends if end.ends(step.xid)]
        assert end.is_commit
        assert end.lsn < points[step.name].lsn < parse_lsn(step.lsn)
    waldump = cluster.installation.bindir / "pg_waldump"
    if waldump.exists():
        shown = run([str(waldump), str(path)], check=False).stdout
        assert [(end.xid, end.lsn) for end in ends] == [(int(xid), parse_lsn(lsn)) for xid, lsn in _END.findall(shown)]
