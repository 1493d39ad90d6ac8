"""receive-wal is killed, or its connection cut, again and again: what it received is whole, without a hole."""

from __future__ import annotations

import pytest

from tests.support.archiving import errors, listed, stored
from tests.support.processes import processes_of, wait_until
from tests.support.relay import relay_to

pytestmark = pytest.mark.pg(each=False)

MIB = 1 << 20


@pytest.fixture
def streamed(home, clusters, installation):
    """A server that streams segments of 1 MiB, its source, and the first segment."""
    cluster = clusters.make(installation, segment_size=MIB, settings={"wal_keep_size": "200MB"})
    server = home.streaming(cluster)
    server.start_streaming(cluster)
    first = server.close_and_archive(cluster)
    server.run("receive-wal", "--stop")
    wait_until(lambda: not home.receivers(), "the receiver has ended")
    return server, cluster, first


def _write(cluster):
    cluster.sql(
        "create table if not exists filler (n int, text text);"
        " insert into filler select n, md5(n::text) from generate_series(1, 80000) n"
    )
    return cluster.switch_wal()


def _is_receiving(home):
    return any("pg_receivewal" in words for words in processes_of(home.directory).values())


def _require_whole(server, cluster, first, last):
    server.start_streaming(cluster)
    server.archive_up_to(last)
    server.run("receive-wal", "--stop")
    names = [name for name in sorted(listed(server)) if first <= name <= last]
    assert names == [f"{number:024X}" for number in range(int(first, 16), int(last, 16) + 1)]
    for name in names:
        assert stored(server, name).read_bytes() == (cluster.data / "pg_wal" / name).read_bytes()
    assert errors(server) == {}


def test_a_connection_that_is_cut_within_segments_leaves_no_hole(streamed, scratch):
    server, cluster, first = streamed
    direct = cluster.streaming_conninfo()
    last = _write(cluster)
    with relay_to(cluster, scratch / "relay", 2 * MIB + MIB // 3) as (relay, conninfo):
        server.set(streaming_conninfo=conninfo)
        for _ in range(3):
            result = server.run("receive-wal", check=False)
            assert result.status == 1
            assert "ERROR: pg_receivewal of server main ended by itself: " in result.stderr
            assert "Traceback" not in result.text
            server.run("archive-wal")
        assert relay.cuts == 3
    server.set(streaming_conninfo=direct)

    _require_whole(server, cluster, first, last)


def test_killed_while_it_receives_it_leaves_no_hole(streamed):
    server, cluster, first = streamed
    home = server.home
    for _ in range(3):
        process = home.start("receive-wal", "main")
        last = _write(cluster)
        wait_until(lambda: _is_receiving(home), "it receives")
        process.kill()
        process.communicate()
        wait_until(lambda: not _is_receiving(home), "all has ended")
        server.run("archive-wal")

    _require_whole(server, cluster, first, last)
