"""The lines of status and the words of list-servers and show-servers, by table."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace

import pytest

from barman.catalog.record import BackupId, BackupRecord, Status
from barman.human import ctime
from barman.monitor.check_facts import PostgresProbe
from barman.monitor.servers import describe, plain
from barman.monitor.status import status_items
from barman.postgres.facts import ArchiverStats
from tests.support.facts import facts_of_a_primary

NOW = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
FACTS = facts_of_a_primary(
    {"data_directory": "/data", "archive_command": "cp %p /x/%f"}, server_time=NOW, is_superuser=True
)
STATS = ArchiverStats(9, "000000010000000000000002", NOW, 0, None, None, 0.0964, NOW)


def _config(*, active=True, errors=(), passive=None, **settings):
    defaults = {
        "description": None,
        "archiver": True,
        "retention_policy": None,
        "retention_policy_mode": "auto",
        "wal_retention_policy": "main",
        "minimum_redundancy": 0,
        "primary_ssh_command": passive,
    }
    return SimpleNamespace(
        settings=SimpleNamespace(**{**defaults, **settings}),
        active_model=None,
        is_active=active,
        is_disabled=bool(errors),
        is_passive=passive is not None,
    )


def _shown(config=None, probe=None, records=()):
    return {item.key: item.message for item in status_items(config or _config(), probe, records, "no gaps")}


def _record(number, status=Status.DONE, **fields):
    return BackupRecord(BackupId(f"2026112{number}T000000"), status=status, **fields)


def test_a_server_without_postgresql_has_the_other_lines():
    assert _shown() == {
        "active": "True",
        "disabled": "False",
        "active_model": "None",
        "passive_node": "False",
        "retention_policies": "not enforced",
        "backups_number": "0",
        "first_backup": "None",
        "last_backup": "None",
        "minimum_redundancy": "satisfied (0/0)",
        "wal_continuity": "no gaps",
    }


def test_postgresql_tells_its_state():
    shown = _shown(probe=PostgresProbe(FACTS, STATS, cluster_size=23 << 20))
    assert list(shown)[3:-7] == [
        "pg_version",
        "is_in_recovery",
        "current_size",
        "data_directory",
        "current_xlog",
        "archive_command",
        "last_archived_wal",
        "failed_count",
        "server_archived_wals_per_hour",
    ]
    assert shown["pg_version"] == "15.18"
    assert shown["is_in_recovery"] == "in production"
    assert shown["current_size"] == "23.0 MiB"
    assert shown["current_xlog"] == "000000010000000000000003"
    assert shown["last_archived_wal"] == f"000000010000000000000002, at {ctime(NOW)}"
    assert shown["failed_count"] == "0"
    assert shown["server_archived_wals_per_hour"] == "347.04/hour"


def test_an_archiver_that_has_sent_nothing_has_no_rate():
    shown = _shown(probe=PostgresProbe(FACTS, replace(STATS, archived_per_second=0.0)))
    assert "server_archived_wals_per_hour" not in shown


def test_failures_of_the_archiver_name_the_last_one():
    stats = replace(STATS, failed_count=3, last_failed_wal="X", last_failed_time=NOW, last_archived_wal=None)
    shown = _shown(probe=PostgresProbe(replace(FACTS, in_recovery=True), stats))
    assert shown["failed_count"] == f"3 (X at {ctime(NOW)})"
    assert shown["last_archived_wal"] == "No WAL segment shipped yet"
    assert shown["is_in_recovery"] == "in archive recovery"


def test_a_failed_connection_is_told_in_the_place_of_the_version():
    shown = _shown(probe=PostgresProbe(error="refused"))
    assert shown["pg_version"] == "FAILED trying to get PostgreSQL version (refused)"
    assert "is_in_recovery" not in shown


def test_backups_are_counted_when_they_can_be_restored():
    records = [
        _record(3, Status.FAILED),
        _record(2),
        _record(1),
        _record(4, parent_backup_id=BackupId("x")),
        _record(5, Status.WAITING_FOR_WALS),
    ]
    shown = _shown(_config(minimum_redundancy=3), records=records)
    assert shown["backups_number"] == "3"
    assert (shown["first_backup"], shown["last_backup"]) == ("20261121T000000", "20261124T000000")
    assert shown["minimum_redundancy"] == "FAILED (2/3)"


@pytest.mark.parametrize(
    ("policy", "shown"),
    [
        ("redundancy 2", "enforced (mode: auto, retention: REDUNDANCY 2, WAL retention: MAIN)"),
        ("keep some", "not enforced (invalid retention policy 'keep some')"),
    ],
)
def test_the_retention_policy_is_shown_as_understood(policy, shown):
    assert _shown(_config(retention_policy=policy))["retention_policies"] == shown


def test_description_and_ssh_command_are_shown_where_they_are_set():
    shown = _shown(_config(description="the main one", passive="ssh primary"))
    assert (shown["description"], shown["primary_ssh_command"]) == ("the main one", "ssh primary")


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (_config(), ""),
        (_config(description="main"), "main"),
        (_config(description="main", active=False, errors=("x",)), "main (inactive)"),
        (_config(errors=("x",)), " (WARNING: disabled)"),
        (_config(passive="ssh x"), " (Passive)"),
        (_config(active=False, passive="ssh x"), " (inactive) (Passive)"),
    ],
)
def test_a_description_tells_what_keeps_the_server_from_working(config, text):
    assert describe(config) == text


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (None, None),
        (True, True),
        (5, 5),
        ("text", "text"),
        ("host=x password=secret", "host=x password=*REDACTED*"),
        (Path("/a"), "/a"),
        (frozenset({"b", "a"}), "a,b"),
        (("a", "b"), ["a", "b"]),
        (timedelta(days=1), "1 day"),
        ({"ts": 5}, {"ts": 5}),
    ],
)
def test_option_values_become_plain_data(value, data):
    assert plain(value) == data
