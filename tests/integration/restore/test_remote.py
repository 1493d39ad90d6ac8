"""Restores to another host: whole, over few logins, and refused with one line when they cannot be done."""

from __future__ import annotations

import os

import pytest

from tests.support.ledger import Ledger, steps_in
from tests.support.sshd import is_ssh_possible
from tests.support.users import give

pytestmark = pytest.mark.skipif(not is_ssh_possible(), reason="sshd or rsync is not installed")


@pytest.fixture
def site(stream, cluster):
    """A loaded cluster with a tablespace, and what makes its server."""
    cluster.tablespace("cold")
    cluster.sql("create table frozen (id int, body text) tablespace cold")
    cluster.sql("insert into frozen select i, md5(i::text) from generate_series(1, 2000) i")
    cluster.load(300)
    return cluster, stream


@pytest.fixture
def recover_there(recover, scratch, sshd):
    """Restores over ssh and starts the cluster: recover_there(server, cluster, backup, *options)."""

    def run(server, cluster, backup, *words):
        cold = scratch / "there" / "cold"
        options = ["--remote-ssh-command", sshd.command, "--tablespace", f"cold:{cold}", *words]
        return recover(server, cluster, backup, "there", *options)

    return run


def _logins(sshd):
    return (sshd.directory / "sshd.log").read_text().count("Accepted publickey")


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_plain_backup_comes_back_whole_over_one_login_per_worker(jobs, site, recover_there, sshd):
    cluster, stream = site
    server = stream(cluster, compression="pygzip")
    backup = server.backup()
    cluster.load(300)
    server.close_and_archive(cluster)

    recovered = recover_there(server, cluster, backup, "--jobs", jobs)

    assert recovered.checksums() == cluster.checksums()
    assert _logins(sshd) == jobs
    assert recovered.data.stat().st_mode & 0o777 == 0o700
    links = [os.readlink(entry) for entry in (recovered.data / "pg_tblspc").iterdir()]
    assert links == [str(recovered.data.parent / "cold")]
    assert not list(recovered.data.rglob("*.barman*")) or (recovered.data / ".barman-recover.info").exists()
    assert not (recovered.data / ".barman-incomplete").exists()
    assert (recovered.data / f"backup_manifest.{backup}").exists()


@pytest.mark.pg(each=False)
@pytest.mark.parametrize("where", ["here", "there"])
def test_files_that_are_lost_in_the_backup_are_named_and_the_rest_is_restored(where, site, scratch, sshd):
    cluster, stream = site
    server = stream(cluster)
    backup = server.backup()
    server.close_and_archive(cluster)
    data = server.base / backup / "data"
    frozen = cluster.value("select pg_relation_filepath('frozen')")
    (data / "base" / "1" / "PG_VERSION").unlink()
    with (data / frozen).open("r+b") as file:
        file.truncate(8192)
    destination = scratch / "there" / "data"
    destination.parent.mkdir()
    give(destination.parent)
    options = ["--remote-ssh-command", sshd.command] if where == "there" else []

    cold = f"cold:{scratch / 'there' / 'cold'}"
    done = server.run("restore", backup, destination, "--tablespace", cold, *options, check=False)

    assert done.status == 1
    assert f"ERROR: backup {backup} is damaged: base/1/PG_VERSION is missing" in done.stderr
    assert f"ERROR: backup {backup} is damaged: {frozen} has 8192 bytes instead of" in done.stderr
    assert done.stderr.count("ERROR") == 2
    assert "successfully" not in done.stdout
    assert (destination / "global" / "pg_control").exists()


def test_recovery_stops_at_the_target(site, recover_there):
    cluster, stream = site
    server = stream(cluster)
    ledger = Ledger(cluster)
    ledger.step()
    backup = server.backup()
    ledger.go_to(3)
    server.close_and_archive(cluster)

    words = ["--target-lsn", ledger.steps[1].lsn, "--target-action", "promote", "--network-compression"]
    recovered = recover_there(server, cluster, backup, *words)

    assert steps_in(recovered) == [1, 2]
    assert recovered.value("show archive_command") in ("false", "(disabled)")


@pytest.mark.parametrize(
    ("algorithm", "words"), [("none", []), ("none", ["--network-compression"]), ("gzip", [])], ids=str
)
def test_tarballs_are_unpacked_there_without_being_staged(algorithm, words, site, recover_there, scratch):
    cluster, stream = site
    staging = scratch / "staging"
    server = stream(cluster, backup_compression=algorithm, staging_path=staging)
    backup = server.backup()
    server.close_and_archive(cluster)

    recovered = recover_there(server, cluster, backup, *words)

    assert recovered.checksums() == cluster.checksums()
    assert not staging.exists()
    assert not (recovered.data / "tablespace_map").exists()


@pytest.mark.pg(">= 15", own_tools=True, built_with=("lz4", "zstd"))
@pytest.mark.parametrize("algorithm", ["lz4", "zstd"])
def test_tarballs_of_faster_algorithms_are_unpacked_there(algorithm, site, recover_there):
    cluster, stream = site
    server = stream(cluster, backup_compression=algorithm, backup_compression_location="server")
    backup = server.backup()
    server.close_and_archive(cluster)

    assert recover_there(server, cluster, backup).checksums() == cluster.checksums()


@pytest.mark.pg(">= 17", own_tools=True)
@pytest.mark.parametrize("options", [{}, {"backup_compression": "gzip"}], ids=["plain", "tar"])
def test_incremental_chains_are_combined_here_and_sent(options, site, recover_there, scratch):
    cluster, stream = site
    staging = scratch / "staging"
    server = stream(cluster, staging_path=staging, **options)
    server.backup()
    cluster.load(100)
    cluster.sql("checkpoint")
    cluster.switch_wal()
    backup = server.backup("--incremental", "latest")
    server.close_and_archive(cluster)

    recovered = recover_there(server, cluster, backup)

    assert recovered.checksums() == cluster.checksums()
    assert not list(recovered.data.glob("**/INCREMENTAL.*"))
    assert not list(staging.iterdir())


@pytest.mark.pg(">= 17", own_tools=True)
def test_a_chain_is_combined_with_links_where_that_is_possible_and_its_backups_stay_as_they_are(
    site, recover_there, scratch, home
):
    cluster, stream = site
    server = stream(cluster, staging_path=home.path)
    server.backup()
    cluster.load(100)
    cluster.sql("checkpoint")
    cluster.switch_wal()
    backup = server.backup("--incremental", "latest")
    server.close_and_archive(cluster)
    before = {path: path.read_bytes() for path in server.base.rglob("*") if path.is_file()}

    recovered = recover_there(server, cluster, backup, "--combine-mode", "link")

    assert recovered.checksums() == cluster.checksums()
    assert {path: path.read_bytes() for path in server.base.rglob("*") if path.is_file()} == before
    assert ("files are copied" in home.log_text()) == (cluster.major < 18)
