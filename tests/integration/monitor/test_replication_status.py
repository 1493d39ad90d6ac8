from __future__ import annotations

import re

import pytest

from tests.support.processes import wait_until

STREAMING = "select count(*) from pg_stat_replication where state = 'streaming' and application_name ~ 'receive_wal'"


@pytest.fixture
def server(home, cluster):
    """A server whose WAL is being streamed."""
    made = home.streaming(cluster)
    process = home.start("receive-wal", "main")
    wait_until(lambda: cluster.value(STREAMING) == 1, "WAL is being streamed")
    yield made
    made.run("receive-wal", "--stop")
    process.communicate(timeout=30)


FULL = r"""Status of streaming clients for server 'main':
  Current LSN on master: \S+
  Number of streaming clients: 1

  1. Async WAL streamer
     Application name: barman_receive_wal
     Sync stage      : 3/3 Remote write
     Communication   : Unix domain socket
     User name       : streaming_barman
     Current state   : streaming \(async\)
     Replication slot: barman_main
     WAL sender PID  : \d+
     Started at      : \d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?\+00:00
     Sent LSN   : \S+ \(diff: 0 B\)
     Write LSN  : \S+ \(diff: 0 B\)
     Flush LSN  : \S+ \(diff: -?[\d.]+ \w+\)
"""


@pytest.mark.pg
def test_a_wal_streamer_is_shown_with_its_positions(server, cluster):
    caught_up = "select sent_lsn = pg_current_wal_lsn() and write_lsn = sent_lsn from pg_stat_replication"
    wait_until(lambda: cluster.value(caught_up), "the streamer has caught up")
    assert re.fullmatch(FULL, server.run("replication-status").stdout)
    line = r"  1\. W\) streaming_barman@socket S:\S+ W:\S+ P:0 AN:barman_receive_wal\n"
    assert re.fullmatch(
        rf"Streaming clients for master 'main' \(LSN @ \S+\):\n{line}",
        server.run("replication-status", "--minimal").stdout,
    )


def test_programs_get_the_same_as_json(server):
    document = server.json("replication-status")["main"]
    assert set(document) == {"server_lsn", "streaming_clients"}
    [client] = document["streaming_clients"]
    assert client["name"] == "Async WAL streamer"
    assert client["replication_slot"] == "barman_main"
    assert client["sent_lsn_diff_bytes"] <= 0
    assert "ip_address" not in client
    assert "replay_lsn" not in client


def test_the_kinds_of_clients_are_told_apart(server, clusters, cluster):
    standby = clusters.standby_of(cluster)
    wait_until(lambda: cluster.value("select count(*) from pg_stat_replication where state = 'streaming'") == 2, "both")
    assert len(server.json("replication-status")["main"]["streaming_clients"]) == 2
    [found] = server.json("replication-status", "--target", "hot-standby")["main"]["hot_standby_servers"]
    assert found["name"] == "Async standby"
    assert "replay_lsn" in found
    [found] = server.json("replication-status", "--minimal", "--target", "wal-streamer")["main"]["wal_streamers"]
    assert found["client_addr"] == "socket"
    server.set(wal_conninfo=standby.conninfo(), wal_streaming_conninfo=standby.streaming_conninfo())
    assert server.json("replication-status", "--source", "wal-host")["main"]["streaming_clients"] == []
    server.set(wal_conninfo=None, wal_streaming_conninfo=None)


def test_that_nobody_is_attached_is_said(home, cluster):
    server = home.streaming(cluster)
    shown = server.run("replication-status", "--target", "wal-streamer").stdout
    assert shown.splitlines()[0] == "Status of WAL streamers for server 'main':"
    assert shown.splitlines()[-1] == "  No WAL streamers attached"
    shown = server.run("replication-status", "--target", "wal-streamer", "--minimal").stdout
    assert shown.startswith("Wal streamers for master 'main' (LSN @ ")
    document = server.json("replication-status")["main"]
    assert document["standby_info"] == "No streaming clients attached"


def test_a_server_that_is_down_is_an_error(home, cluster):
    server = home.streaming(cluster)
    cluster.stop()
    result = server.run("replication-status", check=False)
    assert result.status == 1
    assert result.stderr.startswith("ERROR: server main: cannot connect to PostgreSQL")


@pytest.mark.usefixtures("server")
def test_a_role_that_may_not_see_the_clients_is_not_told_there_are_none(home, cluster):
    cluster.sql("create role weak login")
    blind = home.streaming(cluster, "blind", conninfo=cluster.conninfo(user="weak"))
    result = blind.run("replication-status", check=False)
    assert (result.status, result.stdout) == (1, "")
    assert "may not see replication clients" in result.stderr
