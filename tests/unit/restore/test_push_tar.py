from __future__ import annotations

import io
import tarfile

import pytest

from barman.errors import CommandError
from barman.host.transfer import Flow
from barman.host.workers import Workers
from barman.progress import NoBar
from barman.restore import push_tar
from barman.restore.plan import Tarball
from barman.restore.push_tar import TarPusher
from barman.restore.remote_host import look_there

CONTENT = b"all the same " * 100_000


class _Counting(NoBar):
    def __init__(self):
        self.count = 0

    def advance(self, amount):
        self.count += amount


@pytest.fixture
def push(session, tmp_path):
    """Unpacks a tarball that is not compressed at the other end, and returns how many bytes travelled."""
    with tarfile.open(tmp_path / "base.tar", "w") as archive:
        info = tarfile.TarInfo("content")
        info.size = len(CONTENT)
        archive.addfile(info, io.BytesIO(CONTENT))
    (tmp_path / "target").mkdir()
    facts = look_there(session, [tmp_path])
    if not facts.has_gnu_tar:
        pytest.skip("tar is not GNU tar")

    def run(*, compress, programs=frozenset({"gzip"})):
        bar = _Counting()
        workers = Workers(session.lanes, on_tick=lambda: None)
        pusher = TarPusher(session, facts._replace(programs=programs), workers, Flow(bar), compress=compress)
        pusher.push(tmp_path, [Tarball("base.tar", None)], tmp_path / "target", [])
        assert (tmp_path / "target" / "content").read_bytes() == CONTENT
        return bar.count

    return run


def test_plain_tarballs_are_compressed_on_their_way_if_that_is_asked_for_and_can_be_undone_there(push):
    assert push(compress=True) < len(CONTENT) // 20
    assert push(compress=False) > len(CONTENT)
    assert push(compress=True, programs=frozenset()) > len(CONTENT)


def test_a_host_on_which_nothing_moves_any_more_is_given_up(push, session, tmp_path, monkeypatch):
    monkeypatch.setattr(push_tar, "_PATIENCE_S", 0.1)
    run = session.run
    monkeypatch.setattr(session, "run", lambda _argv, **how: run(["sleep", "600"], **how))

    with pytest.raises(CommandError, match=r"cannot unpack .*base.tar on there: nothing has moved for"):
        push(compress=False)
