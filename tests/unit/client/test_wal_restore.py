"""barman-wal-restore: complete files or none, read-ahead, and which exit code PostgreSQL sees."""

from __future__ import annotations

import gzip
import os
import re
import signal
import subprocess
import sys

import pytest
import zstandard

from barman.client import remote, wal_restore
from barman.wal.hot_program import STOP_RECOVERY
from tests.support.places import PROJECT
from tests.support.processes import wait_until
from tests.support.wal import HISTORY, MIB, OTHER_SYSTEM_ID, SYSTEM_ID, segment
from tests.support.wal import name_of as wal
from tests.support.wire import ALIVE

SIZE = MIB
FIRST = wal(1)
FAR = 30


def restore(site, *words, name=FIRST, host="host", destination=None):
    target = str(destination or site.destination)
    return wal_restore.main(["-c", str(site.conf), "--spool-dir", str(site.spool), *words, host, "main", name, target])


def leftovers(site):
    return [path.name for path in site.root.iterdir() if "RECOVERYXLOG" in path.name]


def test_a_file_is_delivered(site):
    content = os.urandom(SIZE)
    site.archive(wal(1), content)
    assert restore(site) == 0
    assert site.destination.read_bytes() == content
    assert leftovers(site) == ["RECOVERYXLOG"]


def test_the_words_given_to_ssh_are_those_of_the_reference(site):
    site.archive(wal(1), bytes(SIZE))
    assert restore(site, "-U", "u", "--port", "22", "-P", "--keep-compression") == 0
    assert restore(site, "-t", name="x", destination="y") == 0
    config = f"barman --config '{site.conf}'"
    assert site.calls() == [
        f"{ALIVE}-p 22 -q -T u@host {config} get-wal --keep-compression --partial 'main' '{wal(1)}'",
        f"{ALIVE}-q -T barman@host barman --config '{site.conf}' get-wal --test 'main' '{'0' * 24}'",
    ]


@pytest.mark.parametrize("option", ["--keep-compression", "-z", "-j", "-P"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.ZstdCompressor().compress])
def test_what_arrives_compressed_is_decompressed(site, option, compress):
    content = os.urandom(1000) + bytes(SIZE - 1000)
    site.archive(wal(1), compress(content))
    assert restore(site, option) == 0
    assert site.destination.read_bytes() == content
    assert leftovers(site) == ["RECOVERYXLOG"]


@pytest.mark.parametrize(
    ("host", "status"),
    [("host", 1), ("lost", 1), ("down", 2), ("ended", 2), ("short", STOP_RECOVERY), ("silent", STOP_RECOVERY)],
)
def test_a_failure_leaves_the_destination_as_it_was(site, host, status):
    assert restore(site, host=host) == status
    assert leftovers(site) == []
    site.destination.write_bytes(b"before")
    assert restore(site, host=host) == status
    assert site.destination.read_bytes() == b"before"
    assert leftovers(site) == ["RECOVERYXLOG"]


def test_a_damaged_file_of_the_archive_stops_recovery(site, capfd):
    site.archive(wal(1), gzip.compress(bytes(SIZE))[:-20])
    assert restore(site) == STOP_RECOVERY
    assert restore(site, "--keep-compression") == STOP_RECOVERY
    assert leftovers(site) == []
    assert "cannot be decompressed" in capfd.readouterr().err


def test_a_bad_name_is_exit_code_3(site):
    assert restore(site, name="rubbish") == 3


def test_a_destination_that_cannot_be_opened_is_exit_code_3(site, tmp_path):
    assert restore(site, destination=tmp_path) == 3
    assert restore(site, destination=tmp_path / "nosuch" / "x") == 3
    assert not any("get-wal" in call for call in site.calls())


