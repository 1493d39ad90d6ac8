"""A passive node whose primary is stuck in the middle of something: not for ever."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from barman.config.load import load_config
from barman.errors import CommandError, Unreachable
from barman.progress import NoBar
from barman.server import open_server
from barman.sync.primary import Primary
from barman.sync.transfer import Route, Transfer
from tests.support.archiving import archiving_server
from tests.support.passive import passive_server
from tests.support.processes import is_alive, processes_of, wait_until
from tests.support.sshd import Sshd, is_ssh_possible

pytestmark = pytest.mark.skipif(not is_ssh_possible(), reason="sshd or rsync is not installed")

# As a file system that does not answer would have it.
_STUCK = "#!/bin/sh\nkill -STOP $$\n"


@pytest.fixture
def site(make_home, scratch):
    """A passive server, a login to its primary, and the directory of the programs there, which all get nowhere."""
    primary = archiving_server(make_home("primary"))
    programs = scratch / "programs"
    programs.mkdir()
    for name in ("rsync", "barman"):
        (programs / name).write_text(_STUCK)
        (programs / name).chmod(0o755)
    sshd = Sshd(scratch / "sshd", PATH=f"{programs}:/usr/bin:/bin")
    node = passive_server(make_home("passive"), primary, sshd, basebackup_retry_times=1, basebackup_retry_sleep=0)
    config = load_config(Path(node.home.conf))
    server = open_server(config, node.name)
    with contextlib.closing(sshd), server.primary_logins() as logins:
        yield server, logins, programs


@pytest.fixture
def transfer(site):
    """Transfers over that login, and the programs."""
    server, logins, programs = site
    return Transfer(server, Primary(server, logins), patience_s=1), programs


def _local(programs):
    return [pid for pid, words in processes_of(programs.parent).items() if words.startswith("rsync ")]


def test_an_answer_that_does_not_come_is_not_waited_for_again(site):
    server, logins, _ = site
    with pytest.raises(Unreachable, match=r"'barman sync-info main on .*' did not end within 1 seconds"):
        Primary(server, logins, limit_s=1).ask(None)


def test_a_listing_that_gets_nowhere_is_given_up(transfer):
    one, programs = transfer
    with pytest.raises(CommandError, match=r"cannot list /data of the primary .*: nothing has moved for 1 second"):
        one.list_tree("/data", ())
    wait_until(lambda: not _local(programs), "no rsync is left here")


def test_a_copy_that_gets_nowhere_is_tried_again_and_then_given_up(transfer, scratch):
    one, programs = transfer
    target, place = scratch / "target", scratch / "place"
    target.mkdir()
    place.mkdir()
    caught = []

    def copy(lane):
        try:
            one.fetch(Route("/data", target, place), ["file"], lane=lane, bar=NoBar())
        except CommandError as error:
            caught.append(error)

    one.work_off([copy])
    assert [error.message.partition(": ")[2] for error in caught] == ["nothing has moved for 1 second"]
    # Once for each attempt; there they stay until somebody ends what they wait for.
    stuck = [pid for pid, words in processes_of(programs).items() if "/bin/sh" in words and is_alive(pid)]
    assert len(stuck) == 2
    assert list(place.iterdir()) == []
    wait_until(lambda: not _local(programs), "no rsync is left here")
