"""Backups that copy the files of a running cluster, here and over ssh."""

from __future__ import annotations

import os
import re
import shutil
import threading

import pytest

from tests.support.users import give

pytestmark = pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")


@pytest.fixture
def copying(home):
    """Makes a server whose files are copied, one segment of it archived: copying(cluster, **options)."""

    def make(cluster, **options):
        server = home.copying(cluster, **options)
        server.start_streaming(cluster)
        server.close_and_archive(cluster)
        return server

    return make


@pytest.fixture
def recovered(clusters, installation, scratch):
    """Restores a backup, starts it and compares every table with the cluster it came from."""

    def recover(server, cluster, backup_id, *words):
        destination = server.restore(backup_id, scratch / "recovered" / backup_id, *words)
        restored = clusters.recover(installation, destination, f"cluster-{backup_id}")
        assert restored.checksums() == cluster.checksums()
        return restored

    return recover


def _backup(server, *words):
    result = server.run("backup", "--wait", "--wait-timeout", "60", *words)
    return server.backup_ids()[-1], result


def _files(server, backup_id):
    root = server.base / backup_id
    return {
        str(path.relative_to(root)): path.stat() for path in root.rglob("*") if path.is_file() and not path.is_symlink()
    }


def _label(server, backup_id):
    return (server.base / backup_id / "data" / "backup_label").read_text()


@pytest.mark.pg
def test_on_every_version_under_load_with_a_tablespace(copying, cluster, scratch, record, recovered):
    cluster.tablespace("apart")
    cluster.load(500)
    cluster.sql(
        "create table there (id int primary key) tablespace apart; insert into there select generate_series(1, 5000)"
    )
    server = copying(cluster, parallel_jobs=2)
    with cluster.loading(300):
        backup_id, result = _backup(server)
    taken = record(server, backup_id)
    assert taken.status.value == "DONE"
    assert taken.mode == "rsync-concurrent"
    assert "via local rsync (2 jobs)" in result.stdout
    assert taken.backup_label == _label(server, backup_id)
    assert f"LABEL: Barman backup main {backup_id}" in taken.backup_label
    [tablespace] = taken.tablespaces
    assert tablespace.location in (server.base / backup_id / "data" / "tablespace_map").read_text()
    assert not list((server.base / backup_id / "data" / "pg_tblspc").iterdir())
    assert not list((server.base / backup_id).glob(".*"))
    cluster.sql("insert into there values (-1)")
    server.close_and_archive(cluster)
    recovered(server, cluster, backup_id, "--tablespace", f"apart:{scratch}/recovered/apart")


_CHURN = """
create table passing (id int primary key, body text);
insert into passing select g, repeat('x', 500) from generate_series(1, 2000) g;
create table emptied as select g as id from generate_series(1, 5000) g; truncate emptied;
create table grown as select g as id, repeat('y', 900) as body from generate_series(1, 3000) g;
drop table passing; drop table emptied; drop table grown;
"""


@pytest.mark.pg(each=False)
def test_while_tables_come_grow_and_go(copying, cluster, recovered):
    cluster.load(500)
    server = copying(cluster, parallel_jobs=2, reuse_backup="link", bandwidth_limit=15000)
    over = threading.Event()

    def churn():
        while not over.wait(0.2):
            cluster.sql(_CHURN)

    thread = threading.Thread(target=churn)
    with cluster.loading(20):
        thread.start()
        try:
            ids = [_backup(server)[0] for _ in range(2)]
        finally:
            over.set()
            thread.join()
    server.close_and_archive(cluster)
    for backup_id in ids:
        restored = recovered(server, cluster, backup_id)
        if restored.value("select count(*) from pg_available_extensions where name = 'amcheck'"):
            restored.sql("create extension amcheck")
            restored.sql(
                "select bt_index_check(indexrelid, true) from pg_index join pg_class on pg_class.oid = indexrelid"
                " where relam = (select oid from pg_am where amname = 'btree') and relpersistence = 'p' and indisvalid"
            )
        restored.stop()