def test_a_disk_that_fills_up_stops_recovery(site, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    site.archive(wal(1), gzip.compress(bytes(SIZE)))
    assert restore(site, "--keep-compression") == STOP_RECOVERY


def test_no_ssh_at_all_is_exit_code_2(site, monkeypatch):
    monkeypatch.setenv("PATH", "/nosuch")
    assert restore(site) == 2
    assert restore(site, "-t") == 2


def put_in_spool(site, name, content):
    site.spool.mkdir(exist_ok=True)
    (site.spool / name).write_bytes(content)


def test_a_file_in_the_spool_is_delivered_without_asking(site):
    put_in_spool(site, FIRST, segment(FIRST))
    assert restore(site, host="down") == 0
    assert site.destination.read_bytes() == segment(FIRST)
    assert list(site.spool.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [segment(FIRST)[:1000], b"s" * SIZE, segment(wal(2)), segment(FIRST, system_id=OTHER_SYSTEM_ID)],
    ids=["short", "rubbish", "another segment", "another cluster"],
)
def test_a_file_in_the_spool_that_cannot_be_the_one_wanted_is_fetched_again(site, content):
    data = site.root / "data"
    (data / "global").mkdir(parents=True)
    (data / "pg_wal").mkdir()
    (data / "global" / "pg_control").write_bytes(int(SYSTEM_ID).to_bytes(8, sys.byteorder) + bytes(8184))
    put_in_spool(site, FIRST, content)
    site.archive(FIRST, segment(FIRST, filling=1))
    assert restore(site, destination=data / "pg_wal" / "RECOVERYXLOG") == 0
    assert (data / "pg_wal" / "RECOVERYXLOG").read_bytes() == segment(FIRST, filling=1)


def archive_many(site, numbers, timeline=1, compress=bytes):
    for number in numbers:
        name = wal(number, timeline=timeline)
        site.archive(name, compress(segment(name)))


def follow(site, numbers, timeline=1, jobs=4):
    for number in numbers:
        name = wal(number, timeline=timeline)
        assert restore(site, "-p", str(jobs), name=name) == 0
        assert site.destination.read_bytes() == segment(name)


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.ZstdCompressor().compress])
def test_many_segments_travel_over_one_connection(site, compress):
    archive_many(site, range(1, FAR), compress=compress)
    follow(site, range(1, FAR))
    assert len(site.calls()) == 1
    assert restore(site, "-p", "4", name=wal(FAR)) == 1
    assert waiting(site) == []


def waiting(site):
    return sorted(path.name for path in site.spool.iterdir() if path.name[0] != ".")


def test_what_is_fetched_ahead_stays_within_the_number_of_jobs(site):
    archive_many(site, range(1, FAR))
    follow(site, [1], jobs=3)
    wait_until(lambda: len(waiting(site)) == 3, "three segments wait")
    follow(site, [2], jobs=3)
    wait_until(lambda: wal(5) in waiting(site), "the next one comes")
    assert waiting(site) == [wal(3), wal(4), wal(5)]


def test_segments_archived_later_are_fetched_with_the_next_connection(site):
    archive_many(site, range(1, 4))
    follow(site, range(1, 4))
    archive_many(site, range(4, 7))
    follow(site, range(4, 7))
    assert len(site.calls()) == 2


def test_a_gap_ends_fetching_ahead_and_is_a_missing_file(site):
    archive_many(site, [1, 2, 4, 5])
    follow(site, [1, 2])
    assert restore(site, "-p", "4", name=wal(3)) == 1
    archive_many(site, [3])
    follow(site, [3, 4, 5])


def test_recovery_may_go_to_another_timeline_while_the_old_one_is_fetched(site):
    archive_many(site, range(1, FAR))
    archive_many(site, range(3, FAR), timeline=2)
    site.archive("00000002.history", HISTORY.encode())
    follow(site, [1, 2])
    assert restore(site, "-p", "4", name="00000002.history") == 0
    assert restore(site, "-p", "4", name="00000003.history") == 1
    follow(site, range(3, FAR), timeline=2)
    wait_until(lambda: waiting(site) == [], "nothing of the old timeline stays")
    assert len(site.calls()) <= 5


def test_recovery_may_begin_again_further_back(site):
    archive_many(site, range(1, 20))
    follow(site, range(5, 9))
    follow(site, range(1, 20))


def test_a_damaged_segment_stops_recovery_only_when_its_turn_has_come(site, capfd):
    archive_many(site, [1, 2, 4])
    site.archive(wal(3), gzip.compress(segment(wal(3)))[:-20])
    follow(site, [1, 2])
    assert restore(site, "-p", "4", name=wal(3)) == STOP_RECOVERY
    assert "too early" in capfd.readouterr().err
    assert restore(site, "-p", "4", name=wal(3)) == STOP_RECOVERY


def test_a_segment_of_another_name_does_not_arrive(site, capfd):
    site.archive(FIRST, segment(wal(2)))
    assert restore(site, "-p", "4") == STOP_RECOVERY
    assert "does not match the name" in capfd.readouterr().err


def test_the_exit_code_is_that_of_the_first_segment(site, capfd):
    assert restore(site, "-p", "4", host="down") == 2
    assert "cannot connect to barman@down" in capfd.readouterr().err
    assert restore(site, "-p", "4") == 1
    assert "not found" in capfd.readouterr().err
    assert restore(site, "-p", "4", host="silent") == STOP_RECOVERY
    assert leftovers(site) == []


