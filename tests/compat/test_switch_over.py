"""One barman_home, two implementations: what one wrote the other goes on with, in both directions."""

from __future__ import annotations

import time

import pytest

from tests.support.homes import BarmanHome, our_programs
from tests.support.processes import wait_until

pytestmark = pytest.mark.pg(each=False)


@pytest.fixture
def switched(scratch, reference, cluster):
    """One installation twice, run by the reference and run by us, with a server that streams and passes its checks."""
    theirs = BarmanHome(scratch / "barman", programs=reference)
    server = theirs.streaming(cluster, compression="gzip")
    server.start_streaming(cluster)
    server.close_and_archive(cluster)
    server.run("check")
    ours = BarmanHome(scratch / "barman", programs=our_programs())
    return server, ours.streaming(cluster, compression="gzip")


def test_a_backup_of_the_reference_is_listed_and_restored_by_us(switched, cluster, clusters, scratch):
    theirs, ours = switched
    cluster.load(300)
    backup = theirs.backup("--wait")
    cluster.load(300)
    theirs.close_and_archive(cluster)
    expected = cluster.checksums()

    assert ours.backup_ids() == [backup]
    assert ours.json("show-backup", backup)["main"]["status"] == "DONE"
    ours.run("check")
    restored = clusters.recover(cluster.installation, ours.restore(backup, scratch / "by-us" / "data"))
    assert restored.checksums() == expected


def test_we_take_over_and_the_reference_goes_back_to_it(switched, cluster, clusters, scratch):
    theirs, ours = switched
    cluster.load(300)
    first = theirs.backup("--wait")
    # the receiver of the other one holds its lock: it is found running, and stopped like our own
    ours.run("receive-wal", "--stop")
    ours.start_streaming(cluster)
    cluster.load(300)
    second = ours.backup("--wait")
    ours.close_and_archive(cluster)
    expected = cluster.checksums()

    assert theirs.backup_ids() == [first, second]
    theirs.run("check")
    restored = clusters.recover(cluster.installation, theirs.restore(second, scratch / "by-them" / "data"))
    assert restored.checksums() == expected


def test_each_deletes_what_the_other_backed_up(switched, cluster):
    theirs, ours = switched
    first, second = theirs.backup("--wait"), ours.backup("--wait")
    ours.run("delete", first)
    assert theirs.backup_ids() == [second]
    # the reference writes over a backup of the same second
    wait_until(lambda: time.strftime("%Y%m%dT%H%M%S", time.gmtime()) > second, "the next second")
    third = theirs.backup("--wait")
    theirs.run("delete", second)
    assert ours.backup_ids() == [third]
    ours.run("check")


def test_both_say_the_same_of_a_backup(switched, cluster):
    theirs, ours = switched
    cluster.tablespace("cold")
    backup = ours.backup("--wait", "--name", "weekly")
    said = [side.json("show-backup", backup)["main"] for side in (theirs, ours)]
    assert _shape(said[1]) == _shape(said[0])
    for key in ("backup_id", "backup_name", "status", "system_id", "tablespaces", "postgresql_version"):
        assert said[1][key] == said[0][key], key


def _shape(document):
    """Keys all the way down, with None where a value is."""
    if isinstance(document, dict):
        return {key: _shape(value) for key, value in document.items()}
    return None