@pytest.mark.pg(each=False)
@pytest.mark.parametrize("jobs", [1, 3])
def test_over_ssh(jobs, copying, cluster, sshd, record, recovered):
    cluster.load(500)
    server = copying(cluster, ssh=sshd.command, parallel_jobs=jobs, network_compression="true")
    backup_id, result = _backup(server)
    assert f"via rsync over SSH{' (3 jobs)' if jobs > 1 else ''} for {backup_id}" in result.stdout
    assert record(server, backup_id).copy_stats["number_of_workers"] == jobs
    # One login for each worker: none for each program, and none for the checks.
    assert sshd.logins() == jobs
    assert "ssh: OK (PostgreSQL server)" in server.run("check").stdout
    recovered(server, cluster, backup_id)


@pytest.mark.pg("< 15")
def test_exclusive_backups_while_they_are_possible(copying, cluster, record, recovered):
    cluster.sql("grant execute on function pg_stop_backup(boolean, boolean) to barman")
    cluster.load(300)
    server = copying(cluster, backup_options="exclusive_backup")
    backup_id, _ = _backup(server)
    taken = record(server, backup_id)
    assert taken.mode == "rsync-exclusive"
    assert "BACKUP METHOD: pg_start_backup" in taken.backup_label
    assert not cluster.value("select pg_is_in_backup()")
    assert not (cluster.data / "backup_label").exists()
    recovered(server, cluster, backup_id)


@pytest.mark.pg(">= 15", each=False)
def test_an_exclusive_backup_of_a_newer_server_is_refused(copying, cluster):
    server = copying(cluster, backup_options="exclusive_backup")
    result = server.run("backup", check=False)
    assert result.status == 1
    assert "exclusive" in result.stderr
    assert server.backup_ids() == []


@pytest.mark.pg(each=False)
def test_from_a_standby_of_an_idle_primary(home, clusters, installation, record, recovered):
    primary = clusters.make(installation, "primary")
    primary.load(300)
    standby = clusters.standby_of(primary)
    server = home.copying(
        standby,
        primary_conninfo=primary.conninfo(),
        wal_streaming_conninfo=primary.streaming_conninfo(),
        wal_conninfo=primary.conninfo(),
    )
    server.start_streaming(primary)
    server.close_and_archive(primary)
    primary.sql("checkpoint")
    backup_id, result = _backup(server)
    assert record(server, backup_id).status.value == "DONE", result
    assert "BACKUP FROM: standby" in _label(server, backup_id)
    recovered(server, primary, backup_id)


@pytest.mark.pg(each=False)
def test_configuration_files_elsewhere_and_a_linked_wal_directory(copying, clusters, installation, scratch, recovered):
    cluster = clusters.make(installation, start=False)
    elsewhere = _made(scratch / "etc")
    wal = _made(scratch / "wal")
    shutil.copytree(cluster.data / "pg_wal", wal / "pg_wal")
    for path in (wal, *wal.rglob("*")):
        give(path)
    shutil.rmtree(cluster.data / "pg_wal")
    (cluster.data / "pg_wal").symlink_to(wal / "pg_wal")
    shutil.move(cluster.data / "pg_hba.conf", elsewhere / "pg_hba.conf")
    give(elsewhere / "pg_hba.conf")
    cluster.start(hba_file=elsewhere / "pg_hba.conf")
    cluster.load(100)
    server = copying(cluster)
    backup_id, _ = _backup(server)
    data = server.base / backup_id / "data"
    assert (data / "pg_hba.conf").read_bytes() == (elsewhere / "pg_hba.conf").read_bytes()
    assert (data / "pg_wal").is_dir()
    assert not (data / "pg_wal").is_symlink()
    assert not list((data / "pg_wal").iterdir())
    recovered(server, cluster, backup_id)


def _made(path):
    path.mkdir()
    return give(path)


