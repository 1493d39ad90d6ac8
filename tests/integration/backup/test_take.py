"""Base backups of a running server."""

from __future__ import annotations

import json
import os
import re
import signal

import pytest

from tests.support.processes import wait_until

pytestmark = pytest.mark.pg


def test_a_backup_is_complete_and_its_record_says_everything(stream, cluster, record, verify):
    cluster.load(500)
    location = cluster.tablespace("cold")
    cluster.sql("create table archive (id int) tablespace cold; insert into archive values (1)")
    server = stream(cluster)

    with cluster.loading():
        result = server.run("backup", "--wait", "--wait-timeout", "60", "--name", "before-upgrade")

    [backup_id] = server.backup_ids()
    taken = record(server, backup_id)
    verify(cluster, server, backup_id)
    assert taken.status.value == "DONE"
    assert (taken.backup_name, taken.server_name, taken.mode) == ("before-upgrade", "main", "postgres")
    assert taken.systemid == cluster.system_identifier()
    assert taken.version == cluster.value("select current_setting('server_version_num')::int")
    assert (taken.pgdata, taken.data_checksums) == (str(cluster.data), "on")
    assert taken.backup_label.startswith(f"START WAL LOCATION: {taken.begin_xlog} (file {taken.begin_wal})")
    assert [(one.name, one.location) for one in taken.tablespaces] == [("cold", str(location))]
    assert taken.summarize_wal == ("on" if cluster.major >= 17 else None)
    files = [path for path in (server.base / backup_id).rglob("*") if path.is_file() and not path.is_symlink()]
    assert taken.size == taken.deduplicated_size == sum(path.stat().st_size for path in files)
    assert taken.cluster_size > 1 << 20
    assert taken.copy_stats["total_time"] > 0
    assert taken.begin_time < taken.end_time
    assert taken.error is None
    assert (server.directory / "identity.json").exists()
    assert f"Starting backup using postgres method for server main in {server.base / backup_id}" in result.stdout
    assert f"Starting backup copy via pg_basebackup for {backup_id}" in result.stdout
    for line in (
        "Backup start at LSN: ",
        "Copy done (time: ",
        "Backup size: ",
        "Backup end at LSN: ",
        "Backup completed",
    ):
        assert line in result.stdout
    assert result.stderr == ""


def test_the_copy_belongs_to_its_owner_alone(stream, cluster):
    cluster.tablespace("cold")
    server = stream(cluster)
    backup_id = server.backup()
    directories = list((server.base / backup_id).iterdir())
    assert len(directories) == 2
    assert {path.stat().st_mode & 0o777 for path in directories} == {0o700}


def test_the_end_is_where_postgresql_says_it_is(stream, cluster, record):
    server = stream(cluster)
    backup_id = server.backup()
    manifest = (server.base / backup_id / "data" / "backup_manifest").read_text()
    [end] = re.findall(r'"End-LSN": "([0-9A-F/]+)"', manifest)
    taken = record(server, backup_id)
    assert taken.end_xlog == end
    assert taken.begin_wal == taken.end_wal


def test_json_has_the_record_at_the_top(stream, cluster):
    server = stream(cluster)
    document = json.loads(server.home.run("-f", "json", "backup", "main", "--wait", "--wait-timeout", "60").stdout)
    [backup_id] = server.backup_ids()
    assert document["backup_id"] == backup_id
    assert document["status"] == "DONE"
    assert document["mode"] == "postgres"
    assert any("Backup completed" in line for line in document["_INFO"])


def test_json_has_the_record_of_a_failed_backup_too(stream, cluster):
    server = stream(cluster)
    server.set(pre_backup_retry_script="exit 63")
    result = server.home.run("-f", "json", "backup", "main", check=False)
    document = json.loads(result.stdout)
    assert result.status == 1
    assert [document["backup_id"]] == server.backup_ids()
    assert document["status"] == "FAILED"
    assert "failure running the pre-backup hooks" in document["error"]
    assert document["_ERROR"]


def test_without_waiting_cron_completes_it(stream, cluster, home, record):
    server = stream(cluster)
    backup_id = server.backup()

    def is_done():
        home.cron()
        return record(server, backup_id).status.value == "DONE"

    wait_until(is_done, "the backup is DONE", timeout_s=60)


def test_waiting_ends_in_time_and_the_backup_stays(stream, cluster, home, record):
    server = stream(cluster)
    [receiver] = [pid for pid, words in home.receivers().items() if "pg_receivewal" in words.split()[0]]
    os.kill(receiver, signal.SIGSTOP)
    try:
        result = server.run("backup", "--wait", "--wait-timeout", "1", check=False)
    finally:
        os.kill(receiver, signal.SIGCONT)
    [backup_id] = server.backup_ids()
    assert result.status == 1
    assert re.search(r"ERROR: .*not received within 1 seconds", result.stderr)
    assert "WAITING_FOR_WALS" in result.stderr
    taken = record(server, backup_id)
    assert taken.status.value == "WAITING_FOR_WALS"

    server.archive_up_to(taken.end_wal)
    server.run("check-backup", backup_id)
    assert record(server, backup_id).status.value == "DONE"


