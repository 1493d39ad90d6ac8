"""Backups that must not be taken."""

from __future__ import annotations

import fcntl
import re

import pytest

pytestmark = pytest.mark.pg(each=False)


def test_another_cluster_under_the_same_name_is_refused(stream, cluster, clusters, installation):
    server = stream(cluster)
    server.run("backup")
    identity = (server.directory / "identity.json").read_bytes()
    other = clusters.make(installation, "other", fresh=True)
    server.set(conninfo=other.conninfo(), streaming_conninfo=other.streaming_conninfo())
    result = server.run("backup", check=False)
    assert result.status == 1
    assert result.stderr.count("ERROR: ") == 1
    assert "systemid" in result.stderr or "system identifier" in result.stderr
    assert len(server.backup_ids()) == 1
    assert (server.directory / "identity.json").read_bytes() == identity


@pytest.mark.parametrize("name", ["latest", "20260101T000000", ""])
def test_a_name_that_would_be_ambiguous(name, stream, cluster):
    server = stream(cluster)
    result = server.run("backup", "--name", name, check=False)
    assert result.status != 0
    assert "cannot be named" in result.stderr
    assert server.backup_ids() == []


def test_while_another_backup_runs(stream, cluster, home):
    server = stream(cluster)
    lock = home.path / ".main-backup.lock"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        lock.chmod(0o666)
        result = server.run("backup", check=False)
    assert result.status == 1
    assert re.search(r"ERROR: another process is already backing up", result.stderr)
    assert server.backup_ids() == []


def test_a_failed_check_that_matters(stream, cluster):
    server = stream(cluster)
    server.set(slot_name="another_slot")
    result = server.run("backup", check=False)
    assert result.status == 1
    assert re.search(r"ERROR: backup of server main not started, failed checks: replication slot", result.stderr)
    assert "HINT: See 'barman check main'." in result.stderr
    assert server.backup_ids() == []


def test_a_method_that_is_not_there(stream, cluster):
    server = stream(cluster)
    server.set(backup_method="local-to-cloud")
    result = server.run("backup", check=False)
    assert result.status == 1
    assert "Traceback" not in result.stderr
    assert server.backup_ids() == []


def test_what_should_be_encrypted_is_not_stored_in_the_clear(stream, cluster):
    server = stream(cluster)
    tarballs = {"backup_compression": "gzip", "backup_compression_format": "tar"}
    server.set(encryption="gpg", encryption_key_id="somebody", **tarballs)
    result = server.run("backup", check=False)
    assert result.status == 1
    assert "encrypt" in result.stderr
    assert server.backup_ids() == []
