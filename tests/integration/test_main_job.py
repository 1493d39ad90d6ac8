"""The job barman is for: back up, go on working, lose everything, have it all back."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.pg

WAYS = pytest.mark.parametrize("way", ["streaming", "archive_command"])


@WAYS
def test_everything_archived_is_back_after_a_loss(way, home, cluster, clusters, scratch):
    cluster.load(2000)
    server = _server(way, home, cluster)
    with cluster.loading():
        backup = server.backup("--wait", "--wait-timeout", "60")
    cluster.load(2000)
    server.close_and_archive(cluster)
    expected = cluster.checksums()
    cluster.crash()

    restored = clusters.recover(cluster.installation, server.restore(backup, scratch / "restored-data" / "data"))

    assert restored.checksums() == expected
    restored.load(10)


@WAYS
def test_an_accident_is_undone_by_recovery_to_the_moment_before(way, home, cluster, clusters, scratch):
    cluster.load(500)
    server = _server(way, home, cluster)
    backup = server.backup()
    cluster.load(500)
    expected = cluster.checksums()
    before = str(cluster.value("select clock_timestamp()"))
    cluster.sql("delete from accounts where id % 2 = 0; drop table notes")
    server.close_and_archive(cluster)

    words = ("--target-time", before, "--target-action", "promote")
    restored = clusters.recover(cluster.installation, server.restore(backup, scratch / "past" / "data", *words))

    assert restored.checksums() == expected
    assert cluster.checksums() != expected


@WAYS
def test_tablespaces_move_and_wal_is_fetched_on_demand(way, home, cluster, clusters, scratch):
    cluster.tablespace("cold")
    cluster.sql("create table archive (id int, body text) tablespace cold")
    cluster.load(200)
    server = _server(way, home, cluster)
    backup = server.backup()
    cluster.sql("insert into archive select i, md5(i::text) from generate_series(1, 5000) i")
    server.close_and_archive(cluster)
    expected = cluster.checksums()

    words = ("--tablespace", f"cold:{scratch / 'moved' / 'cold'}", "--get-wal")
    data = server.restore(backup, scratch / "moved" / "data", *words)
    # restore_command names the program alone, as it does for an operator who has it on the PATH
    restored = clusters.recover(cluster.installation, data, environment=home.environment())

    assert restored.checksums() == expected
    assert restored.value("select pg_tablespace_location(oid) from pg_tablespace where spcname = 'cold'") == str(
        scratch / "moved" / "cold"
    )


@pytest.mark.pg(">= 17", own_tools=True)
def test_a_chain_of_incremental_backups_restores_like_a_full_one(home, cluster, clusters, scratch):
    cluster.load(2000)
    server = _server("streaming", home, cluster)
    server.backup()
    cluster.load(100)
    server.backup("--incremental", "latest")
    cluster.load(100)
    last = server.backup("--incremental", "latest")
    cluster.load(100)
    server.close_and_archive(cluster)
    expected = cluster.checksums()

    restored = clusters.recover(cluster.installation, server.restore(last, scratch / "combined" / "data"))

    assert restored.checksums() == expected


def _server(way, home, cluster):
    """A server whose WAL arrives in that way, and whose checks pass."""
    if way == "streaming":
        server = home.streaming(cluster)
        server.start_streaming(cluster)
    else:
        server = home.archiving(cluster)
        # barman makes the directories that archive_command delivers to
        home.cron()
    server.close_and_archive(cluster)
    server.run("check")
    return server
