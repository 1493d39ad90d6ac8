"""Receiving WAL over a failover to a standby, with a model that leads to it."""

from __future__ import annotations

import json

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


def end_of_receiving(home):
    patiently(lambda: not home.receivers(), "the receiver of the old primary has ended")


def patiently(condition, what):
    wait_until(condition, what, timeout_s=120)


def caught_up(primary, standby):
    lsn = primary.value("select pg_current_wal_lsn()::text")
    patiently(lambda: standby.value(f"select pg_last_wal_replay_lsn() >= '{lsn}'"), "the standby has caught up")


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


@pytest.mark.pg(each=False)
def test_cron_follows_a_failover_by_itself_when_the_connection_names_both_hosts(cluster, clusters, home):
    standby = clusters.standby_of(cluster)
    both = (cluster, standby)
    place = "host={} port={} target_session_attrs=read-write".format(
        ",".join(str(one.directory) for one in both), ",".join(str(one.port) for one in both)
    )
    server = home.streaming(
        cluster,
        conninfo=f"{place} user=barman dbname=postgres",
        streaming_conninfo=f"{place} user=streaming_barman",
    )
    server.start_streaming(cluster)
    before = server.close_and_archive(cluster)
    caught_up(cluster, standby)
    cluster.stop()
    standby.promote()
    end_of_receiving(home)

    home.cron()

    patiently(lambda: standby.value(STREAMING) == 1, "WAL is received from the new primary")
    # Between the end of the old timeline and the begin of the new one it is free for a moment.
    active = "select active from pg_replication_slots where slot_name = 'barman_main'"
    patiently(lambda: standby.value(active), "the slot made on the new primary is used")
    closed = standby.switch_wal()
    server.archive_up_to(closed)
    archived = server.archived_wals()
    assert "00000002.history" in archived
    first, last = int(before[8:], 16), int(closed[8:], 16)
    for number in range(first, last + 1):
        assert {f"00000001{number:016X}", f"00000002{number:016X}"} & set(archived)
    assert "\tWAL continuity: OK\n" in server.run("check", check=False).stdout
    home.run("receive-wal", "--stop", "main")


@pytest.mark.pg(each=False)
def test_a_model_may_have_wal_come_from_the_standby_and_is_taken_back(cluster, home, site):
    server, standby = site
    text = f"wal_conninfo = {standby.conninfo()}\nwal_streaming_conninfo = {standby.streaming_conninfo()}\n"
    (home.conf_d / "wal.conf").write_text(f"[main:wal]\nmodel = true\ncluster = main\n{text}")

    home.run("config-switch", "main", "main:wal")
    patiently(lambda: (standby.value(STREAMING), cluster.value(STREAMING)) == (1, 0), "the standby sends the WAL")
    server.archive_up_to(cluster.switch_wal())
    checked = server.run("check", check=False).stdout
    assert "\treplication slot (WAL streaming): OK" in checked
    assert "\tsystemid coherence: OK" in checked

    home.run("config-switch", "main", "--reset")
    patiently(lambda: (standby.value(STREAMING), cluster.value(STREAMING)) == (0, 1), "the primary sends the WAL")
    server.archive_up_to(cluster.switch_wal())
    assert "\tWAL continuity: OK\n" in server.run("check", check=False).stdout


@pytest.mark.pg(each=False)
def test_a_changed_model_moves_the_receivers_of_the_servers_it_is_applied_to(cluster, home, site):
    _, standby = site
    (home.conf_d / "wal.conf").write_text("[main:wal]\nmodel = true\ncluster = main\ndescription = x\n")
    home.run("config-switch", "main", "main:wal")
    patiently(lambda: cluster.value(STREAMING) == 1, "WAL is received from the primary")
    change = {
        "scope": "model",
        "model_name": "main:wal",
        "wal_conninfo": standby.conninfo(),
        "wal_streaming_conninfo": standby.streaming_conninfo(),
    }

    home.run("config-update", json.dumps([change]))

    patiently(lambda: (standby.value(STREAMING), cluster.value(STREAMING)) == (1, 0), "the standby sends the WAL")


@pytest.mark.pg(each=False)
def test_a_slot_that_a_switchover_left_behind_is_told_where_it_may_not_be_created(cluster, home, site):
    server, standby = site
    server.set(create_slot="manual")
    server.close_and_archive(cluster)
    caught_up(cluster, standby)
    cluster.stop()
    standby.promote()
    end_of_receiving(home)

    home.run("config-switch", "main", "main:failover")

    told = "replication slot 'barman_main' does not exist on server main"
    patiently(lambda: told in home.log_text(), "the missing slot is told")
    assert "replication slot: FAILED" in server.run("check", check=False).stdout
    server.run("receive-wal", "--create-slot")
    home.cron()
    patiently(lambda: standby.value(STREAMING) == 1, "WAL is received from the new primary")
