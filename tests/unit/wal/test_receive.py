from __future__ import annotations

from dataclasses import replace

import pytest

from barman.catalog.identity import Identity
from barman.postgres.facts import Setting, SystemIdentity
from barman.wal.receive import preflight_problems
from tests.support.facts import facts_of_a_primary

FACTS = facts_of_a_primary({"wal_level": "replica"}, system_identifier="77", current_lsn="0/5000000")
STREAMED = SystemIdentity("77", 1, "0/5000000")


@pytest.mark.parametrize("stored", [None, Identity("77", "15")])
def test_a_fit_server_has_no_problems(stored):
    assert preflight_problems(FACTS, STREAMED, stored) == []


@pytest.mark.parametrize(
    ("facts", "streamed", "stored", "complaint"),
    [
        (replace(FACTS, has_monitoring_privileges=False), STREAMED, None, "pg_monitor"),
        (replace(FACTS, settings={"wal_level": Setting("minimal")}), STREAMED, None, "wal_level is 'minimal'"),
        (FACTS, replace(STREAMED, system_identifier="78"), None, "different clusters, system identifiers 77 and 78"),
        (FACTS, STREAMED, Identity("76", "15"), "system identifier 77, expected 76"),
    ],
)
def test_an_unfit_server_is_told_why(facts, streamed, stored, complaint):
    [problem] = preflight_problems(facts, streamed, stored)
    assert complaint in problem
