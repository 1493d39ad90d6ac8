"""cron on real servers: what it starts, finishes and stops."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.support.processes import start, wait_until


def _streams(cluster):
    return cluster.value("select count(*) from pg_stat_replication where state = 'streaming'")


@pytest.mark.pg
def test_cron_keeps_receive_wal_running_and_archives_what_it_received(cluster, home):
    server = home.streaming(cluster)
    first = home.cron()
    assert "Starting streaming archiver for server main" in first.stdout
    wait_until(lambda: _streams(cluster) == 1, "the receiver streams")
    closed = cluster.switch_wal()
    wait_until(lambda: home.cron() and list(server.wals.rglob(closed)), "the segment is archived")
    assert "Starting streaming archiver" not in home.cron().stdout


def test_an_idle_tick_starts_nothing(cluster, home):
    home.streaming(cluster)
    home.cron()
    wait_until(lambda: _streams(cluster) == 1, "the receiver connects")
    wait_until(lambda: home.cron().stdout == "", "nothing is left to be started")


def test_cron_starts_the_receiver_again_after_it_was_killed(cluster, home):
    home.streaming(cluster)
    home.cron()
    first = wait_until(home.receivers, "the receiver starts")
    for pid in first:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not home.receivers(), "the receiver is gone")
    home.cron()
    assert wait_until(home.receivers, "another receiver starts").keys().isdisjoint(first)


def test_cron_stops_a_receiver_that_is_no_longer_wanted_and_no_other(cluster, home):
    plain, prefixed = home.streaming(cluster, "a"), home.streaming(cluster, "a-b")
    assert prefixed.name == "a-b"
    home.cron()
    wait_until(lambda: _streams(cluster) == 2, "both receivers connect")
    plain.set(streaming_archiver="off", archiver="on", slot_name=None)
    assert "Stopping receive-wal of server a " in home.cron().stdout
    wait_until(lambda: _streams(cluster) == 1, "one receiver ends")
    assert "receive-wal" in home.run("list-processes", "a-b").stdout
    assert home.run("list-processes", "a").stdout == "No active subprocesses found for server a.\n"


def test_processes_are_listed_and_terminated(cluster, home):
    server = home.streaming(cluster)
    home.cron()
    wait_until(home.receivers, "the receiver starts")
    [process] = wait_until(lambda: server.json("list-processes")["main"], "it has its lock")
    assert process["name"] == "receive-wal"
    assert server.run("terminate-process", "receive-wal").stdout == f"Stopped process receive-wal({process['pid']})\n"
    wait_until(lambda: not home.receivers(), "the receiver is gone")
    again = server.run("terminate-process", "receive-wal", check=False)
    assert (again.status, again.stderr) == (1, "ERROR: no process is doing receive-wal for server main\n")
    assert server.run("terminate-process", "sweeping", check=False).status == 1


def test_the_trouble_of_one_server_does_not_stop_the_others(cluster, home):
    troubled, fine = home.streaming(cluster, "a"), home.streaming(cluster, "b")
    troubled.run("status")
    (troubled.directory / "meta").mkdir(parents=True, mode=0o000)
    result = home.run("cron", check=False)
    assert result.status == 1
    assert "ERROR: server a:" in result.stderr
    assert f"Starting streaming archiver for server {fine.name}" in result.stdout


def test_an_inactive_and_a_disabled_server_are_skipped(home):
    home.server("idle", active="false", archiver="on", backup_method="postgres", conninfo="dbname=x")
    home.server("broken", archiver="on", backup_method="postgres")
    assert home.run("cron").stdout.splitlines() == [
        "Skipping temporarily disabled server 'broken'",
        "Skipping inactive server 'idle'",
    ]


def test_a_tick_beside_another_one_leaves_its_server_alone(cluster, home):
    server = home.streaming(cluster)
    lock = home.path / ".main-cron.lock"
    server.run("status")
    with start(["flock", "--no-fork", lock, "sleep", "60"], env=home.environment()) as holder:
        wait_until(lambda: "Another cron" in home.run("cron").stdout, "the lock is held")
        holder.terminate()


def test_many_idle_servers_cost_little_and_no_driver(home):
    for number in range(50):
        home.server(f"server{number:02}", conninfo="dbname=nowhere", archiver="on", backup_method="postgres")
    home.run("cron")
    started = time.monotonic()
    result = home.run("cron")
    assert result.stdout == ""
    assert time.monotonic() - started < 5