@pytest.mark.pg(each=False)
def test_an_archive_that_takes_nothing_ends_the_waiting_and_not_the_backup(stream, cluster, record, scratch):
    server = stream(cluster)
    server.set(post_backup_script=f"touch {scratch / 'post'}")
    [directory] = [place for place in server.wals.iterdir() if place.is_dir()]
    directory.chmod(0o500)
    try:
        result = server.run("backup", "--wait", "--wait-timeout", "60", check=False)
    finally:
        directory.chmod(0o700)
    assert result.status == 1
    [backup_id] = server.backup_ids()
    assert re.search(rf"ERROR: backup {backup_id} of server main is complete, and its WAL cannot be", result.stderr)
    assert record(server, backup_id).status.value == "WAITING_FOR_WALS"
    assert (scratch / "post").exists()


@pytest.mark.pg(each=False)
def test_ids_are_unique_however_fast_they_follow(stream, cluster):
    server = stream(cluster)
    for _ in range(4):
        server.run("backup")
    assert len(server.backup_ids()) == 4


@pytest.mark.pg(each=False)
def test_a_backup_from_small_segments_needs_all_of_them(home, clusters, installation, stream, record):
    cluster = clusters.make(installation, segment_size=1 << 20)
    server = stream(cluster)
    with cluster.loading(500):
        server.run("backup", "--wait", "--wait-timeout", "60", "--bwlimit", "20000")
    [backup_id] = server.backup_ids()
    taken = record(server, backup_id)
    assert taken.xlog_segment_size == 1 << 20
    assert taken.status.value == "DONE"
    assert taken.begin_wal < taken.end_wal


@pytest.mark.pg(each=False)
def test_the_first_backup_drops_the_wal_before_it_and_later_ones_do_not(stream, cluster, record):
    server = stream(cluster)
    before = set(server.archived_wals())
    server.run("backup", "--wait", "--wait-timeout", "60")
    [first] = server.backup_ids()
    kept = [name for name in server.archived_wals() if not name.endswith("xlog.db")]
    assert min(kept) == record(server, first).begin_wal
    assert before - set(kept)
    server.close_and_archive(cluster)
    server.run("backup", "--wait", "--wait-timeout", "60")
    assert record(server, first).begin_wal in server.archived_wals()


@pytest.mark.pg(each=False)
def test_one_server_that_is_down_does_not_keep_the_others_from_their_backup(home, clusters, installation, stream):
    one = clusters.make(installation, "one", fresh=True)
    two = clusters.make(installation, "two", fresh=True)
    first, second = stream(one, "first"), stream(two, "second")
    one.stop("immediate")
    result = home.run("backup", "all", check=False)
    assert result.status == 1
    assert re.search(r"ERROR: .*server first not started", result.stderr)
    assert (len(first.backup_ids()), len(second.backup_ids())) == (0, 1)


@pytest.mark.pg(each=False)
def test_a_failed_copy_is_repeated_from_scratch(stream, cluster, scratch, record, verify):
    server = stream(cluster, basebackup_retry_times=1, basebackup_retry_sleep=0)
    tools = scratch / "tools"
    tools.mkdir(mode=0o755)
    for tool in cluster.installation.tools.iterdir():
        (tools / tool.name).symlink_to(tool)
    failing = tools / "pg_basebackup"
    failing.unlink()
    real = cluster.installation.tools / "pg_basebackup"
    # Fails once, after it has left something behind that would be in the way.
    failing.write_text(
        f"""#!/bin/sh
case "$*" in *--version*) exec {real} --version;; esac
for word; do case $word in --pgdata=*) data=${{word#--pgdata=}};; esac; done
if [ ! -e {server.directory}/failed-once ]; then
    touch {server.directory}/failed-once "$data/rubbish"
    echo "pg_basebackup: error: the network is down" >&2
    exit 1
fi
exec {real} "$@"
"""
    )
    failing.chmod(0o755)
    server.set(path_prefix=tools)
    result = server.run("backup")
    [backup_id] = server.backup_ids()
    assert "the network is down; trying again" in result.stderr
    assert not (server.base / backup_id / "data" / "rubbish").exists()
    verify(cluster, server, backup_id)


@pytest.mark.pg(each=False)
def test_without_a_retry_a_failed_copy_fails_the_backup(stream, cluster, record, scratch):
    cluster.tablespace("cold")
    server = stream(cluster, basebackup_retry_times=3)
    # The slowest way to find out: the server itself goes away while it copies.
    process = server.home.start("backup", "main", "--no-retry", "--bwlimit", "512")
    wait_until(lambda: any(server.base.glob("*/data/base")), "the copy is under way")
    cluster.crash()
    _, stderr = process.communicate(timeout=60)
    [backup_id] = server.backup_ids()
    taken = record(server, backup_id)
    assert process.returncode == 1
    assert stderr.decode().count("ERROR: ") == 1
    assert f"backup {backup_id} of server main failed copying files" in stderr.decode()
    assert taken.status.value == "FAILED"
    assert taken.error.startswith("failure copying files (")
    cluster.start()
    server.start_streaming(cluster)
    server.run("backup")
