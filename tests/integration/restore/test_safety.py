"""What a restore refuses, what it never leaves behind, and what a restored cluster can never do to its origin."""

from __future__ import annotations

import os
import re
import signal
import stat

import pytest

from tests.support.ledger import Ledger, steps_in
from tests.support.processes import run_for_peak, wait_until
from tests.support.users import give

pytestmark = pytest.mark.pg(">= 15", own_tools=True, each=False)


@pytest.fixture
def site(stream, cluster):
    """A server with a backup of a loaded cluster, and the backup's id."""
    cluster.load(300)
    server = stream(cluster)
    backup = server.backup()
    server.close_and_archive(cluster)
    return server, backup


def _refused(server, *words):
    result = server.run("restore", *words, check=False)
    assert result.status == 1, result
    assert "Traceback" not in result.stdout + result.stderr
    assert len(re.findall(r"^ERROR: ", result.stderr, re.MULTILINE)) == 1, result.stderr
    return result.stderr


def test_destinations_that_cannot_be_used_are_refused(site, scratch):
    server, backup = site
    full = scratch / "full"
    full.mkdir()
    (full / ".hidden").touch()
    closed = scratch / "closed"
    closed.mkdir(mode=0o500)
    a_file = scratch / "file"
    a_file.touch()

    assert "is not empty" in _refused(server, backup, full)
    assert "must not contain ':'" in _refused(server, backup, scratch / "a:b")
    assert "own directory" in _refused(server, backup, server.base / "inside")
    assert "Permission denied" in _refused(server, backup, closed / "data")
    assert "not a directory" in _refused(server, backup, a_file)
    assert "not a directory" in _refused(server, backup, a_file / "data")
    assert not (scratch / "a:b").exists()


def test_what_contradicts_itself_is_refused_before_anything_is_written(site, scratch):
    server, backup = site
    data = scratch / "never"
    for words in (
        ["--target-time", "2000-01-01 00:00:00"],
        ["--target-time", "yesterdayish"],
        ["--target-name", "x", "--target-xid", "700"],
        ["--target-action", "promote"],
        ["--target-lsn", "0/10"],
        ["--target-lsn", "nonsense"],
        ["--exclusive"],
        ["--exclusive", "--target-name", "x"],
        ["--target-tli", "0"],
        ["--target-tli", "7"],
        ["--tablespace", "nosuch:/tmp/x"],
        ["--remote-ssh-command", "ssh nowhere"],
        ["--network-compression"],
        ["--snapshot-recovery-instance", "x"],
    ):
        _refused(server, backup, data, *words)
        assert not data.exists(), words
    assert "20010101T000000" in _refused(server, "20010101T000000", data)
    _refused(server, "auto", data, "--target-name", "x")


def test_a_backup_that_is_not_complete_is_refused(site, scratch):
    server, backup = site
    tablespace_map = server.base / backup / "data" / "global" / "pg_control"
    content = tablespace_map.read_bytes()
    tablespace_map.unlink()
    assert "is not complete" in _refused(server, backup, scratch / "data")
    tablespace_map.write_bytes(content)
    (server.directory / "meta" / f"{backup}-delete_this").write_text("delete")
    assert "being deleted" in _refused(server, backup, scratch / "data")


def test_the_restored_cluster_cannot_archive_or_follow(cluster, stream, clusters, scratch):
    (cluster.data / "more.d").mkdir()
    give(cluster.data / "more.d", 0o700)
    included = cluster.data / "more.d" / "10-archive.conf"
    included.write_text("ARCHIVE_COMMAND = '/bin/true live'\n")
    give(included)
    outside = scratch / "outside.conf"
    outside.write_text("archive_command = '/bin/true elsewhere'\n")
    give(outside)
    cluster.configure(archive_mode="on", archive_command="/bin/true", primary_conninfo="host=production")
    with (cluster.data / "postgresql.conf").open("a") as conf:
        conf.write(f"include_dir 'more.d'\ninclude '{outside}'\n")
    cluster.sql("alter system set recovery_target_name = 'old'")
    cluster.restart()
    server = stream(cluster)
    backup = server.backup()
    server.close_and_archive(cluster)

    done = server.json("restore", backup, scratch / "data")
    data = scratch / "data"
    restored = clusters.adopt(cluster.installation, data)
    restored.start(fsync="off")
    restored.wait_until_recovered()

    for setting in ("archive_command", "primary_conninfo", "recovery_target_name"):
        assert restored.value(f"select setting from pg_settings where name = '{setting}'") in ("false", "")
    changed = {(change[0], change[2]) for change in done["changes"]}
    assert {("postgresql.conf", "archive_command"), ("more.d/10-archive.conf", "archive_command")} <= changed
    assert ("postgresql.auto.conf", "recovery_target_name") in changed
    assert done["changes_count"] == len(done["changes"])
    assert {warning[2] for warning in done["warnings"]} >= {"include", "include_dir"}
    assert str(outside) in str(done["_WARNING"])
    assert "ARCHIVE_COMMAND = '/bin/true live'" in (data / "more.d" / "10-archive.conf.origin").read_text()
    assert (data / "postgresql.conf.origin").exists()


