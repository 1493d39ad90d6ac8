"""Encrypted backups and WAL: taken with the public key, restored with the passphrase, on a real PostgreSQL."""

from __future__ import annotations

import shutil

import pytest

from tests.support.gnupg import DECRYPTED, ENCRYPTED, needs_gpg
from tests.support.sshd import Sshd, is_ssh_possible

pytestmark = [needs_gpg, pytest.mark.pg(">= 15", own_tools=True, each=False)]

TARBALLS = {"backup_compression": "gzip", "backup_compression_format": "tar", "compression": "zstd"}


@pytest.fixture
def site(stream, cluster, ring):
    cluster.tablespace("cold")
    cluster.sql("create table frozen (id int, body text) tablespace cold")
    cluster.sql("insert into frozen select i, md5(i::text) from generate_series(1, 2000) i")
    cluster.load(300)
    return stream(cluster, **ENCRYPTED, **TARBALLS), cluster


def test_a_backup_comes_back_whole_with_its_wal(site, recover, scratch, ring):
    server, cluster = site
    backup = server.backup()
    cluster.load(300)
    server.close_and_archive(cluster)

    data = server.directory / "base" / backup / "data"
    names = sorted(path.name for path in data.iterdir())
    assert [name for name in names if name.endswith(".gpg")] == [name for name in names if ".tar" in name]
    assert "base.tar.gz.gpg" in names
    assert "backup_manifest" in names
    (shown,) = server.json("show-backup", backup).values()
    assert shown["base_backup_information"]["encryption"] == "gpg"
    assert "Encryption" in server.run("show-backup", backup).stdout
    checks = server.json("check")["main"]
    assert checks["encryption"]["status"] == "OK"

    words = ["--tablespace", f"cold:{scratch / 'back' / 'cold'}"]
    refused = server.run("restore", backup, scratch / "none" / "data", *words, check=False)
    assert refused.status == 1
    assert "is encrypted, and there is no passphrase" in refused.stderr

    server.set(encryption_passphrase_command="echo wrong")
    ring.forget()
    wrong = server.run(
        "restore", backup, scratch / "wrong" / "data", "--tablespace", f"cold:{scratch / 'w'}", check=False
    )
    assert wrong.status == 1
    errors = [line for line in wrong.stderr.splitlines() if line.startswith("ERROR")]
    assert len(errors) == 1
    assert "cannot decrypt" in errors[0]
    assert "Traceback" not in wrong.text

    server.set(**DECRYPTED)
    plan = server.json("restore", backup, scratch / "back" / "data", "--dry-run", *words)["plan"]
    assert plan["settings_changed"] is not None
    assert plan["not_known"] == []
    recovered = recover(server, cluster, backup, "back", *words)
    assert recovered.checksums() == cluster.checksums()


@pytest.mark.skipif(not is_ssh_possible(), reason="sshd or rsync is not installed")
def test_a_backup_is_decrypted_on_its_way_to_another_host(site, recover, scratch, sshd, ring):
    server, cluster = site
    server.set(encryption_passphrase_command="echo wrong")
    backup = server.backup()
    cluster.load(300)
    server.close_and_archive(cluster)

    def words(name):
        return ["--remote-ssh-command", sshd.command, "--tablespace", f"cold:{scratch / name / 'cold'}"]

    ring.forget()
    wrong = server.run("restore", backup, scratch / "wrong" / "data", *words("wrong"), check=False)
    assert wrong.status == 1
    assert len([line for line in wrong.stderr.splitlines() if line.startswith("ERROR")]) == 1
    assert "cannot decrypt" in wrong.stderr
    assert "Bad passphrase" in wrong.stderr

    server.set(**DECRYPTED)
    recovered = recover(server, cluster, backup, "there", *words("there"))
    assert recovered.checksums() == cluster.checksums()


@pytest.mark.skipif(not is_ssh_possible(), reason="sshd or rsync is not installed")
def test_encrypted_data_that_are_damaged_are_refused_by_another_host(site, scratch, sshd):
    server, cluster = site
    server.set(**DECRYPTED)
    backup = server.backup()
    server.close_and_archive(cluster)
    tarball = server.directory / "base" / backup / "data" / "base.tar.gz.gpg"
    content = bytearray(tarball.read_bytes())
    content[len(content) // 2] ^= 1
    tarball.write_bytes(content)

    words = ["--remote-ssh-command", sshd.command, "--tablespace", f"cold:{scratch / 'there' / 'cold'}"]
    refused = server.run("restore", backup, scratch / "there" / "data", *words, check=False)

    assert refused.status == 1
    (error,) = [line for line in refused.stderr.splitlines() if line.startswith("ERROR")]
    assert "base.tar.gz.gpg" in error
    assert "damaged" in error
    assert not (scratch / "there" / "data" / "global" / "pg_control").exists()


@pytest.mark.pg(">= 17", own_tools=True, each=False)
@pytest.mark.parametrize("is_there", [False, True], ids=["here", "there"])
def test_a_chain_of_encrypted_backups_is_combined(is_there, site, recover, scratch, request):
    server, cluster = site
    cluster.configure(summarize_wal="on")
    cluster.reload()
    server.set(**DECRYPTED)
    server.backup()
    cluster.load(200)
    child = server.backup("--incremental", "last-full")
    server.close_and_archive(cluster)

    words = ["--tablespace", f"cold:{scratch / 'chain' / 'cold'}"]
    if is_there:
        if not is_ssh_possible():
            pytest.skip("sshd or rsync is not installed")
        other = Sshd(scratch / "other", PATH=f"{cluster.installation.tools}:/usr/bin:/bin")
        request.addfinalizer(other.close)
        words += ["--remote-ssh-command", other.command, "--staging-location", "remote"]
        words += ["--staging-path", scratch / "staging"]
    recovered = recover(server, cluster, child, "chain", *words)
    assert recovered.checksums() == cluster.checksums()


def test_without_the_key_no_backup_begins_and_check_says_why(site, ring):
    server, _cluster = site
    shutil.rmtree(ring.path / "pubring.kbx", ignore_errors=True)
    (ring.path / "pubring.kbx").unlink(missing_ok=True)

    result = server.run("backup", check=False)

    assert result.status == 1
    assert "cannot encrypt for" in result.stderr
    assert server.backup_ids() == []
    checks = server.home.run("-f", "json", "check", "main", check=False).json()["main"]
    assert checks["encryption"]["status"] == "FAILED"
    assert "No public key" in checks["encryption"]["hint"]
