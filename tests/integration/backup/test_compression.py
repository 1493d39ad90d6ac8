"""Backups packed by pg_basebackup."""

from __future__ import annotations

import pytest


def _cases(*algorithms):
    return [
        pytest.param(algorithm, location, form, id=f"{algorithm}-{location}-{form}")
        for algorithm in algorithms
        for location, form in (("client", "tar"), ("server", "tar"), ("server", "plain"))
    ]


@pytest.mark.pg(">= 15")
@pytest.mark.parametrize(("algorithm", "location", "form"), _cases("gzip"))
def test_gzip(algorithm, location, form, stream, cluster, record, verify):
    _check(algorithm, location, form, stream, cluster, record, verify)


@pytest.mark.pg(">= 15", built_with=("lz4", "zstd"))
@pytest.mark.parametrize(("algorithm", "location", "form"), _cases("lz4", "zstd"))
def test_lz4_and_zstd(algorithm, location, form, stream, cluster, record, verify):
    _check(algorithm, location, form, stream, cluster, record, verify)


@pytest.mark.pg
def test_archives_without_compression(stream, cluster, record, verify):
    _check("none", None, None, stream, cluster, record, verify)


@pytest.mark.pg(">= 15", built_with=("zstd",))
def test_level_and_workers(stream, cluster):
    options = {"backup_compression_level": 3, "backup_compression_workers": 2}
    server = stream(cluster, backup_compression="zstd", backup_compression_location="server", **options)
    server.run("backup")
    assert len(server.backup_ids()) == 1
    # The server logs no command line; what a wrong one would do is fail.
    server.set(backup_compression_level=23)
    assert "is outside -131072 to 22" in server.run("backup", check=False).stderr


@pytest.mark.pg(">= 15", each=False)
def test_what_cannot_be_packed_is_refused_before_anything_is_written(stream, cluster):
    cluster.configure(allow_in_place_tablespaces="on")
    cluster.reload()
    cluster.sql("create tablespace inside location ''")
    server = stream(cluster)
    server.set(backup_compression="gzip")
    result = server.run("backup", check=False)
    assert result.status == 1
    assert "cannot pack the tablespaces in place of server main: inside" in result.stderr
    assert server.backup_ids() == []


@pytest.mark.pg("< 15")
def test_server_side_compression_of_an_old_server_is_refused_before_anything_is_written(stream, cluster):
    server = stream(cluster)
    server.set(backup_compression="gzip", backup_compression_location="server")
    result = server.run("backup", check=False)
    assert result.status == 1
    assert "requires PostgreSQL 15" in result.stderr
    assert server.backup_ids() == []


def _check(algorithm, location, form, stream, cluster, record, verify):
    cluster.load(500)
    cluster.tablespace("cold")
    cluster.sql("create table archive (id int) tablespace cold; insert into archive values (1)")
    server = stream(
        cluster,
        backup_compression=algorithm,
        backup_compression_location=location,
        backup_compression_format=form,
    )
    server.run("backup", "--wait", "--wait-timeout", "60")
    [backup_id] = server.backup_ids()
    taken = record(server, backup_id)
    data = server.base / backup_id / "data"
    assert taken.status.value == "DONE"
    assert taken.backup_label.startswith("START WAL LOCATION: ")
    assert taken.begin_wal in taken.backup_label
    if form == "plain":
        assert taken.compression is None
        verify(cluster, server, backup_id)
        return
    extension = {"gzip": "tar.gz", "lz4": "tar.lz4", "zstd": "tar.zst", "none": "tar"}[algorithm]
    [tablespace] = taken.tablespaces
    assert taken.compression == algorithm
    assert sorted(path.name for path in data.iterdir()) == sorted(
        [f"base.{extension}", f"{tablespace.oid}.{extension}", "backup_manifest"]
    )
    assert list((server.base / backup_id / str(tablespace.oid)).iterdir()) == []
    if algorithm != "none":
        assert taken.size < taken.cluster_size / 2
