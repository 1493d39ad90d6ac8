"""A passive node and its primary, both ours: what cron brings over, and what becomes of it."""

from __future__ import annotations

import pytest

from tests.support.archiving import archiving_server, catalogue
from tests.support.catalogs import HandMade, backup_id, segment
from tests.support.passive import archive, login_to, passive_server, tree
from tests.support.sshd import is_ssh_possible
from tests.support.wal import page_header

pytestmark = pytest.mark.skipif(not is_ssh_possible(), reason="sshd or rsync is not installed")


@pytest.fixture
def primary(make_home):
    """A server with two backups and their WAL, made by hand."""
    server = archiving_server(make_home("primary"))
    made = HandMade(server.directory)
    made.make_directories()
    made.add_backup(1, 1, 2, backup_name="weekly", backup_label="START WAL LOCATION: x\nLABEL: y\n")
    made.add_backup(2, 4, 5)
    made.add_wal([segment(number) for number in range(1, 8)], page_header)
    return server


@pytest.fixture
def sshd(primary):
    """A login to the primary's host."""
    running = login_to(primary.home)
    yield running
    running.close()


@pytest.fixture
def node(make_home, primary, sshd):
    """The passive node."""
    return passive_server(make_home("passive"), primary, sshd)


def test_one_tick_brings_over_everything(primary, node):
    said = node.home.cron().stdout
    assert f"Starting copy of backup {backup_id(2)} for server main" in said
    assert "Started copy of WAL files for server main" in said
    for number in (1, 2):
        assert tree(node.base / backup_id(number)) == tree(primary.base / backup_id(number))
    assert archive(node) == archive(primary)
    assert catalogue(node) == catalogue(primary)
