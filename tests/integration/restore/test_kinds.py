"""Every kind of base backup comes back whole: tablespaces, tarballs, chains of incremental backups."""

from __future__ import annotations

import os
import signal

import pytest

from tests.support.ledger import Ledger, steps_in
from tests.support.processes import wait_until


@pytest.fixture
def site(stream, cluster):
    """A loaded cluster with a tablespace, and what makes its server."""
    cluster.tablespace("cold")
    cluster.sql("create table frozen (id int, body text) tablespace cold")
    cluster.sql("insert into frozen select i, md5(i::text) from generate_series(1, 2000) i")
    cluster.load(300)
    return cluster, stream


def _links(data):
    return {os.readlink(entry) for entry in (data / "pg_tblspc").iterdir() if entry.is_symlink()}


@pytest.mark.pg(">= 15", own_tools=True)
def test_plain_backups_with_tablespaces_relocated(site, recover, scratch):
    cluster, stream = site
    server = stream(cluster)
    backup = server.backup()
    cluster.load(300)
    server.close_and_archive(cluster)
    words = ["--tablespace", f"cold:{scratch / 'plain' / 'cold'}", "--jobs", "3"]

    recovered = recover(server, cluster, backup, "plain", *words)

    assert recovered.checksums() == cluster.checksums()
    assert _links(recovered.data) == {str(scratch / "plain" / "cold")}


@pytest.mark.pg(">= 15", own_tools=True, each=False)
def test_a_tablespace_in_place_stays_in_place(site, recover, scratch):
    cluster, stream = site
    cluster.configure(allow_in_place_tablespaces="on")
    cluster.reload()
    cluster.sql("create tablespace inside location ''")
    cluster.sql("create table indoors (id int) tablespace inside")
    cluster.sql("insert into indoors select generate_series(1, 2000)")
    server = stream(cluster)
    backup = server.backup()
    server.close_and_archive(cluster)

    recovered = recover(server, cluster, backup, "in", "--tablespace", f"cold:{scratch / 'in' / 'cold'}")

    assert recovered.checksums() == cluster.checksums()
    assert _links(recovered.data) == {str(scratch / "in" / "cold")}


@pytest.mark.pg(">= 15", own_tools=True)
@pytest.mark.parametrize("location", ["client", "server"])
def test_tarballs_of_gzip(location, site, recover, scratch):
    _check_tarballs(site, recover, scratch, backup_compression="gzip", backup_compression_location=location)


@pytest.mark.pg(">= 15", own_tools=True, each=False)
def test_plain_tarballs(site, recover, scratch):
    _check_tarballs(site, recover, scratch, backup_compression="none")


@pytest.mark.pg(">= 15", own_tools=True, built_with=("lz4", "zstd"))
@pytest.mark.parametrize("algorithm", ["lz4", "zstd"])
def test_tarballs_of_faster_algorithms(algorithm, site, recover, scratch):
    _check_tarballs(site, recover, scratch, backup_compression=algorithm, backup_compression_location="server")


def _check_tarballs(site, recover, scratch, **options):
    cluster, stream = site
    server = stream(cluster, **options)
    backup = server.backup()
    cluster.load(300)
    server.close_and_archive(cluster)

    recovered = recover(server, cluster, backup, "tar", "--tablespace", f"cold:{scratch / 'tar' / 'cold'}")

    assert recovered.checksums() == cluster.checksums()


@pytest.mark.pg(">= 17", own_tools=True)
@pytest.mark.parametrize("options", [{}, {"backup_compression": "gzip"}], ids=["plain", "tar"])
def test_incremental_chains_leave_the_staging_area_clean(options, site, recover, scratch):
    cluster, stream = site
    staging = scratch / "staging"
    server = stream(cluster, staging_path=staging, **options)
    ledger = Ledger(cluster)
    server.backup()
    for _ in range(2):
        ledger.step()
        cluster.load(100)
        cluster.sql("checkpoint")
        cluster.switch_wal()
        server.backup("--incremental", "latest")
    ledger.step()
    server.close_and_archive(cluster)

    recovered = recover(server, cluster, "latest", "chain", "--tablespace", f"cold:{scratch / 'chain' / 'cold'}")

    assert steps_in(recovered) == [1, 2, 3]
    assert recovered.checksums() == cluster.checksums()
    assert not list(recovered.data.glob("**/INCREMENTAL.*"))
    assert not list(recovered.data.glob(".barman-combine*"))
    assert not staging.exists() or not list(staging.iterdir())


@pytest.mark.pg(">= 17", own_tools=True)
def test_a_moved_catalogue_still_gives_back_its_chains(site, recover, scratch, home):
    cluster, stream = site
    server = stream(cluster)
    first = server.backup()
    cluster.load(100)
    cluster.sql("checkpoint")
    cluster.switch_wal()
    second = server.backup("--incremental", first)
    server.close_and_archive(cluster)
    moved = scratch / "moved"
    server.base.rename(moved)
    server.set(basebackups_directory=moved)

    recovered = recover(server, cluster, second, "chain", "--tablespace", f"cold:{scratch / 'chain' / 'cold'}")

    assert recovered.checksums() == cluster.checksums()


@pytest.mark.pg(">= 17", own_tools=True)
def test_an_interrupted_chain_leaves_the_staging_area_clean_and_nothing_that_starts(site, home, scratch):
    cluster, stream = site
    staging = scratch / "staging"
    server = stream(cluster, staging_path=staging, backup_compression="gzip")
    server.backup()
    cluster.load(100)
    cluster.sql("checkpoint")
    cluster.switch_wal()
    server.backup("--incremental", "latest")
    server.close_and_archive(cluster)
    data = scratch / "broken" / "data"
    words = [
        "restore",
        "main",
        "latest",
        data,
        "--tablespace",
        f"cold:{scratch / 'broken' / 'cold'}",
        "--bwlimit",
        "64",
    ]
    process = home.start(*words)
    wait_until(lambda: staging.exists() and any(staging.iterdir()), "something is staged")

    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)

    assert process.returncode != 0
    assert b"Traceback" not in errors
    assert not list(staging.iterdir())
    assert not (data / "global" / "pg_control").exists()
