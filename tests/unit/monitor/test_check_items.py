"""The verdicts of check on what lies on this host, by table."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest

from barman.catalog.record import BackupId, BackupRecord, Status
from barman.monitor.check_facts import CheckFacts, LocalFacts, ToolProbe
from barman.monitor.check_items import (
    CheckItem,
    judge_archiver_errors,
    judge_catalogue,
    judge_configuration,
    judge_queues,
    judge_tool,
    judge_wal_arrival,
    name_failures,
)

NOW = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)


def _settings(**changed):
    defaults = {
        "archiver": True,
        "streaming_archiver": True,
        "incoming_wals_directory": "/in",
        "streaming_wals_directory": "/stream",
        "max_incoming_wals_queue": None,
        "retention_policy": None,
        "last_backup_maximum_age": None,
        "last_backup_minimum_size": None,
        "last_wal_maximum_age": None,
        "compression": None,
        "custom_compression_filter": None,
        "custom_decompression_filter": None,
        "encryption": "none",
        "backup_method": "postgres",
        "minimum_redundancy": 0,
    }
    return SimpleNamespace(**{**defaults, **changed})


def _config(*, errors=(), problems=(), **settings):
    return SimpleNamespace(
        settings=_settings(**settings),
        errors=errors,
        problems=problems,
        is_disabled=bool(errors),
        is_passive=False,
    )


def _record(hours_ago, *, status=Status.DONE, size=1000, **fields):
    end = NOW - timedelta(hours=hours_ago)
    return BackupRecord(BackupId(end.strftime("%Y%m%dT%H%M%S")), status=status, end_time=end, size=size, **fields)


def _catalogue(local, **settings):
    return {item.name: item for item in judge_catalogue(_config(**settings), local, NOW)}


def test_no_wal_in_the_archive_fails_with_the_reason():
    assert list(judge_wal_arrival(CheckFacts(NOW, wal_arrival="because"))) == [
        CheckItem("WAL archive", ok=False, hint="because")
    ]
    assert not list(judge_wal_arrival(CheckFacts(NOW)))


@pytest.mark.parametrize(
    ("settings", "incoming", "streaming", "names"),
    [
        pytest.param({}, 500, 500, [], id="no limit"),
        pytest.param({"archiver": False}, 1, 0, ["empty incoming directory"], id="archiver off, files there"),
        pytest.param({"archiver": False, "streaming_archiver": False}, 0, 0, [], id="all off, nothing there"),
        pytest.param({"streaming_archiver": False}, 0, 1, ["empty streaming directory"], id="streaming off"),
        pytest.param({"max_incoming_wals_queue": 2}, 2, 3, [], id="at the limit, one file being written"),
        pytest.param(
            {"max_incoming_wals_queue": 2}, 3, 4, ["incoming WALs directory", "streaming WALs directory"], id="beyond"
        ),
    ],
)
def test_queues_may_not_grow_beyond_their_limit(settings, incoming, streaming, names):
    local = LocalFacts(waiting_incoming=incoming, waiting_streaming=streaming)
    items = list(judge_queues(_settings(**settings), local))
    assert [item.name for item in items] == names
    assert not any(item.ok or item.critical for item in items)


def test_the_lines_of_an_empty_catalogue_stand_in_their_order():
    items = _catalogue(LocalFacts())
    assert [(item.name, item.ok, item.hint) for item in items.values()] == [
        ("directories", True, ""),
        ("retention policy settings", True, ""),
        ("backup maximum age", True, "no last_backup_maximum_age provided"),
        ("backup minimum size", True, "0 B"),
        ("wal maximum age", True, "no last_wal_maximum_age provided"),
        ("wal size", True, "0 B"),
        ("WAL continuity", True, ""),
        ("compression settings", True, ""),
        ("failed backups", True, "there are 0 failed backups"),
        ("minimum redundancy requirements", True, "have 0 non-incremental backups, expected at least 0"),
    ]


def test_directories_fail_with_path_and_reason():
    items = _catalogue(LocalFacts(directory_problems=("/a: not writable", "/b: No space left on device")))
    assert items["directories"].hint == "/a: not writable; /b: No space left on device"
    assert not items["directories"].ok
    assert items["directories"].critical


def test_a_disabled_server_has_no_line_about_directories():
    assert "directories" not in {item.name for item in judge_catalogue(_config(errors=("no",)), LocalFacts(), NOW)}


def test_an_unreadable_retention_policy_fails():
    assert not _catalogue(LocalFacts(), retention_policy="KEEP SOME")["retention policy settings"].ok
    assert _catalogue(LocalFacts(), retention_policy="REDUNDANCY 2")["retention policy settings"].ok


@pytest.mark.parametrize(
    ("records", "ok", "hint"),
    [
        pytest.param((_record(1),), True, "interval provided: 1 day, latest backup age: 1 hour", id="young"),
        pytest.param((_record(25),), False, "interval provided: 1 day, latest backup age: 1 day, 1 hour", id="old"),
        pytest.param((), False, "interval provided: 1 day, latest backup age: No available backups", id="none"),
        pytest.param(
            (_record(1, status=Status.FAILED), _record(30)),
            False,
            "interval provided: 1 day, latest backup age: 1 day, 6 hours",
            id="failed ones do not count",
        ),
    ],
)
def test_the_last_backup_may_not_be_too_old(records, ok, hint):
    item = _catalogue(LocalFacts(records=records), last_backup_maximum_age=timedelta(days=1))["backup maximum age"]
    assert (item.ok, item.hint, item.critical) == (ok, hint, False)


@pytest.mark.parametrize(
    ("size", "ok", "hint"),
    [
        (2048, True, "last backup size 2.0 KiB > 1.0 KiB minimum"),
        (1024, True, "last backup size 1.0 KiB > 1.0 KiB minimum"),
        (1000, False, "last backup size 1000 B < 1.0 KiB minimum"),
    ],
)
def test_the_last_backup_may_not_be_too_small(size, ok, hint):
    records = (_record(1, size=size),)
    item = _catalogue(LocalFacts(records=records), last_backup_minimum_size=1024)["backup minimum size"]
    assert (item.ok, item.hint, item.size_bytes) == (ok, hint, size)


@pytest.mark.parametrize(
    ("records", "age", "ok", "hint"),
    [
        pytest.param((), None, False, "No WAL files archived for last backup", id="no backup"),
        pytest.param((_record(2),), None, False, "No WAL files archived for last backup", id="no WAL"),
        pytest.param(
            (_record(2),),
            timedelta(minutes=5),
            True,
            "interval provided: 1 hour, latest wal age: 5 minutes",
            id="young",
        ),
        pytest.param(
            (_record(2),), timedelta(hours=2), False, "interval provided: 1 hour, latest wal age: 2 hours", id="old"
        ),
        pytest.param(
            (_record(2),),
            timedelta(seconds=-3),
            True,
            "interval provided: 1 hour, latest wal age: less than one second",
            id="clock ahead",
        ),
    ],
)
def test_the_newest_wal_may_not_be_too_old(records, age, ok, hint):
    local = LocalFacts(records=records, newest_wal_age=age)
    item = _catalogue(local, last_wal_maximum_age=timedelta(hours=1))["wal maximum age"]
    assert (item.ok, item.hint) == (ok, hint)


def test_the_wal_after_the_last_backup_is_told_in_bytes_too():
    item = _catalogue(LocalFacts(wal_after_backup_bytes=16 << 20))["wal size"]
    assert (item.ok, item.hint, item.size_bytes) == (True, "16.0 MiB", 16 << 20)


def test_failed_backups_are_counted():
    items = _catalogue(LocalFacts(records=(_record(1, status=Status.FAILED), _record(2))))
    item = items["failed backups"]
    assert (item.ok, item.hint, item.critical) == (False, "there are 1 failed backups", False)


def test_a_backup_whose_process_died_is_told_unless_one_is_running():
    records = (BackupRecord(BackupId("20261121T000001"), status=Status.STARTED),)
    item = _catalogue(LocalFacts(records=records))["failed backups"]
    assert not item.ok
    assert "the process that took 20261121T000001 has died" in item.hint
    assert _catalogue(LocalFacts(records=records, is_backup_running=True))["failed backups"].ok


def test_what_is_wrong_with_records_files_and_hooks_is_told_and_nothing_when_all_is_well():
    assert not {"backup records", "hook scripts"} & _catalogue(LocalFacts(records=(_record(1),))).keys()
    unreadable = BackupRecord(BackupId("20261101T000000"), damage="backup 20261101T000000: line 1 has no '='")
    lost = tuple(BackupId(f"2026110{day}T000000") for day in range(2, 6))
    items = _catalogue(
        LocalFacts(records=(unreadable,), lost=lost, hook_problems=("pre_backup_script: /x is not there",))
    )
    records, hooks = items["backup records"], items["hook scripts"]
    assert (records.ok, records.critical, hooks.ok, hooks.critical) == (False, False, False, False)
    assert records.hint == (
        "backup 20261101T000000: line 1 has no '='; the files of backup 20261102T000000 are not there; "
        "the files of backup 20261103T000000 are not there; and 2 more"
    )
    assert hooks.hint == "pre_backup_script: /x is not there"


def test_a_policy_below_the_minimum_redundancy_is_told():
    policies = ("REDUNDANCY 2", "REDUNDANCY 3", "REDUNDANCY 1; KEEP 2 DAILY", "RECOVERY WINDOW OF 1 DAYS")
    found = [_catalogue(LocalFacts(), retention_policy=policy, minimum_redundancy=3) for policy in policies]
    hints = [items["retention policy settings"].hint for items in found]
    assert hints == ["raised to minimum_redundancy = 3", "", "raised to minimum_redundancy = 3", ""]


def test_a_backup_from_the_future_says_that_a_clock_is_wrong():
    last = BackupRecord(BackupId("20261121T000001"), status=Status.DONE, end_time=NOW + timedelta(hours=1))
    item = _catalogue(LocalFacts(records=(last,)))["clock"]
    assert not item.ok
    assert "20261121T000001 ended 1 hour from now" in item.hint
    near = replace(last, end_time=NOW + timedelta(minutes=1))
    assert "clock" not in _catalogue(LocalFacts(records=(near,)))


def test_only_whole_backups_that_can_be_restored_count_as_redundancy():
    records = (_record(1), _record(2, parent_backup_id=BackupId("x")), _record(3, status=Status.WAITING_FOR_WALS))
    item = _catalogue(LocalFacts(records=records), minimum_redundancy=2)["minimum redundancy requirements"]
    assert (item.ok, item.hint) == (False, "have 1 non-incremental backups, expected at least 2")


def test_custom_compression_needs_its_filters():
    assert not _catalogue(LocalFacts(), compression="custom")["compression settings"].ok


def test_encryption_is_well_unless_something_is_against_it():
    assert _catalogue(LocalFacts(), encryption="gpg")["encryption"].ok
    found = _catalogue(LocalFacts(encryption_problem="no key"), encryption="gpg")["encryption"]
    assert (found.ok, found.critical, found.hint) == (False, True, "no key")


@pytest.mark.parametrize(
    ("errors", "bad_value", "critical"), [(("no conninfo",), False, True), ((), True, False), (("x",), True, True)]
)
def test_what_is_wrong_in_the_configuration_fails_and_forbids_backups_if_it_disables(errors, bad_value, critical):
    config = _config(errors=errors, problems=(SimpleNamespace(bad_value=bad_value, text="x"),))
    assert list(judge_configuration(config)) == [CheckItem("configuration", ok=False, critical=critical)]


def test_a_remark_that_is_no_bad_value_is_no_failure():
    assert not list(judge_configuration(_config(problems=(SimpleNamespace(bad_value=False, text="x"),))))


def test_files_set_aside_are_counted_by_kind():
    item = judge_archiver_errors(LocalFacts(errors={"unknown": 1, "duplicates": 2}))
    assert (item.ok, item.hint, item.critical) == (False, "duplicates: 2, unknown: 1", False)
    assert judge_archiver_errors(LocalFacts()).ok


@pytest.mark.parametrize(
    ("tool", "compatible", "verdicts"),
    [
        pytest.param(ToolProbe(180000, "/bin/x"), True, [True, True], id="fine"),
        pytest.param(ToolProbe(130000, "/bin/x"), False, [True, False], id="too old"),
        pytest.param(ToolProbe(error="not found"), True, [False, False], id="missing"),
    ],
)
def test_a_program_must_be_there_and_not_older_than_the_server(tool, compatible, verdicts):
    items = list(judge_tool("pg_x", tool, server_version_text="18.4", compatible=compatible))
    assert [item.name for item in items] == ["pg_x", "pg_x compatible"]
    assert [item.ok for item in items] == verdicts


def test_a_reason_that_checks_have_in_common_is_told_once():
    failed = [
        CheckItem("PostgreSQL", ok=False, hint="no answer"),
        CheckItem("wal_level", ok=False),
        CheckItem("PostgreSQL streaming", ok=False, hint="no answer"),
        CheckItem("directories", ok=False, hint="/x: no space left"),
    ]

    assert (
        name_failures(failed)
        == "PostgreSQL, PostgreSQL streaming: no answer; wal_level; directories: /x: no space left"
    )
