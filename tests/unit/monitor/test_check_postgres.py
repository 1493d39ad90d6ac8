"""The verdicts of check on the PostgreSQL server, by table."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from types import SimpleNamespace

import pytest

from barman.monitor.check_facts import LocalFacts, PostgresProbe, RemoteFacts, StreamingProbe, ToolFacts, ToolProbe
from barman.monitor.check_postgres import judge_backup_tools, judge_identity, judge_postgres, judge_wal_transport
from barman.postgres.facts import ArchiverStats, Setting, Slot, SystemIdentity
from tests.support.facts import facts_of_a_primary

NOW = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)


def _facts(**changed):
    archiving = {"wal_level": "replica", "archive_mode": "on", "archive_command": "cp %p /x/%f"}
    return replace(facts_of_a_primary(archiving, server_time=NOW), **changed)


def _with(**settings):
    facts = _facts()
    return replace(facts, settings={**facts.settings, **{name: Setting(value) for name, value in settings.items()}})


STATS = ArchiverStats(1, "A", NOW, 0, None, None, None, None)
IDENTITY = StreamingProbe(SystemIdentity("7", 1, "0/3000060"))
SLOT = Slot("barman", active=True, restart_lsn="0/3000000")


def _settings(**changed):
    defaults = {
        "streaming_archiver": True,
        "archiver": True,
        "slot_name": None,
        "backup_compression": None,
        "backup_compression_format": None,
        "backup_compression_level": None,
        "backup_compression_location": None,
        "backup_compression_workers": None,
    }
    return SimpleNamespace(**{**defaults, **changed})


def _lines(items):
    return {item.name: item.ok for item in items}


def test_a_good_server_passes():
    remote = RemoteFacts(postgres=PostgresProbe(_facts(), STATS, SLOT), streaming=IDENTITY)
    assert _lines(judge_postgres(_settings(slot_name="barman"), remote)) == {
        "PostgreSQL": True,
        "superuser or standard user with backup privileges": True,
        "PostgreSQL streaming": True,
        "wal_level": True,
        "replication slot": True,
    }


def test_nothing_is_said_of_a_server_that_was_not_asked():
    assert not list(judge_postgres(_settings(), RemoteFacts()))


def test_without_a_connection_the_rest_of_the_group_is_left_out():
    remote = RemoteFacts(postgres=PostgresProbe(error="refused"), streaming=StreamingProbe(error="refused"))
    items = list(judge_postgres(_settings(slot_name="barman"), remote))
    assert [(item.name, item.ok, item.hint) for item in items] == [
        ("PostgreSQL", False, "refused"),
        ("PostgreSQL streaming", False, "refused"),
    ]


def test_a_server_that_is_too_old_stops_the_group():
    remote = RemoteFacts(postgres=PostgresProbe(_facts(version_num=90524)))
    [item] = judge_postgres(_settings(), remote)
    assert (item.name, item.ok) == ("PostgreSQL", False)
    assert "9.6" in item.hint


@pytest.mark.parametrize(
    ("version", "needed"),
    [(90600, "superuser"), (140000, "pg_start_backup, pg_stop_backup"), (150018, "pg_backup_start, pg_backup_stop")],
)
def test_missing_privileges_have_a_name_of_their_own_and_are_listed(version, needed):
    remote = RemoteFacts(postgres=PostgresProbe(_facts(version_num=version, has_backup_privileges=False)))
    items = {item.name: item for item in judge_postgres(_settings(), remote)}
    lacking = items["no access to backup functions"]
    assert not lacking.ok
    assert needed in lacking.hint


def test_wal_level_minimal_fails():
    remote = RemoteFacts(postgres=PostgresProbe(_with(wal_level="minimal")))
    assert _lines(judge_postgres(_settings(), remote))["wal_level"] is False


@pytest.mark.parametrize(
    ("slot", "hint"),
    [
        pytest.param(None, "does not exist", id="missing"),
        pytest.param(replace(SLOT, restart_lsn=None), "not initialised", id="never used"),
        pytest.param(replace(SLOT, active=False), "not active", id="not in use"),
    ],
)
def test_a_slot_must_exist_and_be_in_use(slot, hint):
    remote = RemoteFacts(postgres=PostgresProbe(_facts(), slot=slot))
    item = list(judge_postgres(_settings(slot_name="barman"), remote))[-1]
    assert (item.name, item.ok) == ("replication slot", False)
    assert hint in item.hint


@pytest.mark.parametrize(("slot", "shown"), [(SLOT, True), (replace(SLOT, restart_lsn=None), False), (None, False)])
def test_a_slot_that_nobody_uses_any_more_is_a_warning(slot, shown):
    remote = RemoteFacts(postgres=PostgresProbe(_facts(), slot=slot))
    items = [
        item
        for item in judge_postgres(_settings(slot_name="barman", streaming_archiver=False), remote)
        if item.name == "replication slot"
    ]
    assert [item.ok and "WARNING" in item.hint for item in items] == [True] * shown


def test_a_standby_and_its_primary_are_compared():
    remote = RemoteFacts(postgres=PostgresProbe(_facts(in_recovery=True)), primary=PostgresProbe(_facts()))
    lines = _lines(judge_postgres(_settings(), remote))
    assert lines["PostgreSQL server is standby"]
    assert lines["Primary server is not a standby"]
    assert lines["Primary and standby have same system ID"]


@pytest.mark.parametrize(
    ("primary", "failing"),
    [
        pytest.param(PostgresProbe(_facts(in_recovery=True)), "Primary server is not a standby", id="standby too"),
        pytest.param(
            PostgresProbe(_facts(system_identifier="8")), "Primary and standby have same system ID", id="foreign"
        ),
        pytest.param(PostgresProbe(error="refused"), "Primary server is not a standby", id="unreachable"),
    ],
)
def test_a_primary_that_is_none_fails(primary, failing):
    remote = RemoteFacts(postgres=PostgresProbe(_facts(in_recovery=True)), primary=primary)
    assert _lines(judge_postgres(_settings(), remote))[failing] is False


def test_primary_conninfo_without_a_standby_is_told_and_forbids_nothing():
    remote = RemoteFacts(postgres=PostgresProbe(_facts()), primary=PostgresProbe(_facts()))
    [item] = [item for item in judge_postgres(_settings(), remote) if item.name == "PostgreSQL server is standby"]
    assert (item.ok, item.critical) == (False, False)


def test_a_separate_wal_source_has_lines_of_its_own():
    remote = RemoteFacts(
        postgres=PostgresProbe(_facts()),
        wal_postgres=PostgresProbe(_facts(), slot=SLOT),
        wal_streaming=IDENTITY,
    )
    lines = _lines(judge_postgres(_settings(slot_name="barman"), remote))
    assert list(lines)[-5:] == [
        "has monitoring privileges (WAL streaming)",
        "PostgreSQL streaming (WAL streaming)",
        "wal_level (WAL streaming)",
        "systemid coherence (WAL streaming)",
        "replication slot (WAL streaming)",
    ]
    assert "replication slot" not in lines
    assert all(lines.values())


def test_a_wal_source_that_cannot_be_reached_or_is_another_cluster_fails():
    unreachable = RemoteFacts(postgres=PostgresProbe(_facts()), wal_postgres=PostgresProbe(error="refused"))
    assert (
        _lines(judge_postgres(_settings(), unreachable))["no access to monitoring functions (WAL streaming)"] is False
    )
    foreign = RemoteFacts(postgres=PostgresProbe(_facts()), wal_postgres=PostgresProbe(_facts(system_identifier="8")))
    assert _lines(judge_postgres(_settings(), foreign))["systemid coherence (WAL streaming)"] is False


@pytest.mark.parametrize(
    ("normal", "streamed", "stored", "ok", "hint"),
    [
        pytest.param("7", "7", "7", True, "", id="all the same"),
        pytest.param("7", "7", None, True, "no system identifier stored yet", id="nothing stored"),
        pytest.param(None, None, "7", True, "", id="not reachable"),
        pytest.param("7", "8", "7", False, "8 of the streaming connection", id="streaming differs"),
        pytest.param("7", "7", "9", False, "9 stored with the backups", id="stored differs"),
    ],
)
def test_all_connections_and_the_catalogue_must_be_of_one_cluster(normal, streamed, stored, ok, hint):
    remote = RemoteFacts(
        postgres=PostgresProbe(_facts(system_identifier=normal)) if normal else PostgresProbe(error="x"),
        streaming=StreamingProbe(SystemIdentity(streamed, 1, "0/1")) if streamed else None,
    )
    item = judge_identity(LocalFacts(stored_system_id=stored), remote)
    assert item.ok is ok
    assert hint in item.hint


def test_archiving_by_command_is_checked_with_a_connection_only():
    remote = RemoteFacts(postgres=PostgresProbe(_facts(), STATS))
    settings = _settings(streaming_archiver=False)
    assert _lines(judge_wal_transport(settings, LocalFacts(), remote, ToolFacts())) == {
        "archive_mode": True,
        "archive_command": True,
        "continuous archiving": True,
    }
    down = RemoteFacts(postgres=PostgresProbe(error="refused"))
    assert not list(judge_wal_transport(settings, LocalFacts(), down, ToolFacts()))


@pytest.mark.parametrize(
    ("settings", "stats", "failing"),
    [
        pytest.param({"archive_mode": "off"}, STATS, "archive_mode", id="off"),
        pytest.param({"archive_command": ""}, STATS, "archive_command", id="no command"),
        pytest.param({"archive_command": "(disabled)"}, STATS, "archive_command", id="disabled"),
        pytest.param(
            {}, replace(STATS, last_failed_time=NOW, last_archived_time=None), "continuous archiving", id="fails"
        ),
    ],
)
def test_archiving_that_does_not_work_fails(settings, stats, failing):
    remote = RemoteFacts(postgres=PostgresProbe(_with(**settings), stats))
    lines = _lines(judge_wal_transport(_settings(streaming_archiver=False), LocalFacts(), remote, ToolFacts()))
    assert [name for name, ok in lines.items() if not ok] == [failing]
    # Of a server that is not told to archive, nobody says that it does.
    assert lines.get("continuous archiving") is (False if failing == "continuous archiving" else None)


@pytest.mark.parametrize(("receiver", "running"), [(None, False), (4711, True), (0, True)])
def test_receive_wal_must_be_running(receiver, running):
    remote = RemoteFacts(postgres=PostgresProbe(_facts()))
    tools = ToolFacts(pg_receivewal=ToolProbe(150018, "/bin/pg_receivewal"))
    lines = _lines(judge_wal_transport(_settings(archiver=False), LocalFacts(receiver=receiver), remote, tools))
    assert lines == {"pg_receivexlog": True, "pg_receivexlog compatible": True, "receive-wal running": running}


def test_pg_basebackup_must_not_be_older_than_the_server():
    tools = ToolFacts(pg_basebackup=ToolProbe(130000, "/bin/pg_basebackup"))
    assert _lines(judge_backup_tools(_settings(), tools, _facts())) == {
        "pg_basebackup": True,
        "pg_basebackup compatible": False,
        "pg_basebackup supports tablespaces mapping": True,
    }


def test_without_a_connection_tablespaces_are_not_judged():
    tools = ToolFacts(pg_basebackup=ToolProbe(150000, "/bin/pg_basebackup"))
    assert list(_lines(judge_backup_tools(_settings(), tools, None))) == ["pg_basebackup", "pg_basebackup compatible"]


def test_a_compression_the_tool_cannot_do_fails():
    tools = ToolFacts(pg_basebackup=ToolProbe(140000, "/bin/pg_basebackup"))
    lines = _lines(judge_backup_tools(_settings(backup_compression="zstd"), tools, _facts(version_num=140000)))
    assert lines["backup compression settings"] is False
