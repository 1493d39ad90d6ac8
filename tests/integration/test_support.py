"""The test bench itself: what the other integration tests take for granted."""

from __future__ import annotations

import pytest

from tests.support.processes import processes_of


@pytest.mark.pg
def test_a_cluster_starts_loads_and_survives_a_crash(cluster, installation):
    cluster.load(200)
    before = cluster.checksums()
    cluster.crash()
    cluster.start()
    assert cluster.checksums() == before
    assert len(before) == 2
    assert cluster.value("show server_version_num").startswith(str(installation.major))


def test_the_processes_of_a_cluster_are_known_and_gone_after_it(clusters, installation, scratch):
    clusters.make(installation)
    assert processes_of(scratch)
    clusters.close()
    assert not processes_of(scratch)


def test_fresh_clusters_have_their_own_system_identifier(clusters, installation):
    one = clusters.make(installation, "one", segment_size=1 << 20)
    other = clusters.make(installation, "other", segment_size=1 << 20, fresh=True)
    assert one.system_identifier() != other.system_identifier()
    assert one.value("show wal_segment_size") == "1MB"


def test_a_standby_follows_its_primary(clusters, cluster):
    cluster.load(100)
    standby = clusters.standby_of(cluster)
    assert standby.value("select pg_is_in_recovery()")
    standby.promote()
    assert standby.checksums() == cluster.checksums()
