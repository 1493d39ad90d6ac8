"""Passive nodes between the two implementations: each copies from the other, and goes on where the other stopped."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from tests.support.archiving import archiving_server, listed
from tests.support.catalogs import HandMade, backup_id, segment
from tests.support.homes import BarmanHome, our_programs
from tests.support.passive import archive, login_to, passive_server, tree
from tests.support.processes import wait_until
from tests.support.sshd import is_ssh_possible
from tests.support.wal import page_header

pytestmark = pytest.mark.skipif(not is_ssh_possible(), reason="sshd or rsync is not installed")


@pytest.fixture
def programs(reference):
    """Where the programs of either side are."""
    return {"ours": our_programs(), "theirs": reference}


@contextmanager
def _site(scratch, primary_programs, passive_programs):
    primary = archiving_server(BarmanHome(scratch / "primary", programs=primary_programs))
    made = HandMade(primary.directory)
    made.make_directories()
    made.add_backup(1, 1, 2, backup_name="weekly", backup_label="START WAL LOCATION: x\nLABEL: y\n")
    made.add_wal([segment(number) for number in range(1, 6)], page_header)
    sshd = login_to(primary.home)
    try:
        yield (
            primary,
            made,
            sshd,
            passive_server(BarmanHome(scratch / "passive", programs=passive_programs), primary, sshd),
        )
    finally:
        sshd.close()


def _catch_up(node, primary):
    """Run cron until the passive node has what the primary has."""

    def is_even():
        node.home.cron()
        return archive(node) == archive(primary) and set(listed(node)) == set(listed(primary))

    wait_until(is_even, "the passive node has caught up", timeout_s=60)


def _grow(made, primary):
    """One more backup, and WAL."""
    made.add_wal([segment(number) for number in range(6, 10)], page_header)
    return made.add_backup(2, 6, 7).backup_id


@pytest.mark.parametrize("passive", ["ours", "theirs"])
@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_each_copies_from_the_other(scratch, programs, side, passive):
    with _site(scratch, programs[side], programs[passive]) as (primary, made, _, node):
        _catch_up(node, primary)
        _grow(made, primary)
        _catch_up(node, primary)
        for number in (1, 2):
            assert tree(node.base / backup_id(number)) == tree(primary.base / backup_id(number))
        ours = BarmanHome(scratch / "passive", programs=programs["ours"]).server("main")
        shown = {one["backup_id"]: one["status"] for one in ours.json("list-backups")["main"]}
        assert shown == {backup_id(1): "DONE", backup_id(2): "DONE"}


def test_we_go_on_where_a_passive_node_of_the_reference_stopped(scratch, programs):
    with _site(scratch, programs["theirs"], programs["theirs"]) as (primary, made, sshd, node):
        _catch_up(node, primary)
        ours = passive_server(BarmanHome(scratch / "passive", programs=programs["ours"]), primary, sshd)
        second = _grow(made, primary)
        ours.home.cron()
        assert tree(ours.base / second) == tree(primary.base / second)
        assert archive(ours) == archive(primary)
        record = (ours.directory / "meta" / f"{second}-backup.info").read_text()
        assert "\nstatus=DONE\n" in record
        assert "\nmode=postgres\n" in record
        assert ours.json("status")["main"]["synchronisation"]["message"].startswith("up to date")


def test_the_reference_goes_on_where_our_passive_node_stopped(scratch, programs):
    with _site(scratch, programs["ours"], programs["ours"]) as (primary, made, sshd, node):
        primary.run("keep", backup_id(1), "--target", "full")
        node.home.cron()
        theirs = passive_server(BarmanHome(scratch / "passive", programs=programs["theirs"]), primary, sshd)
        assert theirs.json("show-backup", backup_id(1))["main"]["status"] == "DONE"
        assert "systemid coherence: OK" in theirs.run("check", check=False).stdout
        _grow(made, primary)
        _catch_up(theirs, primary)
        assert tree(theirs.base / backup_id(2)) == tree(primary.base / backup_id(2))
        assert theirs.run("keep", "--status", backup_id(1)).stdout.strip().endswith("full")
