"""Bringing directories over: their pace, and what is gone when its turn comes."""

from __future__ import annotations

import os
import shutil
import time

import pytest

from barman.backup import local_copy
from barman.backup.copier import Copier, Previous
from barman.backup.copy_stats import CopyTimes
from barman.backup.source_tree import Tree
from barman.host import reflink
from barman.host.transfer import Flow
from barman.host.workers import Workers
from barman.progress import LogReporter, NoBar
from tests.support.settings import server_settings

pytestmark = pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")

KIB = 1024


@pytest.fixture
def tree(tmp_path):
    """Makes a directory to be copied: tree(name, size of its only file)."""

    def make(name, size):
        directory = tmp_path / name
        directory.mkdir()
        (directory / "file").write_bytes(os.urandom(size))
        return Tree(name, str(directory), name, ())

    return make


@pytest.fixture
def copier(tmp_path):
    """Makes a copier into tmp_path/backup: copier(*lanes, previous=..., **options)."""

    def make(*lanes, previous=None, **options):
        return Copier(
            Workers(lanes, on_tick=lambda: None),
            tmp_path / "backup",
            host="there",
            environment=os.environ,
            settings=server_settings(**options),
            previous=previous,
            pages=None,
            times=CopyTimes(),
            reporter=LogReporter(),
        )

    return make


def test_the_limit_holds_for_all_directories_together(tree, copier):
    trees = [tree("one", 256 * KIB), tree("two", 256 * KIB)]
    began = time.monotonic()
    copier(None, None, bandwidth_limit=512).copy(trees, lanes=2)
    assert time.monotonic() - began >= 0.9


def test_the_limit_of_one_directory_holds_beside_that_of_all(tree, copier):
    trees = [tree("one", 256 * KIB), tree("two", 256 * KIB)]
    began = time.monotonic()
    copier(None, None, bandwidth_limit=100_000, tablespace_bandwidth_limit="two:256").copy(trees, lanes=2)
    assert time.monotonic() - began >= 0.9


def test_a_file_of_an_earlier_backup_must_be_there(tmp_path):
    flow = Flow(NoBar())
    target = str(tmp_path / "target")
    assert local_copy.bring(str(tmp_path / "gone"), target, tmp_path, flow) is False
    with pytest.raises(FileNotFoundError, match="gone"):
        local_copy.duplicate(str(tmp_path / "gone"), target, tmp_path, flow)


def test_a_file_that_vanishes_leaves_nothing_of_the_earlier_backup(tree, copier, tmp_path, monkeypatch):
    source = tree("data", 512 * KIB)
    # Any file system will do: that blocks are shared makes no difference here.
    monkeypatch.setattr(reflink, "clone", lambda old, new: bool(shutil.copyfile(old, new)))
    earlier = tmp_path / "earlier"
    (earlier / "data").mkdir(parents=True)
    for name in ("file", "gone"):
        (earlier / "data" / name).write_bytes(os.urandom(512 * KIB))
        os.utime(earlier / "data" / name, (1, 1))
    (tmp_path / "data" / "gone").write_bytes(os.urandom(512 * KIB))
    # A way to the other host on which the file goes when it has been listed.
    lane = tmp_path / "lane"
    lane.write_text(
        f'#!/bin/sh\n[ -e {lane}.listed ] && rm -f {tmp_path}/data/gone\ntouch {lane}.listed\nshift\nexec "$@"\n'
    )
    lane.chmod(0o755)
    copier(str(lane), previous=Previous(earlier, True, True, 0, frozenset())).copy([source], lanes=1)
    copied = tmp_path / "backup" / "data"
    assert os.listdir(copied) == ["file"]
    assert (copied / "file").read_bytes() == (tmp_path / "data" / "file").read_bytes()
