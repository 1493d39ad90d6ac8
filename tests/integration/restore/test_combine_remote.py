"""Chains of incremental backups that are combined on the host they are restored to."""

from __future__ import annotations

import shutil

import pytest

from tests.support.ledger import Ledger, steps_in
from tests.support.processes import wait_until
from tests.support.sshd import Sshd, is_ssh_possible
from tests.support.users import give

pytestmark = [
    pytest.mark.skipif(not is_ssh_possible(), reason="sshd or rsync is not installed"),
    pytest.mark.pg(">= 17", own_tools=True),
]


class _OtherHost:
    """A login, and the programs it finds; its staging directory."""

    def __init__(self, scratch):
        self.programs = scratch / "programs"
        self.programs.mkdir()
        self.sshd = Sshd(scratch / "other", PATH=f"{self.programs}:/usr/bin:/bin")
        self.staging = scratch / "staging-there"
        self.log = scratch / "combined"

    def has(self, tool, *, then='exec "$0" "$@"'):
        """Have pg_combinebackup there; then: shell text, run for all but --version, $0 is the program."""
        wrapper = self.programs / "pg_combinebackup"
        real = shutil.which("pg_combinebackup", path=str(tool))
        body = f'[ "$1" = --version ] && exec {real} --version\necho "$@" >>{self.log}\n'
        wrapper.write_text(f"#!/bin/sh\n{body}exec sh -c '{then}' {real} \"$@\"\n")
        wrapper.chmod(0o755)
        self.log.touch()
        give(self.log)

    @property
    def words(self):
        login = ["--remote-ssh-command", self.sshd.command]
        return [*login, "--staging-location", "remote", "--staging-path", self.staging]


@pytest.fixture
def there(scratch):
    host = _OtherHost(scratch)
    yield host
    host.sshd.close()


@pytest.fixture
def chain(stream, cluster, scratch):
    """Makes a chain of three with a tablespace: chain(**options) returns its server, and the steps of a ledger."""
    cluster.tablespace("cold")
    cluster.sql("create table frozen (id int, body text) tablespace cold")
    cluster.sql("insert into frozen select i, md5(i::text) from generate_series(1, 2000) i")
    cluster.load(300)

    def make(**options):
        server = stream(cluster, staging_path=scratch / "staging-here", **options)
        ledger = Ledger(cluster)
        server.backup()
        for _ in range(2):
            ledger.step()
            cluster.load(100)
            cluster.sql("update frozen set body = 'changed' where id % 100 = 0")
            cluster.sql("checkpoint")
            cluster.switch_wal()
            server.backup("--incremental", "latest")
        ledger.step()
        server.close_and_archive(cluster)
        return server

    return make


def _left(directory):
    return list(directory.iterdir()) if directory.exists() else []


@pytest.mark.parametrize("options", [{}, {"backup_compression": "gzip"}], ids=["plain", "tar"])
@pytest.mark.parametrize("words", [["--combine-mode", "link", "--jobs", "2"], []], ids=["link", "copy"])
def test_a_chain_comes_back_whole_and_needs_no_room_and_no_program_here(
    options, words, chain, there, cluster, recover, scratch
):
    server = chain(**options)
    there.has(cluster.installation.tools)
    server.set(path_prefix="/nonexistent")
    for data in server.base.glob("*/data"):
        data.chmod(0o750)
    cold = scratch / "back" / "cold"

    recovered = recover(
        server, cluster, "latest", "back", *there.words, *words, "--tablespace", f"cold:{cold}", "--delta-restore"
    )

    assert steps_in(recovered) == [1, 2, 3]
    assert recovered.checksums() == cluster.checksums()
    assert [link.readlink() for link in (recovered.data / "pg_tblspc").iterdir()] == [cold]
    assert not list(recovered.data.glob("**/INCREMENTAL.*"))
    assert not list(recovered.data.glob(".barman-combine*"))
    assert not (recovered.data / ".barman-incomplete").exists()
    assert recovered.data.stat().st_mode & 0o777 == 0o750
    [manifest] = recovered.data.glob("backup_manifest.*")
    assert manifest.stat().st_mode & 0o777 == 0o640
    assert not _left(there.staging)
    assert not _left(scratch / "staging-here")
    assert ("--link" in there.log.read_text()) == (bool(words) and cluster.major >= 18)


