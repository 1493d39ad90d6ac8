"""A passive node while processes die and disks fill up: nothing half is shown as whole, and the next tick goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import pytest

from barman.catalog.record import Status
from tests.support.archiving import archiving_server, catalogue
from tests.support.catalogs import HandMade, backup_id, segment
from tests.support.faults import needs_strace, run_with_fault
from tests.support.passive import archive, login_to, passive_server, tree
from tests.support.processes import processes_of, run, wait_until
from tests.support.sshd import is_ssh_possible
from tests.support.wal import page_header

pytestmark = pytest.mark.skipif(not is_ssh_possible(), reason="sshd or rsync is not installed")

_BACKUPS = 3
_LARGE = 600_000


@pytest.fixture
def made(make_home):
    """A primary with a chain of incremental backups, files large enough to be cut in the middle, and WAL."""
    server = archiving_server(make_home("primary"))
    made = HandMade(server.directory)
    made.make_directories()
    for number in range(1, _BACKUPS + 1):
        parent = {"parent_backup_id": backup_id(number - 1)} if number > 1 else {}
        record = made.add_backup(number, number * 4, number * 4 + 1, **parent)
        for name in ("large", "larger"):
            path = made.paths.data_dir(record.backup_id) / "base" / "1" / name
            path.write_bytes(os.urandom(_LARGE))
            path.chmod(0o644)
    made.add_wal([segment(number) for number in range(4, 24)], _segment)
    return made, server


def _segment(name):
    return page_header(name) + os.urandom(40_000)


@pytest.fixture
def site(make_home, made):
    """The primary, and a passive node that is slow enough to be disturbed."""
    sshd = login_to(made[1].home)
    yield made[1], passive_server(make_home("passive"), made[1], sshd, bandwidth_limit=1500, parallel_jobs=2)
    sshd.close()


def _assert_nothing_half_is_shown(primary, node):
    for one in node.json("list-backups")["main"]:
        if one["status"] == Status.DONE.value:
            assert tree(node.base / one["backup_id"]) == tree(primary.base / one["backup_id"])
    for name, *_ in catalogue(node):
        assert archive(node)[name] == archive(primary)[name]


def _assert_both_agree(primary, node):
    shown = {one["backup_id"]: one["status"] for one in node.json("list-backups")["main"]}
    assert shown == {backup_id(number): "DONE" for number in range(1, _BACKUPS + 1)}
    for one in shown:
        assert tree(node.base / one) == tree(primary.base / one)
    assert archive(node) == archive(primary)
    assert catalogue(node) == catalogue(primary)


def _find(node, primary, victim):
    """The processes of a kind: words that their command lines hold."""
    everywhere = {**processes_of(primary.home.directory), **processes_of(node.home.directory)}
    return [pid for pid, words in everywhere.items() if all(word in words for word in victim)]


def _wait_for_the_end(node, primary):
    """Wait until no Barman runs, on either side, and nobody is logged in."""
    wait_until(
        lambda: not _find(node, primary, ("barman.conf",)) and not _find(node, primary, ("ControlMaster=yes",)),
        "everything has ended",
        timeout_s=120,
    )


_VICTIMS = {
    "ssh": ("ssh -F none", "ControlMaster=yes"),
    "rsync here": ("rsync", "--rsh"),
    "rsync there": ("rsync --server",),
    "sync-backup": ("sync-backup main",),
    "sync-wals": ("sync-wals main",),
    "sync-info there": ("barman", "sync-info main"),
    "cron": ("barman.conf cron",),
}


@pytest.mark.parametrize("delay_ms", [0, 150, 400])
@pytest.mark.parametrize("victim", list(_VICTIMS))
def test_whatever_is_killed_the_next_tick_makes_both_catalogues_agree(site, victim, delay_ms):
    primary, node = site
    process = node.home.start("cron")
    found = wait_until(lambda: _find(node, primary, _VICTIMS[victim]), f"{victim} is running", step_s=0.01)
    time.sleep(delay_ms / 1000)
    for pid in _find(node, primary, _VICTIMS[victim]) or found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=120)
    _wait_for_the_end(node, primary)
    _assert_nothing_half_is_shown(primary, node)
    node.set(bandwidth_limit=None)
    node.home.cron()
    _assert_both_agree(primary, node)


_NAMING = "rename,renameat,renameat2,link,linkat"


@needs_strace
@pytest.mark.parametrize("when", ["1", "4"])
@pytest.mark.parametrize(
    ("command", "calls"),
    [
        pytest.param(("sync-backup", "main", "all"), _NAMING, id="backup, naming"),
        pytest.param(("sync-backup", "main", "all"), "fsync", id="backup, syncing"),
        pytest.param(("sync-wals", "main"), _NAMING, id="WAL, naming"),
        pytest.param(("sync-wals", "main"), "fsync", id="WAL, syncing"),
    ],
)
def test_a_kill_at_any_call_that_matters_leaves_nothing_half(site, command, calls, when):
    primary, node = site
    node.set(bandwidth_limit=None)
    node.run("sync-info", "--primary")
    home = node.home
    run_with_fault(
        home.argv(*command),
        calls=calls,
        fault="signal=SIGKILL",
        when=when,
        env=home.environment(),
        cwd=home.directory,
        threads=True,
    )
    _wait_for_the_end(node, primary)
    _assert_nothing_half_is_shown(primary, node)
    home.cron()
    _assert_both_agree(primary, node)


@needs_strace
def test_done_is_said_when_every_file_is_on_disk_and_not_before(site, scratch):
    node = site[1]
    node.set(bandwidth_limit=None)
    node.run("sync-info", "--primary")
    log, one = scratch / "trace", backup_id(1)
    argv = node.home.argv("sync-backup", "main", one)
    words = ["strace", "-f", "-y", "-qq", "-o", log, "-e", "trace=fsync,rename", "-e", "signal=none"]
    run([*words, *argv], env=node.home.environment(), cwd=node.home.directory, check=True)
    lines = log.read_text().splitlines()
    record = f"{one}-backup.info"
    done = [number for number, line in enumerate(lines) if "rename(" in line and line.count(record) == 2][-1]
    synced = "\n".join(lines[:done])
    for path in (node.base / one).rglob("*"):
        assert f"<{path}>" in synced, path
    for name in (segment(4), segment(5)):
        assert name in synced
