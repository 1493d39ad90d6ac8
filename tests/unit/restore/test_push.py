from __future__ import annotations

import os
import shutil

import pytest

from barman.errors import CommandError
from barman.host import rsync
from barman.progress import LogReporter, NoBar
from barman.restore.push import Pusher
from tests.support.settings import server_settings

pytestmark = pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")


@pytest.fixture
def pusher(session):
    """Sends files over the session, and does not try again."""
    return Pusher(session, server_settings(basebackup_retry_times=0), os.environ, LogReporter())


def test_wal_that_is_there_is_compared_and_links_are_sent_as_what_they_lead_to(pusher, tmp_path):
    archive, batch, there = tmp_path / "archive", tmp_path / "batch", tmp_path / "there"
    for directory in (archive, batch, there):
        directory.mkdir()
    for name, content in (("1", b"one"), ("2", b"two")):
        (archive / name).write_bytes(content)
        (batch / name).symlink_to(archive / name)
    (there / "1").write_bytes(b"one")
    (there / "2").write_bytes(b"old")
    for path in (archive / "1", there / "1", archive / "2", there / "2"):
        path.chmod(0o644)
        os.utime(path, (1000, 1000))
    before = (there / "1").stat().st_ino

    pusher.push_wal(batch, there, ["1", "2"], compare=True)

    assert [(there / name).read_bytes() for name in "12"] == [b"one", b"two"]
    assert (there / "1").stat().st_ino == before
    assert {(there / name).stat().st_mode & 0o777 for name in "12"} == {0o600}
    assert not (there / "2").is_symlink()


def test_a_host_on_which_nothing_moves_any_more_is_given_up(pusher, tmp_path, monkeypatch):
    monkeypatch.setattr(rsync, "_PATIENCE", "--timeout=1")
    (tmp_path / "connect").write_text("#!/bin/sh\nexec sleep 600\n")
    (tmp_path / "1").touch()

    with pytest.raises(CommandError, match=r"cannot copy to there: .*timeout"):
        pusher.push_names(tmp_path, tmp_path / "there", ["1"], NoBar())
