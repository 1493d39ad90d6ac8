"""Damaged pages of a cluster are found by the backup that copies them."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def damaged(cluster):
    """A table with damaged pages, which the server has not noticed: its file, and their blocks."""
    cluster.sql("create table victim as select generate_series(1, 20000) as id; checkpoint")
    path = cluster.value("select pg_relation_filepath('victim')")
    cluster.stop()
    with (cluster.data / path).open("r+b") as file:
        for block in (3, 7):
            file.seek(block * 8192 + 5000)
            byte = file.read(1)
            file.seek(-1, 1)
            file.write(bytes([byte[0] ^ 0x10]))
    cluster.start()
    return path, "blocks 3, 7"


def _taken(server, *words, check=True):
    result = server.run("backup", "--wait", "--wait-timeout", "60", *words, check=check)
    return server.backup_ids()[-1], result


def _prepared(server, cluster):
    server.start_streaming(cluster)
    server.close_and_archive(cluster)
    return server


def _report(server, backup_id):
    return json.loads((server.directory / "meta" / f"{backup_id}-pages.json").read_text())


@pytest.mark.pg
def test_a_healthy_cluster_under_load_has_no_damaged_page(home, cluster):
    cluster.load(2000)
    server = _prepared(home.copying(cluster, parallel_jobs=2), cluster)
    with cluster.loading(300):
        backup_id, result = _taken(server)
    report = _report(server, backup_id)
    assert (report["damaged"], result.stderr) == (0, "")
    assert report["verified"] > 500


@pytest.mark.pg
def test_damaged_pages_are_a_warning_that_show_backup_keeps(home, cluster, damaged):
    server = _prepared(home.copying(cluster), cluster)
    backup_id, result = _taken(server)
    path, blocks = damaged
    assert f"WARNING: damaged in {cluster.data}: {path}: {blocks}" in result.stderr
    assert "2 damaged pages" in result.stderr
    shown = server.json("show-backup", backup_id)["main"]
    assert (shown["status"], shown["page_checksums"]["damaged"]) == ("DONE", 2)
    assert shown["page_checksums"]["pages"][1] == {"tree": "pgdata", "file": path, "block": 7}
    assert f"{path}: {blocks}" in server.run("show-backup", backup_id).stdout
    server.run("delete", backup_id)
    assert not list((server.directory / "meta").glob("*-pages.json"))


def test_damaged_pages_are_found_over_ssh_and_in_files_that_are_linked(home, cluster, damaged, sshd):
    server = _prepared(home.copying(cluster, ssh=sshd.command, reuse_backup="link"), cluster)
    first, result = _taken(server)
    assert f"{damaged[0]}: {damaged[1]}" in result.stderr
    second, result = _taken(server)
    path, blocks = damaged
    assert f"{path}: {blocks}" in result.stderr
    assert (server.base / first / "data" / path).samefile(server.base / second / "data" / path)
    assert _report(server, second)["pages"] == _report(server, first)["pages"]


def test_a_backup_may_be_told_to_fail_on_them(home, cluster, damaged):
    server = _prepared(home.copying(cluster), cluster)
    backup_id, result = _taken(server, "--fail-on-checksum", check=False)
    assert result.status == 1
    assert f"2 damaged pages of the cluster, first in {damaged[0]}: {damaged[1]}" in result.stderr
    assert server.json("show-backup", backup_id)["main"]["status"] == "FAILED"
    assert cluster.value("select count(*) from pg_stat_activity where backend_type = 'walsender'") == 1


@pytest.mark.pg
def test_what_pg_basebackup_finds_is_passed_on(home, cluster, damaged):
    server = _prepared(home.streaming(cluster), cluster)
    backup_id, result = _taken(server)
    assert f"{damaged[0]}: {damaged[1]}" in result.stderr
    assert server.json("show-backup", backup_id)["main"]["status"] == "DONE"
    assert (server.base / backup_id / "data" / "backup_manifest").is_file()
    assert not list((server.base / backup_id / "data").glob("*.tmp"))
    failed, result = _taken(server, "--fail-on-checksum", check=False)
    assert result.status == 1
    assert server.json("show-backup", failed)["main"]["status"] == "FAILED"


def test_what_pg_basebackup_finds_is_passed_on_from_archives_too(home, cluster, damaged):
    server = _prepared(home.streaming(cluster, backup_compression="gzip"), cluster)
    backup_id, result = _taken(server)
    assert "2 damaged pages" in result.stderr
    assert server.json("show-backup", backup_id)["main"]["status"] == "DONE"