def test_a_partial_segment_is_delivered_at_the_end_and_not_fetched_ahead(site):
    archive_many(site, [1, 2])
    site.archive(f"{wal(3)}.partial", segment(wal(3)))
    follow(site, [1, 2])
    assert restore(site, "-p", "4", name=wal(3)) == 1
    assert restore(site, "-p", "4", "-P", name=wal(3)) == 0
    assert site.destination.read_bytes() == segment(wal(3))


def test_a_fetching_process_that_is_killed_is_replaced(site):
    archive_many(site, range(1, FAR))
    follow(site, [1])
    wait_until(lambda: len(waiting(site)) == 4, "the spool is full")
    (lock,) = site.spool.glob("*.lock")
    os.kill(int(lock.read_text().split()[0]), signal.SIGKILL)
    (site.spool / f".{wal(9)}.tmp").write_bytes(b"half")
    follow(site, range(2, FAR))
    wait_until(lambda: not (site.spool / f".{wal(9)}.tmp").exists(), "what it left is removed")


def test_two_origins_never_share_segments(site):
    archive_many(site, range(1, 9))
    follow(site, [1])
    wait_until(lambda: len(waiting(site)) == 4, "segments wait")
    assert restore(site, "-p", "4", name=wal(2), host="lost") == 1
    assert restore(site, "-p", "4", "-U", "other", name=wal(2)) == 0
    assert sum(path.name.startswith("origin-") for path in site.spool.iterdir()) == 2


def test_a_barman_that_sends_one_file_at_a_time_is_understood(site):
    far = site.root / "far_barman.py"
    far.write_text(
        "import sys\nif '--stream' in ' '.join(sys.argv):\n    sys.stderr.write('unrecognized')\n    sys.exit(2)\n"
        + far.read_text()
    )
    archive_many(site, range(1, 10))
    follow(site, range(1, 10))
    assert restore(site, "-p", "4", name=wal(10)) == 1


def test_a_spool_directory_that_cannot_be_made_is_exit_code_2(site):
    site.archive(wal(1), bytes(SIZE))
    site.spool = site.root / "nosuch" / "spool"
    assert restore(site) == 0, "it is not needed"
    assert restore(site, "-p", "2") == 2


def test_a_spool_directory_of_somebody_else_is_not_trusted(site):
    site.spool.mkdir()
    os.chown(site.spool, 65534, 65534)
    (site.spool / wal(1)).write_bytes(segment(wal(1), filling=6))
    os.chown(site.spool / wal(1), 65534, 65534)
    site.archive(wal(1), b"a" * SIZE)
    assert restore(site) == 0
    assert site.destination.read_bytes() == b"a" * SIZE
    assert restore(site, "-p", "2") == 2


def test_history_files_are_delivered_and_not_read_ahead(site):
    site.archive("00000002.history", b"1\t0/3000000\treason\n")
    assert restore(site, "-p", "3", name="00000002.history") == 0
    assert site.destination.read_bytes() == b"1\t0/3000000\treason\n"
    assert len(site.calls()) == 1


def test_the_deprecated_options_say_so(site, capsys):
    site.archive(wal(1), bytes(SIZE))
    assert restore(site, "-z") == 0
    assert "deprecated" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["-z", "--keep-compression"], ["-p", "-1"], ["--nosuch"]])
def test_wrong_usage_is_exit_code_2(site, words):
    with pytest.raises(SystemExit) as caught:
        restore(site, *words)
    assert caught.value.code == 2


def test_a_pause_before_a_failure_is_made_only_then(site, monkeypatch):
    pauses = []
    monkeypatch.setattr(wal_restore.time, "sleep", pauses.append)
    site.archive(wal(1), bytes(SIZE))
    assert restore(site, "-s", "7") == 0
    assert pauses == []
    assert restore(site, "-s", "7", name=wal(9)) == 1
    assert pauses == [7]


def test_a_barman_host_that_falls_silent_is_given_up(site, monkeypatch, capsys):
    monkeypatch.setattr(remote, "_PATIENCE_S", 1)
    (site.root / "ssh").write_text("#!/bin/sh\nexec sleep 100\n")
    assert restore(site) == 2
    assert "barman@host has not moved for 1 seconds, given up" in capsys.readouterr().err
    assert not site.destination.exists()


