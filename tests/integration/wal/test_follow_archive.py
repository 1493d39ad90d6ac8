"""A standby that knows its primary only through barman-wal-restore, for hundreds of segments and over a switch."""

from __future__ import annotations

import pytest

from tests.support.processes import environment, run, wait_until
from tests.support.users import give
from tests.support.wal import MIB

HALF = 250

# As in docs/wal-transfer.md, but for the names.
ARCHIVE_COMMAND = (
    'grep -qsxF "$(stat -c "main barman@localhost {conf} %%d %%i %%s %%.9Y %%.9Z" %p)" {spool}/%f.sent'
    " || {program} --batch 32 --zstd --spool-dir {spool} -c {conf} localhost main %p"
)


RESTORE_COMMAND = (
    "{{ read -r known < {spool}/.cluster; }} 2>/dev/null"
    ' && test "$known" = "main barman@localhost {conf}$(od -An -tu8 -N8 global/pg_control)"'
    " && mv -f {spool}/%f %p 2>/dev/null && echo %f >> {taken}"
    " || {program} -p 8 --spool-dir {spool} -c {conf} localhost main %f %p"
)


class Site:
    """A Barman home with one server, and ssh that counts its calls."""

    def __init__(self, home, scratch):
        self.home, self.scratch = home, scratch
        self.server = home.server(
            "main", conninfo=f"host={scratch}", backup_method="postgres", archiver="on", compression="zstd"
        )
        self.server.archive_command()
        self.log = scratch / "ssh.log"
        bindir = scratch / "bin"
        bindir.mkdir()
        ssh = bindir / "ssh"
        ssh.write_text(f'#!/bin/sh\necho "$*" >> {self.log}\nexec {home.directory}/bin/ssh "$@"\n')
        ssh.chmod(0o755)
        self.path = f"PATH={bindir}:$PATH "

    def archive_command(self, cluster):
        spool = cluster.directory / "sent"
        program = self.path + str(self.home.programs / "barman-wal-archive")
        return ARCHIVE_COMMAND.format(conf=self.home.conf, spool=spool, program=program)

    def restore_command(self, spool):
        program = self.path + str(self.home.programs / "barman-wal-restore")
        return RESTORE_COMMAND.format(conf=self.home.conf, spool=spool, program=program, taken=f"{spool}.taken")

    def taken_by_shells(self, cluster):
        return (cluster.directory / "ahead.taken").read_text().split()

    def calls(self, word):
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return sum(word in line for line in lines)


@pytest.fixture
def site(home, scratch):
    return Site(home, scratch)


@pytest.fixture
def make_standby(clusters, scratch, site):
    """Make a standby of a primary that only its archive leads to, and start it."""

    def make(primary, name):
        data = scratch / f"{name}-data"
        tool = primary.installation.tools / "pg_basebackup"
        words = ["-d", primary.conninfo("postgres"), "-X", "none", "-c", "fast", "--no-sync", "-D", data]
        run([tool, *words], env=environment(scratch), check=True)
        standby = clusters.adopt(primary.installation, data, name)
        (data / "standby.signal").touch()
        give(data / "standby.signal")
        standby.configure(
            restore_command=site.restore_command(standby.directory / "ahead"),
            recovery_target_timeline="latest",
            wal_retrieve_retry_interval="200ms",
            archive_command=site.archive_command(standby),
        )
        standby.start()
        return standby

    return make


def write_segments(cluster, count):
    """Fill so many segments, and a row that tells how far it is."""
    with cluster.connect() as session:
        for number in range(count):
            session.execute("select pg_logical_emit_message(false, 'x', repeat(md5(%s::text), 33000))", (number,))
            session.execute("insert into progress values (%s)", (number,))
    cluster.switch_wal()


@pytest.mark.timeout(900)
@pytest.mark.pg(each=False)
def test_a_standby_follows_the_archive_for_500_segments_and_over_a_timeline_switch(
    clusters, installation, site, make_standby
):
    primary = clusters.make(installation, segment_size=MIB, settings={"max_wal_size": "1GB", "wal_level": "replica"})
    primary.archive_with(site.archive_command(primary))
    primary.sql("create table progress (n int)")
    follower = make_standby(primary, "follower")
    write_segments(primary, HALF - 20)
    heir = make_standby(primary, "heir")
    write_segments(primary, 20)
    site.server.run("archive-wal")
    wait_until(lambda: count(heir) == HALF, "the heir has all of it", timeout_s=300)
    primary.stop()
    heir.promote()
    heir.wait_until_recovered()
    write_segments(heir, HALF)
    site.server.run("archive-wal")
    wait_until(lambda: count(follower) == 2 * HALF, "the follower has all of it", timeout_s=300)
    assert follower.checksums() == heir.checksums()
    site.server.run("archive-wal")
    archived = site.server.archived_wals()
    assert "00000002.history" in archived
    assert sum(name.startswith("00000002") for name in archived) > HALF
    assert site.calls("put-wal") < HALF, "files that wait travel together"
    assert len(site.taken_by_shells(follower)) > 10, "most files that wait are moved by the shell alone"
    assert list((site.server.directory / "errors").glob("*")) == []


def count(cluster):
    return cluster.value("select count(*) from progress")
