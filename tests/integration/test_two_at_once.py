"""Two barman processes at the same time: a lock or a lease decides, one wins, the other says why."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import processes_of, wait_until
from tests.support.users import give

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Pause:
    """A hook script that waits, so that the process that runs it can be met in the middle of its work."""

    def __init__(self, directory: Path) -> None:
        self.reached, self.over = directory / "reached", directory / "over"
        self.script = f"touch {self.reached}; while ! test -e {self.over}; do sleep 0.05; done"

    @contextlib.contextmanager
    def during(self, process) -> Iterator[None]:
        """The block runs while process waits; then it goes on, and must end well."""
        wait_until(lambda: self.reached.exists() or process.poll() is not None, "the process is in the middle")
        assert process.poll() is None, process.communicate()
        try:
            yield
        finally:
            self.over.touch()
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 0, stderr


@pytest.fixture
def pause(scratch):
    directory = scratch / "pause"
    directory.mkdir()
    give(directory)
    return Pause(directory)


@pytest.fixture
def site(cluster, home):
    """A server with two backups, of which the policy wants one."""
    server = home.archiving(cluster)
    first, second = server.backup("--wait"), server.backup("--wait")
    return server, first, second


def test_a_backup_and_a_deletion(site, home, pause):
    server, first, _ = site
    server.set(pre_backup_script=pause.script)

    with pause.during(home.start("backup", "main")):
        refused = server.run("delete", first, check=False)
        assert refused.status == 1
        assert refused.stderr.startswith(
            "ERROR: another process is already backing up, deleting from or importing into server main (process "
        )
        server.set(retention_policy="REDUNDANCY 1")
        home.run("cron")
        assert first in server.backup_ids()
    server.set(pre_backup_script=None)
    home.cron()
    assert first not in server.backup_ids()


def test_a_deletion_and_a_backup(site, home, pause):
    server, first, _ = site
    server.set(pre_delete_script=pause.script)

    with pause.during(home.start("delete", "main", first)):
        refused = server.run("backup", check=False)
        assert refused.status == 1
        assert "another process is already backing up, deleting from or importing into" in refused.stderr
    assert first not in server.backup_ids()


def test_a_restore_and_the_retention_policy(site, home, pause, scratch):
    server, first, second = site
    server.set(pre_recovery_script=pause.script, retention_policy="REDUNDANCY 1")
    reason = f"another process is restoring backup {first} of server main (process "

    with pause.during(home.start("restore", "main", first, scratch / "data", "--target-immediate")):
        told = home.run("cron")
        assert f"backup {first} of server main is not deleted: {reason}" in told.stdout
        refused = server.run("delete", first, check=False)
        assert (refused.status, refused.stderr.startswith(f"ERROR: {reason}")) == (1, True)
    assert (scratch / "data" / "PG_VERSION").exists()
    home.cron()
    assert server.backup_ids() == [second]


def test_cron_and_cron(site, home, pause):
    server, first, second = site
    server.set(pre_delete_script=pause.script, retention_policy="REDUNDANCY 1")
    reason = "another process is already backing up, deleting from or importing into server main (process "

    with pause.during(home.start("cron")):
        told = home.run("cron")
        assert f"Retention of server main waits: {reason}" in told.stdout
        assert server.backup_ids() == [first, second]
    assert server.backup_ids() == [second]


def test_cron_looks_after_wal_while_another_one_deletes(cluster, site, home, pause):
    server, _, second = site
    server.set(pre_delete_script=pause.script, retention_policy="REDUNDANCY 1")

    with pause.during(home.start("cron")):
        # The first one has archiving started, too.
        wait_until(lambda: not is_archiving(home), "archiving has ended", timeout_s=120)
        waiting = cluster.switch_wal()
        wait_until((server.incoming / waiting).exists, "the segment waits to be archived", timeout_s=120)
        assert "Starting WAL archiving for server main" in home.run("cron").stdout
        wait_until(lambda: waiting in server.archived_wals(), "the segment is archived", timeout_s=120)
    assert server.backup_ids() == [second]


def is_archiving(home) -> bool:
    return any("archive-wal" in words for words in processes_of(home.directory).values())


def test_a_verification_and_a_deletion(site, home, pause, scratch):
    server, first, _ = site
    tools = scratch / "tools"
    tools.mkdir()
    tool = tools / "pg_verifybackup"
    tool.write_text(
        f"#!/bin/sh\ncase $1 in --version) echo 'pg_verifybackup (PostgreSQL) 18.0';; *) {pause.script};; esac\n"
    )
    tool.chmod(0o755)
    server.set(path_prefix=tools)
    if not (server.base / first / "data" / "backup_manifest").exists():
        server.run("generate-manifest", first)

    with pause.during(home.start("verify-backup", "main", first)):
        refused = server.run("delete", first, check=False)
        assert refused.stderr.startswith(f"ERROR: another process is verifying backup {first} of server main (process ")
    server.run("delete", first)


def test_a_deletion_and_a_verification(site, home, pause):
    server, first, _ = site
    server.set(pre_delete_script=pause.script)

    with pause.during(home.start("delete", "main", first)):
        refused = server.run("verify-backup", first, check=False)
        assert refused.status == 1
        assert f"another process is already working on backup {first} of server main" in refused.stderr
