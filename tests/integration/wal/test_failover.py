"""Receiving WAL over a failover to a standby, with a model that leads to it."""

from __future__ import annotations

import pytest

from tests.support.processes import wait_until

pytestmark = pytest.mark.pg

STREAMING = "select count(*) from pg_stat_replication where state = 'streaming' and application_name ~ 'receive_wal'"


@pytest.fixture
def site(cluster, clusters, home):
    """A server that streams from a primary, a model for its standby, and the standby."""
    standby = clusters.standby_of(cluster)
    server = home.streaming(cluster)
    server.set(cluster="main")
    model = {
        "cluster": "main",
        "model": "true",
        "conninfo": standby.conninfo(),
        "streaming_conninfo": standby.streaming_conninfo(),
    }
    text = "\n".join(f"{name} = {value}" for name, value in model.items())
    (home.conf_d / "model.conf").write_text(f"[main:failover]\n{text}\n")
    server.start_streaming(cluster)
    yield server, standby
    home.run("receive-wal", "--stop", "main", check=False)


def caught_up(primary, standby):
    lsn = primary.value("select pg_current_wal_lsn()::text")
    wait_until(lambda: standby.value(f"select pg_last_wal_replay_lsn() >= '{lsn}'"), "the standby has caught up")


def test_receiving_goes_on_at_the_fork_although_more_came_from_the_old_primary(cluster, home, site):
    server, standby = site
    server.close_and_archive(cluster)
    caught_up(cluster, standby)
    # What the standby never gets is received all the same: the two histories part.
    standby.stop()
    for _ in range(2):
        cluster.load(200)
        last = cluster.switch_wal()
    wait_until(
        lambda: home.run("archive-wal", "main") and last in server.archived_wals(), "the primary's WAL is archived"
    )
    cluster.load(10)
    cluster.stop("immediate")
    standby.start()
    standby.promote()
    standby.load(50)

    home.run("config-switch", "main", "main:failover")

    wait_until(lambda: standby.value(STREAMING) == 1, "WAL is received from the new primary")
    closed = standby.switch_wal()
    assert closed.startswith("00000002")
    server.archive_up_to(closed)
    archived = server.archived_wals()
    assert "00000002.history" in archived
    fork = next(name for name in archived if name.startswith("00000002") and len(name) == 24)
    assert all(f"00000002{number:016X}" in archived for number in range(int(fork[8:], 16), int(closed[8:], 16)))
    assert f"00000001{int(fork[8:], 16) - 1:016X}" in archived
    backup = server.backup("--wait", "--wait-timeout", "60")
    assert server.json("show-backup", backup)["main"]["status"] == "DONE"