@pytest.mark.pg(each=False)
def test_unchanged_files_are_links_and_earlier_backups_stay_as_they_are(copying, cluster, recovered):
    cluster.load(300)
    server = copying(cluster, reuse_backup="link")
    first, _ = _backup(server)
    cluster.sql("create table later as select generate_series(1, 1000) as id")
    before = {name: (status.st_mtime_ns, status.st_mode) for name, status in _files(server, first).items()}
    second, result = _backup(server)
    old, new = _files(server, first), _files(server, second)
    linked = {name for name in old.keys() & new.keys() if old[name].st_ino == new[name].st_ino}
    changed = cluster.value("select pg_relation_filepath('pg_class')")
    assert len(linked) > 500
    assert f"data/{changed}" not in linked
    assert "data/global/pg_control" not in linked
    assert {name: (status.st_mtime_ns, status.st_mode) for name, status in old.items()} == before
    assert re.search(
        r"Backup size: [\d.]+ MiB\. Actual size on disk: .* \(-9\d\.\d\d% deduplication ratio\)\.", result.stdout
    )
    recovered(server, cluster, second)
    server.run("delete", second)
    server.close_and_archive(cluster)
    recovered(server, cluster, first)


@pytest.mark.pg(each=False)
@pytest.mark.parametrize("way", ["here", "ssh"])
def test_files_of_another_directory_are_compared_even_if_they_look_equal(way, copying, cluster, request):
    ssh = request.getfixturevalue("sshd").command if way == "ssh" else None
    server = copying(cluster, ssh=ssh, reuse_backup="link")
    probe, version = cluster.data / "base" / "probe", cluster.data / "PG_VERSION"
    for content, born in ((b"one", 1000), (b"two", 1000), (b"two", 2000)):
        probe.write_bytes(content)
        give(probe)
        os.utime(probe, (1000, 1000))
        # As after a failover, on a host where the cluster was made at another time.
        os.utime(version, (born, born))
        _backup(server)
    copies = [(server.base / backup_id / "data" / "base" / "probe").read_bytes() for backup_id in server.backup_ids()]
    assert copies == [b"one", b"one", b"two"]


@pytest.mark.pg(each=False)
@pytest.mark.parametrize("words", [(), ("--reuse-backup", "copy")], ids=["off", "copy"])
def test_without_links_every_backup_has_its_own_files(words, copying, cluster, recovered):
    cluster.load(100)
    server = copying(cluster, parallel_jobs=2)
    first, _ = _backup(server)
    second, _ = _backup(server, *words)
    old, new = _files(server, first), _files(server, second)
    assert all(status.st_nlink == 1 for status in (*old.values(), *new.values()))
    assert all(old[name].st_mtime_ns == new[name].st_mtime_ns for name in ("data/PG_VERSION", "data/base/1/PG_VERSION"))
    recovered(server, cluster, second)


@pytest.mark.pg(each=False)
def test_a_manifest_is_written_if_asked_for(copying, cluster, verify):
    server = copying(cluster)
    backup_id, _ = _backup(server)
    assert not (server.base / backup_id / "data" / "backup_manifest").exists()
    backup_id, _ = _backup(server, "--manifest")
    assert (server.base / backup_id / "data" / "backup_manifest").exists()
    verify(cluster, server, backup_id)


@pytest.mark.pg(each=False)
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        pytest.param(lambda command: command.replace("ssh ", "/nonexistent/ssh ", 1), "No such file", id="no program"),
        pytest.param(lambda command: command.replace("127.0.0.1", "127.0.0.99"), "refused", id="no host"),
        pytest.param(lambda command: command.replace("user_key ", "known_hosts "), "Permission denied", id="no key"),
    ],
)
def test_a_host_that_cannot_be_reached_is_told_in_one_line(spoil, said, copying, cluster, sshd):
    server = copying(cluster, ssh=spoil(sshd.command))
    result = server.run("backup", check=False)
    assert result.status == 1
    assert result.stderr.count("ERROR: ") == 1
    assert said in result.stderr
    assert server.backup_ids() == []


@pytest.mark.pg(each=False)
def test_a_file_that_cannot_be_read_is_named_and_fails_the_backup(copying, cluster, record):
    if os.geteuid() != 0:
        pytest.skip("only root can make files that somebody else may not read")
    secret = cluster.data / "secret"
    secret.write_text("x")
    secret.chmod(0)
    server = copying(cluster)
    result = server.run("backup", check=False)
    [backup_id] = server.backup_ids()
    assert result.status == 1
    assert str(secret) in result.stderr
    assert "Permission denied" in result.stderr
    assert record(server, backup_id).status.value == "FAILED"
    assert str(secret) in record(server, backup_id).error
    secret.unlink()
    _backup(server)
