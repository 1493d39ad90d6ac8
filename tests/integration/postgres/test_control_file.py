"""The control file is read right for every version."""

from __future__ import annotations

import pytest

from barman.postgres.control_file import LIMITS, parse_limits


@pytest.mark.pg(">= 13")
def test_the_limits_are_those_the_server_runs_with(cluster):
    cluster.configure(max_connections=57, max_prepared_transactions=5, max_locks_per_transaction=71)
    cluster.restart()
    content = (cluster.data / "global" / "pg_control").read_bytes()
    shown = {name: int(cluster.value(f"show {name}")) for name in LIMITS}
    assert parse_limits(content) == shown
