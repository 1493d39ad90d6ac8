"""The WAL a restore takes along: all that is there, nothing that is damaged, and a word about what is missing."""

from __future__ import annotations

import gzip

import pytest

from tests.support.ledger import Ledger, steps_in

pytestmark = pytest.mark.pg(">= 15", own_tools=True, each=False)


@pytest.fixture
def site(stream, cluster):
    """A server with a backup and four closed segments after it, one row of the ledger in each: (server, …)."""
    ledger = Ledger(cluster)
    server = stream(cluster)
    backup = server.backup()
    segments = []
    for _ in range(4):
        ledger.step()
        segments.append(server.close_and_archive(cluster))
    return server, backup, ledger, segments


def _file(server, segment):
    return server.wals / segment[:16] / segment


def _forget(server, *segments):
    """Take the lines of segments out of the ledger, as a crash between the two writes does."""
    ledger = next(server.wals.glob("*xlog.db"))
    kept = [line for line in ledger.read_text().splitlines(keepends=True) if line.split()[0] not in segments]
    ledger.write_text("".join(kept))


def test_segments_without_a_line_are_found(site, recover, cluster):
    server, backup, _, segments = site
    _forget(server, segments[1], segments[3])

    assert steps_in(recover(server, cluster, backup, "all")) == [1, 2, 3, 4]


def test_lines_out_of_order_hide_nothing(site, recover, cluster):
    server, backup, _, _ = site
    ledger = next(server.wals.glob("*xlog.db"))
    ledger.write_text("".join(reversed(ledger.read_text().splitlines(keepends=True))))

    assert steps_in(recover(server, cluster, backup, "all")) == [1, 2, 3, 4]


def test_a_hole_ends_recovery_and_is_told(site, cluster, clusters, scratch):
    server, backup, _, segments = site
    _file(server, segments[2]).unlink()

    done = server.run("restore", backup, scratch / "data")
    recovered = clusters.recover(cluster.installation, scratch / "data")

    assert f"WAL file {segments[2]} is missing from the archive" in done.stderr
    assert steps_in(recovered) == [1, 2]


def test_a_target_behind_a_hole_is_refused_before_anything_is_written(site, scratch):
    server, backup, ledger, segments = site
    _file(server, segments[2]).unlink()

    refused = server.run("restore", backup, scratch / "data", "--target-lsn", ledger.steps[3].lsn, check=False)
    near = server.run("restore", backup, scratch / "near", "--target-lsn", ledger.steps[1].lsn)

    assert refused.status == 1
    assert segments[2] in refused.stderr
    assert not (scratch / "data").exists()
    assert near.status == 0


def test_a_target_behind_the_end_of_the_archive_is_refused(site, scratch):
    server, backup, _, _ = site

    refused = server.run("restore", backup, scratch / "data", "--target-lsn", "7/0", check=False)

    assert refused.status == 1
    assert "cannot be reached" in refused.stderr
    assert not (scratch / "data").exists()


def test_a_backup_whose_own_wal_is_missing_is_refused(site, scratch):
    server, backup, _, _ = site
    end = server.json("show-backup", backup)["main"]["base_backup_information"]["end_wal"]
    _file(server, end).unlink()

    refused = server.run("restore", backup, scratch / "data", check=False)

    assert refused.status == 1
    assert end in refused.stderr
    assert not (scratch / "data").exists()


def test_a_damaged_segment_is_named_with_the_way_around_it(site, recover, cluster, scratch):
    server, backup, ledger, segments = site
    path = _file(server, segments[2])
    path.write_bytes(gzip.compress(path.read_bytes())[:-100])

    failed = server.run("restore", backup, scratch / "data", check=False)
    recovered = recover(
        server, cluster, backup, "before", "--target-lsn", ledger.steps[1].lsn, "--target-action", "promote"
    )

    assert failed.status == 1
    assert segments[2] in failed.stderr
    assert "--target-lsn" in failed.stderr
    assert not (scratch / "data" / "global" / "pg_control").exists()
    assert steps_in(recovered) == [1, 2]


def test_the_unfinished_segment_is_taken_on_demand(site, recover, cluster):
    server, backup, ledger, _ = site
    ledger.step()
    cluster.sql("select pg_logical_emit_message(true, 'barman', 'flush')")

    without = recover(server, cluster, backup, "without")
    with_it = recover(server, cluster, backup, "with", "--partial-wal")

    assert steps_in(without) == [1, 2, 3, 4]
    assert steps_in(with_it) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("compression", ["gzip", "bzip2", "xz", "zstd", "lz4"])
def test_compressed_wal_is_decoded(compression, stream, recover, cluster):
    ledger = Ledger(cluster)
    server = stream(cluster, compression=compression)
    backup = server.backup()
    ledger.go_to(2)
    server.close_and_archive(cluster)

    assert steps_in(recover(server, cluster, backup, "plain")) == [1, 2]
    staged = recover(
        server, cluster, backup, "staged", "--target-xid", ledger.steps[0].xid, "--target-action", "promote"
    )
    assert steps_in(staged) == [1]
    assert not (staged.data / "barman_wal").exists()


@pytest.mark.parametrize("size", [1, 64])
def test_other_segment_sizes(size, clusters, installation, stream, recover):
    cluster = clusters.make(installation, "sized", segment_size=size << 20)
    ledger = Ledger(cluster)
    server = stream(cluster)
    backup = server.backup()
    cluster.load(4000)
    ledger.go_to(3)
    server.close_and_archive(cluster)
    expected = cluster.checksums()

    assert recover(server, cluster, backup, "all").checksums() == expected
    second = ledger.steps[1]
    past = recover(server, cluster, backup, "past", "--target-lsn", second.lsn, "--target-action", "promote")
    assert steps_in(past) == [1, 2]
