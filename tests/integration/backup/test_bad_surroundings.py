"""Copying files where something is not as it should be: one line says what, where and why."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.support.processes import run
from tests.support.sshd import Sshd
from tests.support.users import give

pytestmark = [
    pytest.mark.pg(each=False),
    pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed"),
]


@pytest.fixture
def copying(home, cluster):
    """Makes a server whose files are copied, one segment of it archived: copying(**options)."""

    def make(**options):
        server = home.copying(cluster, **options)
        server.start_streaming(cluster)
        server.close_and_archive(cluster)
        return server

    return make


def _refused(server, *said, env=None):
    """Ask for a backup that cannot be taken; all that is said is one error, which names these things."""
    result = server.home.run("backup", server.name, check=False, env=env)
    assert result.status == 1, result
    assert result.stderr.count("ERROR: ") == 1, result
    [error] = [line for line in result.stderr.splitlines() if line.startswith("ERROR: ")]
    for words in said:
        assert words in error, error
    assert len(result.stderr) < 600, result
    return result


def test_a_host_that_is_not_known_when_only_known_ones_are_let(copying, sshd):
    command = sshd.command.replace("ssh ", "ssh -o StrictHostKeyChecking=yes ", 1)
    server = copying(ssh=command)
    _refused(server, "@127.0.0.1", "Host key verification failed")
    assert server.backup_ids() == []


def test_a_host_with_another_key_than_it_had(copying, sshd, scratch):
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", scratch / "other"], check=True)
    public = (scratch / "other.pub").read_text().split()
    known = sshd.directory / "known_hosts"
    known.write_text(f"[127.0.0.1]:{sshd.port} {public[0]} {public[1]}\n")
    give(known)
    server = copying(ssh=sshd.command)
    _refused(server, "@127.0.0.1", "Host key verification failed")
    assert server.backup_ids() == []


def test_no_rsync_on_the_other_host(copying, scratch):
    if not shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin"):
        pytest.skip("sshd is not installed")
    bare = Sshd(scratch / "bare", PATH="/nonexistent")
    try:
        server = copying(ssh=bare.command)
        _refused(server, "@127.0.0.1", "rsync", "not found")
        assert server.backup_ids() == []
    finally:
        bare.close()


def test_an_rsync_on_the_other_host_that_is_too_old(copying, scratch):
    if not shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin"):
        pytest.skip("sshd is not installed")
    programs = scratch / "old"
    programs.mkdir()
    said = "rsync: on remote machine: --ignore-missing-args: unknown option"
    (programs / "rsync").write_text(
        f"#!/bin/sh\necho '{said}' >&2\n"
        "echo 'rsync error: syntax or usage error (code 1) at main.c(1231) [server=2.6.9]' >&2\nexit 1\n"
    )
    (programs / "rsync").chmod(0o755)
    old = Sshd(scratch / "sshd-old", PATH=f"{programs}:/usr/bin:/bin")
    try:
        server = copying(ssh=old.command)
        result = _refused(server, "@127.0.0.1", "--ignore-missing-args: unknown option")
        assert "HINT: rsync 3.1 or newer is needed on both hosts" in result.stderr
        assert server.backup_ids() == []
    finally:
        old.close()


def test_no_rsync_on_this_host(copying, sshd, scratch):
    programs = scratch / "programs"
    programs.mkdir()
    for name in ("ssh", "setpriv", "sh", "ps"):
        found = shutil.which(name)
        if found is not None:
            (programs / name).symlink_to(found)
    server = copying(ssh=sshd.command)
    _refused(server, "rsync", "No such file", env=server.home.environment(PATH=str(programs)))
    assert server.backup_ids() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files that somebody else may not read")
def test_a_file_the_other_host_does_not_let_us_read(copying, cluster, sshd):
    secret = cluster.data / "base" / "secret"
    secret.write_text("x")
    secret.chmod(0)
    server = copying(ssh=sshd.command, parallel_jobs=2)
    result = _refused(server, "@127.0.0.1", str(secret), "Permission denied", "failed copying files")
    assert "HINT: Log in there as a user who may read every file" in result.stderr
    [only] = server.json("list-backups")["main"]
    assert only["status"] == "FAILED"
    assert not list(server.base.glob("*/.copying/*/*"))
    secret.unlink()


@pytest.mark.parametrize("way", ["here", "ssh"])
def test_a_tablespace_within_the_data_directory_is_copied_once(
    way, copying, cluster, clusters, installation, scratch, request
):
    location = cluster.data / "inside"
    location.mkdir()
    give(location, 0o700)
    cluster.sql(f"create tablespace inside location '{location}'")
    cluster.sql("create table within tablespace inside as select generate_series(1, 1000) as number")
    server = copying(ssh=request.getfixturevalue("sshd").command if way == "ssh" else None)
    backup_id = server.backup("--wait", "--wait-timeout", "60")
    relation = cluster.value("select pg_relation_filenode('within')")
    assert len([path for path in (server.base / backup_id).rglob(str(relation)) if path.is_file()]) == 1
    moved = ("--tablespace", f"inside:{scratch / 'moved'}")
    destination = server.restore(backup_id, scratch / "restored" / "data", *moved)
    restored = clusters.recover(installation, destination, "recovered")
    assert restored.checksums() == cluster.checksums()