@pytest.mark.pg(each=False)
def test_a_host_without_the_program_of_that_version_is_refused_before_a_byte_is_sent(chain, there, cluster, scratch):
    server = chain()
    destination = scratch / "back" / "data"
    words = [*there.words, "--tablespace", f"cold:{scratch / 'back' / 'cold'}"]

    for said in ("", "pg_combinebackup (PostgreSQL) 99.1"):
        if said:
            program = there.programs / "pg_combinebackup"
            program.write_text(f"#!/bin/sh\necho '{said}'\n")
            program.chmod(0o755)
        done = server.run("restore", "latest", destination, *words, check=False)
        assert done.status == 1
        assert f"there is no pg_combinebackup of PostgreSQL {cluster.major} on " in done.stderr
        assert ("is of version 99.1" in done.stderr) == bool(said)
        assert f"Install the programs of PostgreSQL {cluster.major} there" in done.stderr
        assert not destination.exists()
        assert not there.staging.exists()


@pytest.mark.pg(each=False)
def test_a_dry_run_says_where_a_chain_is_combined_and_what_room_that_takes(chain, there, cluster, scratch):
    server = chain()
    there.has(cluster.installation.tools)
    destination = scratch / "back" / "data"
    words = [*there.words, "--tablespace", f"cold:{scratch / 'back' / 'cold'}", "--dry-run"]

    shown = server.run("restore", "latest", destination, *words).stdout
    plan = server.json("restore", "latest", destination, *words)["plan"]

    assert f"combined by pg_combinebackup on the other host, in {there.staging}" in shown
    assert plan["staging_there"] == str(there.staging)
    assert plan["staged"] == plan["chain"]
    [room] = [room for room in plan["room"] if room["what"] == "staging"]
    assert room["path"] == str(there.staging)
    assert room["size_bytes"] > 20 << 20
    assert all(" on " in mount["path"] for mount in plan["mounts"])


@pytest.mark.pg(each=False)
def test_when_combining_fails_the_staging_goes_and_the_next_restore_goes_on(chain, there, cluster, recover, scratch):
    server = chain()
    there.has(cluster.installation.tools, then="echo pg_combinebackup: error: no luck >&2; exit 1")
    destination = scratch / "back" / "data"
    words = [*there.words, "--tablespace", f"cold:{scratch / 'back' / 'cold'}"]
    destination.parent.mkdir()
    give(destination.parent)

    failed = server.run("restore", "latest", destination, *words, check=False)

    assert failed.status == 1
    assert "no luck" in failed.stderr
    assert not _left(there.staging)
    assert (destination / ".barman-incomplete").exists()
    assert not (destination / "global" / "pg_control").exists()
    there.has(cluster.installation.tools)
    recovered = recover(server, cluster, "latest", "back", *words, "--delta-restore")
    assert recovered.checksums() == cluster.checksums()


@pytest.mark.pg(each=False)
def test_files_that_are_lost_while_a_chain_is_combined_are_named_and_the_rest_is_restored(
    chain, there, cluster, scratch
):
    server = chain()
    destination = scratch / "back" / "data"
    lost = destination / ".barman-combine" / "base" / "1" / "PG_VERSION"
    there.has(cluster.installation.tools, then=f'"$0" "$@" && rm {lost}')
    words = [*there.words, "--tablespace", f"cold:{scratch / 'back' / 'cold'}"]

    done = server.run("restore", "latest", destination, *words, check=False)

    assert done.status == 1
    assert "is damaged: base/1/PG_VERSION is missing" in done.stderr
    assert (destination / "global" / "pg_control").exists()


@pytest.mark.pg(each=False)
def test_a_kill_while_a_chain_is_combined_leaves_nothing_that_starts_and_no_staging(
    chain, there, cluster, recover, scratch, home
):
    server = chain()
    mark = scratch / "combining"
    mark.mkdir()
    give(mark)
    there.has(cluster.installation.tools, then=f"echo $$ >{mark}/pid; exec sleep 3600")
    destination = scratch / "back" / "data"
    destination.parent.mkdir()
    give(destination.parent)
    words = [*there.words, "--tablespace", f"cold:{scratch / 'back' / 'cold'}"]
    process = home.start("restore", "main", "latest", destination, *words)
    wait_until(lambda: (mark / "pid").exists() and (mark / "pid").read_text().strip(), "the chain is combined")
    assert _left(there.staging)

    process.kill()
    process.communicate(timeout=60)

    wait_until(lambda: not _left(there.staging), "the staging has been removed", timeout_s=120)
    assert not (destination / "global" / "pg_control").exists()
    there.has(cluster.installation.tools)
    recovered = recover(server, cluster, "latest", "back", *words, "--delta-restore")
    assert recovered.checksums() == cluster.checksums()
