"""verify-wal --repair is killed at every step, meets broken disks and cut connections; then it runs again.

Whatever has a final name is whole and what the source wrote, and the damaged file is kept until it has been replaced.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess

import pytest

from barman.storage.compress.decoded import open_decoded
from tests.support.archiving import catalogue, stored
from tests.support.faults import find_points, run_to_point
from tests.support.processes import processes_of, wait_until
from tests.support.relay import relay_to
from tests.support.repairing import MIB, damage, make_archived, remove, verify

pytestmark = [pytest.mark.pg(each=False), pytest.mark.timeout(900)]

_REPAIR = ("verify-wal", "--repair", "main")


@pytest.fixture
def archived(home, clusters, installation):
    """A server with a backup and segments behind it, and their source."""
    return make_archived(home, clusters, installation)


class Broken:
    """An archive that lacks segments, with and without their lines, and has a damaged one; can be had again."""

    def __init__(self, archived):
        self.server, self.cluster, self.names, self.contents = archived
        self.lost = [self.names[number] for number in (1, 2, 4, 6)]
        # The last one is listed, and the one before is half there.
        remove(self.server, *self.lost[:2])
        stored(self.server, self.lost[3]).unlink()
        self.damaged = damage(self.server, self.lost[2])
        self._copy = self.server.home.directory / "broken"
        subprocess.run(["cp", "-a", self.server.directory, self._copy], check=True)

    def restore(self):
        """Make it as it was."""
        shutil.rmtree(self.server.directory)
        subprocess.run(["cp", "-a", self._copy, self.server.directory], check=True)

    def require_nothing_half(self):
        """Each file is what it was, or repaired; nothing is listed twice; what is damaged is there or kept."""
        archived = [name for name in self.server.archived_wals() if not name.startswith(".")]
        damaged = self.lost[2]
        for name in self.names:
            if name in archived and not (name == damaged and stored(self.server, name).read_bytes() == self.damaged):
                assert self._content_of(name) == self.contents[name], f"{name} is not what was written"
        kept = [path.read_bytes() for path in self.server.directory.glob(f"errors/{damaged}.*")]
        assert self.damaged in [stored(self.server, damaged).read_bytes(), *kept]
        assert set(self.names) - set(archived) <= set(self.lost)

    def require_repaired(self):
        """A repair that nothing disturbs makes everything whole, and leaves nothing of those before."""
        status, found = verify(self.server, "--repair")
        assert (status, found["defects"]) == (0, []), found
        assert {name: self._content_of(name) for name in self.names} == self.contents
        assert {line[0] for line in catalogue(self.server)} == set(self.server.archived_wals())
        kept = {path.read_bytes() for path in self.server.directory.glob("errors/*.damaged")}
        assert kept == {self.damaged}
        assert not list(self.server.directory.glob(".repair-*"))
        assert not list(self.server.wals.rglob(".*.tmp"))

    def _content_of(self, name):
        with open_decoded(stored(self.server, name).open("rb")) as file:
            return file.read()


@pytest.mark.parametrize("fault", ["kill", "EIO"])
def test_after_a_kill_or_an_error_at_any_step_the_next_run_completes_it(archived, fault):
    broken = Broken(archived)
    points = [point for point in find_points(broken.server.home, *_REPAIR) if _is_certain(point)]
    assert {point.call for point in points} >= {"rename", "fsync", "unlink", "mkdir"}
    for point in points:
        broken.restore()
        result = run_to_point(broken.server.home, point, fault, *_REPAIR)
        assert "Traceback" not in result.text, result
        broken.require_nothing_half()
        broken.require_repaired()


def _is_certain(point):
    """Whether it is about the server's files, but not about what pg_receivewal may leave, or not, where it fetches."""
    is_by_chance = ".repair-" in point.place and point.call in ("unlink", "remove") and point.nth > 1
    return point.place.startswith("/home/main/") and not is_by_chance


@pytest.fixture
def relayed(archived, scratch):
    """Makes the server stream over a connection that is cut after so many bytes."""
    with contextlib.ExitStack() as relays:

        def make(cut_after):
            relay, conninfo = relays.enter_context(relay_to(archived.cluster, scratch / "relay", cut_after))
            archived.server.set(streaming_conninfo=conninfo)
            return relay

        yield make


def test_a_connection_that_is_cut_again_and_again_is_made_again_while_it_brings_something(archived, relayed):
    broken = Broken(archived)
    relay = relayed(MIB + MIB // 2)

    broken.require_repaired()

    assert relay.cuts


def test_a_connection_that_is_cut_within_every_segment_changes_nothing_and_ends(archived, relayed):
    broken = Broken(archived)
    relay = relayed(MIB // 2)

    status, found = verify(broken.server, "--repair")

    assert (status, found["repaired"]) == (1, [])
    assert all("not repaired: " in one["reason"] for one in found["defects"] if one["kind"] != "size"), found
    assert relay.cuts == 3
    broken.require_nothing_half()
    broken.server.set(streaming_conninfo=archived.cluster.streaming_conninfo())
    broken.require_repaired()


# The second time that it is asked for a file it gives a part of it.
_CUTTING_SSH = """#!/bin/sh
for command; do :; done
case "$command" in
    *"exec dd "*)
        echo >> {asked}
        if [ "$(wc -l < {asked})" = 2 ]; then sh -c "$command" | head -c 500000; exit 255; fi ;;
esac
exec sh -c "$command"
"""


def test_over_an_ssh_connection_that_is_cut_nothing_half_takes_a_place(archived, scratch):
    broken = Broken(archived)
    ssh = scratch / "cutting"
    ssh.write_text(_CUTTING_SSH.format(asked=scratch / "asked"))
    ssh.chmod(0o755)
    (scratch / "asked").touch()
    (scratch / "asked").chmod(0o666)
    broken.server.set(
        ssh_command=f"{ssh} far", streaming_conninfo="host=/nonexistent", wal_conninfo="host=/nonexistent"
    )

    broken.require_repaired()

    assert len((scratch / "asked").read_text()) > len(broken.lost)


def test_killed_while_it_waits_for_the_source_nothing_goes_on(archived, relayed):
    """pg_receivewal ends with it, and what they have left goes with the next run."""
    broken = Broken(archived)
    home = broken.server.home
    relayed(1 << 40)
    broken.cluster.sql("select pg_switch_wal()")
    process = home.start(*_REPAIR)
    wait_until(lambda: list(broken.server.directory.glob(".repair-*")) or process.poll() is not None, "it fetches")
    process.kill()
    process.communicate()
    wait_until(
        lambda: not [words for words in processes_of(home.directory).values() if "repair-" in words], "all ended"
    )
    broken.require_nothing_half()
    broken.require_repaired()
