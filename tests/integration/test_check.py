"""check, status, show-servers and diagnose on a real PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest


def _verdicts(output):
    """Label -> OK or FAILED, in order."""
    lines = [line.strip() for line in output.splitlines() if ": OK" in line or ": FAILED" in line]
    return {line.rpartition(": OK" if ": OK" in line else ": FAILED")[0]: ": OK" in line for line in lines}


def _with_password(home, cluster):
    server = home.streaming(cluster)
    server.set(conninfo=cluster.conninfo() + " password=hunter2")
    return server


@pytest.mark.pg
def test_check_of_a_streaming_server_says_what_is_wrong_and_then_that_all_is_well(cluster, home):
    server = home.streaming(cluster)
    first = server.run("check", check=False)
    verdicts = _verdicts(first.stdout)
    assert first.status == 1
    assert verdicts["PostgreSQL"], first.stdout
    assert verdicts["PostgreSQL streaming"]
    assert not verdicts["WAL archive"]
    assert not verdicts["receive-wal running"]
    home.cron()
    cluster.switch_wal()
    deadline = time.monotonic() + 30
    while (last := server.run("check", check=False)).status and time.monotonic() < deadline:
        home.cron()
    assert last.status == 0, last
    assert list(_verdicts(last.stdout)) == [
        "PostgreSQL",
        "superuser or standard user with backup privileges",
        "PostgreSQL streaming",
        "wal_level",
        "replication slot",
        "directories",
        "retention policy settings",
        "backup maximum age",
        "backup minimum size",
        "wal maximum age",
        "wal size",
        "WAL continuity",
        "compression settings",
        "failed backups",
        "minimum redundancy requirements",
        "pg_basebackup",
        "pg_basebackup compatible",
        "pg_basebackup supports tablespaces mapping",
        "systemid coherence",
        "pg_receivexlog",
        "pg_receivexlog compatible",
        "receive-wal running",
        "archiver errors",
    ]


def test_check_waits_for_nothing_that_cannot_arrive(cluster, home):
    server = home.streaming(cluster)
    started = time.monotonic()
    result = server.run("check", check=False)
    assert time.monotonic() - started < 5
    assert "WAL archive: FAILED (no WAL file is archived yet: receive-wal is not running)" in result.stdout


def test_check_brings_the_first_wal_file_into_an_empty_archive(cluster, home):
    server = home.archiving(cluster)
    result = server.run("check", check=False)
    assert "WAL archive" not in result.stdout, result
    assert result.status == 0
    assert list(server.wals.rglob("0000000100000000*"))


def test_check_of_a_stopped_postgresql_fails_by_name(cluster, home):
    server = home.streaming(cluster)
    cluster.stop()
    result = server.run("check", check=False)
    assert result.status == 1
    assert "PostgreSQL: FAILED (cannot connect" in result.stdout
    assert "Traceback" not in result.text


def test_check_keeps_its_time_limit_when_postgresql_is_frozen(cluster, home):
    server = home.streaming(cluster)
    os.kill(cluster.pid(), signal.SIGSTOP)
    try:
        started = time.monotonic()
        result = server.run("check", "--check-timeout", "3", check=False)
        elapsed_s = time.monotonic() - started
    finally:
        os.kill(cluster.pid(), signal.SIGCONT)
    assert result.status == 1
    assert elapsed_s < 6
    assert "PostgreSQL: FAILED" in result.stdout


def test_check_in_json_has_a_status_and_a_hint_for_every_item(cluster, home):
    server = home.streaming(cluster)
    document = home.run("-f", "json", "check", server.name, check=False).json()
    assert document["main"]["postgresql"] == {"status": "OK", "hint": ""}
    assert document["main"]["receive_wal_running"]["status"] == "FAILED"


def test_nagios_line_names_the_failures_and_ends_with_two(cluster, home):
    server = home.streaming(cluster)
    result = server.run("check", "--nagios", check=False)
    assert result.status == 2
    first = result.stdout.splitlines()[0]
    assert first.startswith("BARMAN CRITICAL - server main has issues * main FAILED: WAL archive")
    assert first.endswith("|main=0B main_wals=0B")


def test_nagios_reports_an_unknown_server_as_a_global_error(home):
    result = home.run("check", "--nagios", "nobody", check=False)
    assert (result.status, result.stderr) == (2, "")
    assert result.stdout == "BARMAN CRITICAL - Global configuration errors\nUnknown server 'nobody'\n"


def test_an_unwritable_directory_fails_the_check(cluster, home):
    server = home.streaming(cluster)
    server.run("check", check=False)
    server.base.chmod(0o555)
    assert f"directories: FAILED ({server.base}: not writable)" in server.run("check", check=False).stdout


def test_a_home_that_cannot_be_written_fails_the_check_and_not_the_command(cluster, home):
    server = home.streaming(cluster)
    home.path.chmod(0o555)
    result = server.run("check", check=False)
    home.path.chmod(0o755)
    assert result.status == 1
    assert f"directories: FAILED ({server.directory}: Permission denied" in result.stdout
    assert "receive-wal running: FAILED" in result.stdout


def test_a_value_that_does_not_parse_fails_the_check(cluster, home):
    server = home.streaming(cluster, minimum_redundancy="tow")
    result = server.run("check", check=False)
    assert "configuration: FAILED" in result.stdout
    assert "minimum_redundancy" in result.stdout


@pytest.mark.pg
def test_status_shows_the_server_and_its_backups(cluster, home):
    server = home.streaming(cluster)
    server.set(description="the main one", retention_policy="REDUNDANCY 2")
    lines = server.run("status").stdout.splitlines()
    assert lines[0] == "Server main:"
    assert "\tDescription: the main one" in lines
    assert any(line.startswith(f"\tPostgreSQL version: {cluster.major}") for line in lines)
    assert "\tCluster state: in production" in lines
    assert f"\tCurrent WAL segment: {cluster.current_wal()}" in lines
    assert "\tRetention policies: enforced (mode: auto, retention: REDUNDANCY 2, WAL retention: MAIN)" in lines
    assert "\tNo. of available backups: 0" in lines


def test_status_ends_well_without_postgresql(cluster, home):
    server = home.streaming(cluster)
    cluster.stop()
    result = server.run("status")
    assert "PostgreSQL version: FAILED trying to get PostgreSQL version" in result.stdout


def test_show_servers_prints_options_and_remote_status_in_order_without_passwords(cluster, home):
    server = _with_password(home, cluster)
    lines = server.run("show-servers").stdout.splitlines()
    assert lines[0] == "Server main:"
    keys = [line.strip().partition(":")[0] for line in lines[1:]]
    assert keys == sorted(keys)
    assert {"backup_method", "passive_node", "current_lsn", "streaming_systemid", "pg_basebackup_path"} <= set(keys)
    assert "hunter2" not in "".join(lines)
    assert "hunter2" not in home.run("-f", "json", "show-servers", "main").stdout


def test_diagnose_tells_everything_as_one_document(cluster, home):
    _with_password(home, cluster)
    text = home.run("diagnose", "--show-config-source").stdout
    document = json.loads(text)
    assert "hunter2" not in text
    assert document["global"]["system_info"]["barman_ver"]
    server = document["servers"]["main"]
    assert server["status"]["postgres_systemid"] == cluster.system_identifier()
    assert server["config"]["backup_method"] == {"value": "postgres", "source": str(home.conf_d / "main.conf")}
    assert server["backups"] == {}


def test_while_postgres_is_down_a_backup_is_refused_with_the_reason_told_once(home):
    server = home.server(conninfo="host=/nowhere user=u", archiver="on", backup_method="postgres")
    result = server.run("backup", check=False)
    assert result.status == 1
    assert result.stderr.count("ERROR: ") == 1
    assert result.stderr.count("/nowhere") == 1, result
    assert (
        "failed checks: WAL archive: no WAL file is archived yet; PostgreSQL, PostgreSQL streaming: " in result.stderr
    )


def test_a_home_that_cannot_be_entered_is_a_failed_line_of_check_and_one_error_elsewhere(home):
    server = home.server(conninfo="host=/nowhere user=u", archiver="on", backup_method="postgres")
    home.path.chmod(0)
    try:
        checked = server.run("check", check=False)
        others = [server.run(command, check=False) for command in ("archive-wal", "list-backups", "backup")]
        others.append(home.run("cron", check=False))
    finally:
        home.path.chmod(0o755)
    assert checked.status == 1
    assert "directories: FAILED" in checked.stdout
    assert "Permission denied" in checked.stdout
    for result in others:
        assert result.status == 1
        assert result.stderr.count("ERROR: ") == 1, result
        assert "Permission denied" in result.stderr
        assert "[Errno" not in result.text
