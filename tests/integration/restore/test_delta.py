"""--delta-restore makes an existing data directory equal to a backup, and refuses what is not the cluster's."""

from __future__ import annotations

import os

import pytest

from tests.support.sshd import is_ssh_possible
from tests.support.users import give

WHERE = [
    "here",
    pytest.param("there", marks=pytest.mark.skipif(not is_ssh_possible(), reason="sshd or rsync is not installed")),
]


@pytest.fixture(params=WHERE)
def site(request, stream, cluster, scratch, clusters):
    """A server with a tablespace and a backup, and what restores it here or over ssh: run(*words), start()."""
    cluster.tablespace("cold")
    cluster.sql("create table frozen (id int, body text) tablespace cold")
    cluster.sql("insert into frozen select i, md5(i::text) from generate_series(1, 2000) i")
    cluster.load(300)
    server = stream(cluster)
    data = scratch / "again" / "data"
    data.parent.mkdir()
    give(data.parent)
    remote = ["--remote-ssh-command", request.getfixturevalue("sshd").command] if request.param == "there" else []
    options = [*remote, "--tablespace", f"cold:{data.parent / 'cold'}"]

    class Site:
        def __init__(self):
            self.server, self.cluster, self.data = server, cluster, data

        def run(self, backup, *words, check=True):
            return server.run("restore", backup, data, *options, *words, check=check)

        def start(self, name):
            return clusters.recover(cluster.installation, data, name=name)

    return Site()


def test_an_older_restore_becomes_the_backup_again(site):
    backup = site.server.backup()
    site.server.close_and_archive(site.cluster)
    site.run(backup)
    recovered = site.start("first")
    recovered.sql("create table junk as select generate_series(1, 10000) i")
    recovered.sql("truncate frozen")
    recovered.stop()
    (site.data / "left behind").write_text("x")

    assert "is not empty" in site.run(backup, check=False).stderr
    site.run(backup, "--delta-restore")
    again = site.start("second")

    assert again.checksums() == site.cluster.checksums()
    assert again.value("select count(*) from pg_class where relname = 'junk'") == 0
    assert not (site.data / "left behind").exists()


def test_an_earlier_backup_becomes_a_later_one_and_equal_files_stay(site):
    first = site.server.backup()
    site.cluster.load(500)
    site.cluster.sql("vacuum full frozen")
    second = site.server.backup()
    site.server.close_and_archive(site.cluster)
    site.run(first)
    kept = site.data / "base" / "1" / "PG_VERSION"
    before = kept.stat().st_ino

    site.run(second, "--delta-restore")

    assert kept.stat().st_ino == before
    assert site.start("second").checksums() == site.cluster.checksums()


@pytest.mark.pg(each=False)
@pytest.mark.parametrize("kind", ["inside", "elsewhere"])
def test_wal_that_is_there_stays_and_what_only_bears_its_name_goes(kind, site):
    backup = site.server.backup()
    for _ in range(3):
        site.cluster.load(50)
        site.server.close_and_archive(site.cluster)
    wal = site.data / "barman_wal" if kind == "inside" else site.data.parent / "wal"
    words = ["--target-immediate", "--target-action", "promote"]
    words += ["--staging-wal-directory", wal] if kind == "elsewhere" else []
    site.run(backup, *words)
    before = {path.name: (path.read_bytes(), path.stat()) for path in wal.iterdir() if path.is_file()}
    first, *others = sorted(name for name in before if len(name) == 24)
    # As PostgreSQL leaves it when it makes an old segment a later one: another's content, size and time.
    status = before[first][1]
    (wal / first).write_bytes(bytes(status.st_size))
    os.utime(wal / first, ns=(status.st_atime_ns, status.st_mtime_ns // 10**9 * 10**9))
    (wal / ("0" * 23 + "9")).write_text("stray")

    site.run(backup, "--delta-restore", *words)

    after = {path.name: (path.read_bytes(), path.stat()) for path in wal.iterdir() if path.is_file()}
    assert {name: content for name, (content, _) in after.items()} == {n: content for n, (content, _) in before.items()}
    assert [after[name][1].st_ino for name in others] == [before[name][1].st_ino for name in others]
    recovered = site.start("second")
    assert recovered.value("select count(*) from frozen") == 2000


@pytest.mark.pg(each=False)
def test_a_link_in_place_of_the_wal_directory_becomes_a_directory(site):
    backup = site.server.backup()
    site.server.close_and_archive(site.cluster)
    site.run(backup)
    elsewhere = site.data.parent / "elsewhere"
    (site.data / "pg_wal").rename(elsewhere)
    (site.data / "pg_wal").symlink_to(elsewhere)

    site.run(backup, "--delta-restore", "--target-immediate", "--target-action", "promote")

    assert not (site.data / "pg_wal").is_symlink()
    assert site.start("second").value("select count(*) from frozen") == 2000


def test_what_is_in_use_or_of_somebody_else_is_refused(site):
    backup = site.server.backup()
    site.server.close_and_archive(site.cluster)
    site.data.mkdir()
    give(site.data)
    photo = site.data / "photo"
    photo.touch()

    assert "holds no cluster" in site.run(backup, "--delta-restore", check=False).stderr
    photo.unlink()
    site.run(backup)
    stray = site.data.parent / "cold" / "photo"
    stray.touch()
    assert "'photo'" in site.run(backup, "--delta-restore", check=False).stderr
    stray.unlink()
    (site.data / "postmaster.pid").touch()
    assert "postmaster.pid" in site.run(backup, "--delta-restore", check=False).stderr
    (site.data / "postmaster.pid").unlink()
    control = site.data / "global" / "pg_control"
    content = control.read_bytes()
    control.write_bytes(b"12345678" + content[8:])
    assert "another cluster" in site.run(backup, "--delta-restore", check=False).stderr
    control.write_bytes(content)
    site.run(backup, "--delta-restore")


@pytest.mark.pg(">= 17", own_tools=True)
def test_chains_and_tarballs_are_restored_over_existing_files_too(site):
    site.server.set(backup_compression="gzip")
    full = site.server.backup()
    site.cluster.load(100)
    site.cluster.sql("checkpoint")
    site.cluster.switch_wal()
    incremental = site.server.backup("--incremental", full)
    site.server.close_and_archive(site.cluster)

    site.run(full)
    site.run(incremental, "--delta-restore")
    assert site.start("chain").checksums() == site.cluster.checksums()
    site.data.joinpath("postmaster.pid").unlink(missing_ok=True)