def test_a_backup_of_a_standby_does_not_become_one_unless_asked(cluster, clusters, home, scratch):
    ledger = Ledger(cluster)
    standby = clusters.standby_of(cluster)
    for one in (cluster, standby):
        one.configure(archive_mode="on", archive_command=f"cp %p {home.path}/main/incoming/%f")
    server = home.server(
        conninfo=standby.conninfo(),
        streaming_conninfo=standby.streaming_conninfo(),
        primary_conninfo=cluster.conninfo(),
        backup_method="postgres",
        archiver="on",
        path_prefix=cluster.installation.tools,
        immediate_checkpoint="true",
    )
    server.run("check", check=False)
    cluster.restart()
    standby.restart()
    server.close_and_archive(cluster)
    backup = server.backup("--wait", "--wait-timeout", "60")
    ledger.step()
    server.close_and_archive(cluster)

    server.run("restore", backup, scratch / "alone")
    server.run("restore", backup, scratch / "second", "--standby-mode")

    alone = clusters.recover(cluster.installation, scratch / "alone", name="alone-server")
    assert steps_in(alone) == [1]
    assert not (scratch / "alone" / "standby.signal").exists()
    assert alone.value("show primary_conninfo") == ""
    follower = clusters.adopt(cluster.installation, scratch / "second", name="follower")
    follower.start(archive_mode="off", primary_conninfo="")
    assert follower.value("select pg_is_in_recovery()")
    wait_until(lambda: steps_in(follower) == [1], "the standby has replayed the WAL it was given")
    # the setting of the origin is still in the files
    assert "primary_conninfo" in (scratch / "second" / "postgresql.auto.conf").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_restore_cannot_be_started(number, site, home, scratch):
    server, backup = site
    data = scratch / "data"
    process = home.start("restore", "main", backup, data, "--bwlimit", "2048")
    wait_until((data / "base").exists, "files are being copied")

    process.send_signal(number)
    _, errors = process.communicate(timeout=30)

    assert process.returncode != 0
    assert b"Traceback" not in errors
    assert not (data / "global" / "pg_control").exists()
    assert "is not empty" in _refused(server, backup, data)
    server.run("delete", backup)


def test_a_backup_is_not_deleted_while_it_is_restored(site, home, scratch):
    server, backup = site
    data = scratch / "data"
    with home.start("restore", "main", backup, data, "--bwlimit", "2048") as process:
        wait_until((data / "base").exists, "files are being copied")
        refused = server.run("delete", backup, check=False)
        process.terminate()
        process.communicate(timeout=30)

    assert refused.status == 1
    assert backup in server.backup_ids()


def test_a_catalogue_that_cannot_be_written_still_gives_back(site, home, scratch):
    server, backup = site
    directories = [home.path, *(path for path in home.path.rglob("*") if path.is_dir() and not path.is_symlink())]
    for directory in directories:
        directory.chmod(0o500)
    try:
        server.run("restore", backup, scratch / "data")
    finally:
        for directory in directories:
            directory.chmod(0o700)
    assert (scratch / "data" / "global" / "pg_control").exists()


def test_owner_modes_and_leftovers(site, scratch):
    server, backup = site
    data = scratch / "data"

    server.run("restore", backup, data)

    assert stat.S_IMODE(os.stat(data).st_mode) == 0o700
    assert (data / f"backup_manifest.{backup}").exists()
    assert (data / ".barman-recover.info").read_text().startswith("backup_label=")
    assert (data / "recovery.signal").exists()
    segments = [entry.name for entry in (data / "pg_wal").iterdir() if entry.is_file()]
    done = [entry.name for entry in (data / "pg_wal" / "archive_status").iterdir()]
    assert sorted(done) == sorted(f"{name}.done" for name in segments)
    assert not list(data.glob("**/.*.tmp"))


def test_hooks_see_what_is_done_and_may_veto(site, scratch):
    server, backup = site
    seen = scratch / "seen"
    server.set(
        pre_recovery_script=f"env > {seen}.pre", post_recovery_retry_script=f"env > {seen}.post",
        pre_recovery_retry_script="exit 63",
    )  # fmt: skip
    assert "stop" in _refused(server, backup, scratch / "data", "--target-name", "switch")
    assert not (scratch / "data").exists()
    server.set(pre_recovery_retry_script=None)
    server.run("restore", backup, scratch / "data", "--target-name", "switch")
    for phase in ("pre", "post"):
        environment = dict(
            line.split("=", 1) for line in (scratch / f"seen.{phase}").read_text().splitlines() if "=" in line
        )
        assert environment["BARMAN_DESTINATION_DIRECTORY"] == str(scratch / "data")
        assert environment["BARMAN_BACKUP_ID"] == backup
        assert environment["BARMAN_RECOVER_OPTIONS"] == '{"target_name": "switch"}'


def test_memory_stays_small(cluster, stream, home, scratch):
    server = stream(cluster, compression="zstd", backup_compression="gzip")
    backup = server.backup()
    for _ in range(3):
        cluster.load(50_000)
        server.close_and_archive(cluster)
    restore = home.argv("restore", "main", backup, scratch / "data", "--jobs", "4")

    _, peak_kib = run_for_peak(restore, env=home.environment())

    assert peak_kib < 150 * 1024
