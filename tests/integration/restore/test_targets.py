"""Recovery stops exactly where it was asked to, for every kind of target."""

from __future__ import annotations

import pytest

from tests.support.ledger import Ledger, steps_in

pytestmark = pytest.mark.pg(">= 15", own_tools=True)

PROMOTE = ("--target-action", "promote")


def test_every_kind_of_target_is_exact(stream, recover, cluster):
    ledger = Ledger(cluster)
    server = stream(cluster)
    backup = server.backup()
    ledger.go_to(5)
    server.close_and_archive(cluster)
    third = ledger.steps[2]
    cases = {
        "time": (["--target-time", third.time], [1, 2, 3]),
        "xid": (["--target-xid", third.xid], [1, 2, 3]),
        "xid-exclusive": (["--target-xid", third.xid, "--exclusive"], [1, 2]),
        "name": (["--target-name", third.name], [1, 2, 3]),
        "lsn": (["--target-lsn", third.lsn], [1, 2, 3]),
        "immediate": (["--target-immediate"], []),
    }
    for name, (words, expected) in cases.items():
        recovered = recover(server, cluster, backup, name, *words, *PROMOTE)
        assert steps_in(recovered) == expected, name
        recovered.stop("immediate")
    recovered = recover(server, cluster, backup, "all")
    assert steps_in(recovered) == [1, 2, 3, 4, 5]
    assert recovered.value("select timeline_id from pg_control_checkpoint()") == 2