class Shell:
    """The restore_command of the documentation, in a data directory, with a program that says that it was called."""

    def __init__(self, site):
        self.site = site
        self.data = site.root / "data"
        self.destination = self.data / "pg_wal" / "RECOVERYXLOG"
        (self.data / "global").mkdir(parents=True)
        (self.data / "pg_wal").mkdir()
        self.become(SYSTEM_ID)

    def become(self, system_id):
        (self.data / "global" / "pg_control").write_bytes(int(system_id).to_bytes(8, sys.byteorder))

    def restore(self, number):
        """Whether the shell alone brought the segment."""
        text = (PROJECT / "docs" / "wal-transfer.md").read_text()
        [command] = re.findall(r"^restore_command = '(\{.*)'$", text, re.MULTILINE)
        command = command.partition(" || ")[0].replace("/var/lib/postgresql/walrestore", str(self.site.spool))
        command = command.replace("main barman@backup", f"main barman@host {self.site.conf}")
        command = command.replace("%f", wal(number)).replace("%p", "pg_wal/RECOVERYXLOG")
        return subprocess.run(["/bin/sh", "-c", command], cwd=self.data, timeout=60, check=False).returncode == 0


@pytest.fixture
def shell(site):
    return Shell(site)


def fill(site, shell, numbers, *, parallel=4, system_id=SYSTEM_ID):
    """Have a call fetch the first of numbers, and wait until the others wait."""
    for number in numbers:
        site.archive(wal(number), segment(wal(number), system_id=system_id))
    assert restore(site, "-p", str(parallel), name=wal(numbers[0]), destination=shell.destination) == 0
    wait_until(lambda: all((site.spool / wal(number)).exists() for number in numbers[1:]), "they were fetched")


def test_the_shell_of_the_documentation_takes_what_waits(site, shell):
    fill(site, shell, [1, 2, 3])
    shell.destination.unlink()
    assert shell.restore(2)
    assert shell.destination.read_bytes() == segment(wal(2))
    assert not (site.spool / wal(2)).exists()
    assert not shell.restore(2)


def test_the_shell_takes_nothing_for_another_cluster(site, shell):
    fill(site, shell, [1, 2, 3])
    shell.become(OTHER_SYSTEM_ID)
    assert not shell.restore(2)


def test_the_shell_takes_nothing_that_somebody_else_left(site, shell):
    site.spool.mkdir()
    (site.spool / wal(9)).write_bytes(segment(wal(9)))
    fill(site, shell, [1, 2, 3])
    assert not shell.restore(2)
    assert not shell.restore(9)
    assert restore(site, "-p", "4", name=wal(2), destination=shell.destination) == 0


def test_what_was_fetched_for_another_cluster_makes_room(site, shell):
    fill(site, shell, [1, 2, 3])
    shell.become(OTHER_SYSTEM_ID)
    fill(site, shell, [11, 12, 13], system_id=OTHER_SYSTEM_ID)
    assert not (site.spool / wal(3)).exists()
    assert shell.restore(12)


@pytest.mark.parametrize("options", [[], ["-p", "4"]], ids=["alone", "ahead"])
def test_a_segment_of_another_cluster_stops_recovery(site, shell, capfd, options):
    site.archive(wal(1), segment(wal(1), system_id=OTHER_SYSTEM_ID))
    assert restore(site, *options, destination=shell.destination) == STOP_RECOVERY
    assert not shell.destination.exists()
    assert "system identifier" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("signal_file", "host", "status"),
    [
        ("standby.signal", "host", 1),
        ("standby.signal", "down", 2),
        ("standby.signal", "lost", 1),
        ("standby.signal", "ended", 2),
        ("recovery.signal", "host", 1),
        ("recovery.signal", "down", STOP_RECOVERY),
        ("recovery.signal", "lost", STOP_RECOVERY),
        ("recovery.signal", "ended", STOP_RECOVERY),
    ],
)
@pytest.mark.parametrize("options", [[], ["-p", "4"]], ids=["alone", "ahead"])
def test_a_recovery_ends_only_when_the_barman_host_says_so_and_a_standby_goes_on(
    site, shell, options, signal_file, host, status
):
    (shell.data / signal_file).touch()
    assert restore(site, *options, host=host, destination=shell.destination) == status


def test_a_standby_that_was_once_recovered_goes_on(site, shell):
    (shell.data / "recovery.signal").touch()
    (shell.data / "standby.signal").touch()
    assert restore(site, host="down", destination=shell.destination) == 2


def test_a_recovery_does_not_end_because_the_archive_is_not_mounted(site, shell, capfd):
    (shell.data / "recovery.signal").touch()
    (site.main / "wals").rmdir()
    assert restore(site, destination=shell.destination) == STOP_RECOVERY
    err = capfd.readouterr().err
    assert "is not there" in err
    assert "Recovery stops instead of ending early" in err
