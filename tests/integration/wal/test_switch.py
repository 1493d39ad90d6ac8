from __future__ import annotations

import os
import signal

import pytest

from tests.support.processes import children_of, wait_until


@pytest.mark.pg
def test_a_switch_closes_the_current_segment_once(home, cluster):
    server = home.streaming(cluster)
    cluster.load(1)
    current = cluster.current_wal()
    assert server.run("switch-wal").stdout == f"The WAL file {current} has been closed on server 'main'\n"
    assert server.run("switch-wal").stdout == "No switch required for server 'main'\n"
    assert server.run("switch-xlog").stdout == "No switch required for server 'main'\n"


@pytest.mark.pg(">= 15")
def test_with_force_there_is_always_something_to_switch(home, cluster):
    server = home.streaming(cluster)
    server.run("switch-wal")
    for _ in range(2):
        current = server.run("switch-wal", "--force").stdout
        assert current.startswith("The WAL file 0000000100000000")


def test_force_needs_the_privilege_for_a_checkpoint(home, cluster):
    cluster.sql("revoke pg_checkpoint from barman")
    result = home.streaming(cluster).run("switch-wal", "--force", check=False)
    assert result.status == 1
    expected = "ERROR: server main: the role of the connection may not request a checkpoint\nHINT: "
    assert result.stderr.startswith(expected)


def test_it_can_wait_until_the_segment_is_in_the_archive(home, cluster):
    server = home.streaming(cluster)
    server.start_streaming(cluster)
    cluster.load(1)
    current = cluster.current_wal()
    lines = server.run("switch-wal", "--archive", "--archive-timeout", 60).stdout.splitlines()
    assert lines[:2] == [
        f"The WAL file {current} has been closed on server 'main'",
        f"Waiting for the WAL file {current} from server 'main' (max: 60 seconds)",
    ]
    assert current in server.archived_wals()


def test_a_segment_that_does_not_arrive_in_time_is_an_error(home, cluster):
    server = home.streaming(cluster)
    cluster.load(1)
    current = cluster.current_wal()
    result = server.run("switch-wal", "--archive", "--archive-timeout", 1, check=False)
    assert result.status == 1
    assert f"ERROR: server main: The WAL file {current} has not been received in 1 seconds" in result.stderr


def test_with_nothing_closed_it_waits_for_any_segment_and_forgives(home, cluster):
    server = home.streaming(cluster)
    server.run("switch-wal")
    result = server.run("switch-wal", "--archive", "--archive-timeout", 1)
    assert result.stdout.splitlines() == [
        "No switch required for server 'main'",
        "Waiting for a WAL file from server 'main' (max: 1 seconds)",
        "A WAL file has not been received in 1 seconds",
    ]
    assert result.stderr == ""


def test_a_standby_is_left_alone_unless_its_primary_is_known(home, clusters, cluster):
    standby = clusters.standby_of(cluster)
    server = home.streaming(standby)
    result = server.run("switch-wal")
    assert "No switch performed" in result.stdout
    server.set(primary_conninfo=cluster.conninfo())
    cluster.load(1)
    current = cluster.current_wal()
    assert server.run("switch-wal").stdout == f"The WAL file {current} has been closed on server 'main'\n"
    assert cluster.current_wal() != current


def test_the_primary_of_another_cluster_is_not_switched(home, clusters, cluster, installation):
    standby = clusters.standby_of(cluster)
    other = clusters.make(installation, "other", fresh=True)
    current = other.current_wal()
    result = home.streaming(standby, primary_conninfo=other.conninfo()).run("switch-wal", check=False)
    assert result.status == 1
    assert "primary_conninfo of server main leads to another cluster" in result.stderr
    assert other.current_wal() == current


def test_a_passive_server_cannot_be_switched(home):
    server = home.server("passive", primary_ssh_command="ssh nowhere")
    result = server.run("switch-wal", check=False)
    assert result.status == 1
    assert result.stderr.startswith("ERROR: server passive is passive")


def test_one_server_that_is_down_does_not_keep_the_others_from_switching(home, clusters, installation):
    down = clusters.make(installation, "down", start=False)
    up = clusters.make(installation, "up")
    home.streaming(down, "a")
    home.streaming(up, "b")
    up.load(1)
    result = home.run("switch-wal", "all", check=False)
    assert result.status == 1
    assert "ERROR: server a: cannot connect to PostgreSQL" in result.stderr
    assert "has been closed on server 'b'" in result.stdout


def test_programs_get_the_messages_as_json(home, cluster):
    server = home.streaming(cluster)
    cluster.load(1)
    current = cluster.current_wal()
    assert server.json("switch-wal") == {"_INFO": [f"The WAL file {current} has been closed on server 'main'"]}


def test_a_frozen_server_ends_in_an_error_within_the_time_limits(home, cluster):
    server = home.streaming(cluster, conninfo=f"{cluster.conninfo()} connect_timeout=2")
    pids = [cluster.pid(), *children_of(cluster.pid())]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        result = server.run("switch-wal", check=False, timeout_s=30)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert result.status == 1
    assert "no answer within 2 seconds" in result.stderr
    wait_until(cluster.is_running, "the server goes on")
