"""Backups taken from a standby."""

from __future__ import annotations

import pytest

from barman.postgres.lsn import parse_lsn
from tests.support.processes import wait_until

pytestmark = pytest.mark.pg


@pytest.fixture
def pair(clusters, installation):
    """A primary and its standby, in step."""
    primary = clusters.make(installation, "primary")
    primary.load(200)
    standby = clusters.standby_of(primary)
    _catch_up(primary, standby)
    return primary, standby


def _catch_up(primary, standby):
    position = primary.lsn()
    wait_until(lambda: standby.value(f"select pg_last_wal_replay_lsn() >= '{position}'"), "the standby has caught up")


def _server(home, primary, standby, **options):
    """The standby's server; WAL comes from the primary, which does not wait for traffic."""
    server = home.streaming(
        standby,
        primary_conninfo=primary.conninfo(),
        wal_streaming_conninfo=primary.streaming_conninfo(),
        wal_conninfo=primary.conninfo(),
        **options,
    )
    server.start_streaming(primary)
    server.close_and_archive(primary)
    # A backup of a standby begins at its last restartpoint; one before we received WAL would be of no use.
    primary.sql("checkpoint")
    _catch_up(primary, standby)
    standby.sql("checkpoint")
    return server


def test_an_idle_primary_does_not_keep_it_waiting(home, pair, record, verify):
    primary, standby = pair
    server = _server(home, primary, standby)
    result = server.run("backup", "--wait", "--wait-timeout", "60")
    [backup_id] = server.backup_ids()
    taken = record(server, backup_id)
    assert taken.status.value == "DONE", result
    assert "BACKUP FROM: standby" in taken.backup_label
    verify(standby, server, backup_id)
    assert result.seconds < 30


def test_ending_at_a_segment_boundary_it_needs_no_segment_that_is_not_written(home, pair, record):
    primary, standby = pair
    server = _server(home, primary, standby)
    # The last record before the switch is a checkpoint: what a standby backup then ends at is the boundary.
    primary.sql("checkpoint; select pg_switch_wal()")
    _catch_up(primary, standby)
    standby.sql("checkpoint")
    server.run("backup", "--wait", "--wait-timeout", "60")
    [backup_id] = server.backup_ids()
    taken = record(server, backup_id)
    assert taken.status.value == "DONE"
    if parse_lsn(taken.end_xlog) % taken.xlog_segment_size == 0:
        assert taken.end_wal < primary.current_wal()


def test_it_restores_to_the_primary_it_was(home, pair, clusters, installation, scratch):
    primary, standby = pair
    server = _server(home, primary, standby)
    with primary.loading():
        backup_id = server.backup("--wait", "--wait-timeout", "60")
    primary.load(100)
    server.close_and_archive(primary)
    expected = primary.checksums()
    restored = clusters.recover(installation, server.restore(backup_id, scratch / "restored-data" / "data"))
    assert restored.checksums() == expected


@pytest.mark.pg(each=False)
def test_primary_conninfo_of_a_primary_is_ignored_with_a_warning(stream, cluster):
    server = stream(cluster)
    server.set(primary_conninfo=cluster.conninfo())
    result = server.run("backup", check=False)
    assert "primary_conninfo is ignored" in result.stderr
    assert len(server.backup_ids()) == 1


@pytest.mark.pg(each=False)
@pytest.mark.parametrize("method", ["postgres", "local-rsync"])
def test_a_promotion_it_follows_while_it_is_copied_is_in_what_it_needs(
    method, home, pair, clusters, installation, record, scratch
):
    primary, standby = pair
    follower = clusters.standby_of(standby, "follower")
    server = _server(home, primary, follower, backup_method=method)
    process = server.home.start("backup", "main", "--bwlimit", "700")
    wait_until(lambda: "Starting backup copy" in server.home.log_text(), "files are being copied")
    primary.stop()
    standby.promote()
    server.set(
        primary_conninfo=standby.conninfo(),
        wal_streaming_conninfo=standby.streaming_conninfo(),
        wal_conninfo=standby.conninfo(),
    )
    server.run("receive-wal", "--create-slot", "--if-not-exists", check=False)
    standby.load(100)
    followed = "select received_tli = 2 from pg_stat_wal_receiver"
    wait_until(lambda: follower.sql(followed) == [(True,)], "the follower is on the new timeline")
    _catch_up(standby, follower)
    standby.sql("checkpoint")
    _catch_up(standby, follower)
    follower.sql("checkpoint")
    assert process.poll() is None
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    [backup_id] = server.backup_ids()
    server.start_streaming(standby)
    server.close_and_archive(standby)
    wait_until(lambda: _done(server, record, backup_id), "all its WAL is archived", timeout_s=60, step_s=1)
    taken = record(server, backup_id)
    assert taken.begin_wal[:8] == "00000001"
    expected = standby.checksums()
    restored = clusters.recover(installation, server.restore(backup_id, scratch / "restored-data" / "data"))
    assert restored.checksums() == expected


def _done(server, record, backup_id):
    server.home.cron()
    taken = record(server, backup_id)
    assert taken.status.value in ("WAITING_FOR_WALS", "DONE"), taken
    return taken.status.value == "DONE"
