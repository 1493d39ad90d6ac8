"""A restore that is killed, cut or starved cannot be started, says what failed, and goes on with --delta-restore."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.file_systems import small_disk
from tests.support.processes import children_of, processes_of, wait_until
from tests.support.sshd import is_ssh_possible
from tests.support.users import give

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.pg(each=False),
    pytest.mark.skipif(not is_ssh_possible(), reason="sshd or rsync is not installed"),
]

_POINTS = 20
_FEW_POINTS = 4
# What the other host needs beside rsync.
_TOOLS = ("sh", "env", "id", "cat", "head", "tail", "ls", "df", "dirname", "basename", "grep", "tar", "sync")


@pytest.fixture
def server(home, cluster):
    """A server with a plain backup and its WAL."""
    cluster.load(3000)
    made = home.streaming(cluster, compression="pygzip")
    made.start_streaming(cluster)
    made.close_and_archive(cluster)
    made.backup()
    made.close_and_archive(cluster)
    return made


@pytest.fixture(params=["here", "there"])
def options(request, sshd):
    """The options of a restore to this host, and to another."""
    return ["--remote-ssh-command", sshd.command] if request.param == "there" else []


@pytest.fixture
def place(scratch):
    """A directory for restored clusters."""
    directory = scratch / "restored"
    directory.mkdir()
    return give(directory)


def _picture(root: Path) -> dict[str, str]:
    """What is below a directory: content of files, targets of links."""
    found = {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _refused(server, destination, *words):
    done = server.run("restore", "latest", destination, *words, check=False)
    assert done.status == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.count("ERROR: ") == 1, done.stderr
    return done.stderr


def test_killed_anywhere_it_cannot_be_started_and_goes_on_where_it_was(server, options, place):
    _kill_at(_POINTS, server, place, options)


@pytest.mark.pg(">= 17", each=False, own_tools=True)
@pytest.mark.parametrize("is_packed", [True, False], ids=["packed", "plain"])
def test_a_chain_of_backups_survives_being_killed_too(is_packed, server, options, place, scratch, cluster):
    staging = scratch / "staging"
    server.set(staging_path=staging, backup_compression="gzip" if is_packed else None)
    server.backup()
    cluster.load(500)
    cluster.sql("checkpoint")
    cluster.switch_wal()
    server.backup("--incremental", "latest")
    server.close_and_archive(cluster)

    _kill_at(_FEW_POINTS, server, place, options)

    assert not staging.exists() or not list(staging.iterdir())


def test_tarballs_survive_being_killed_too(server, options, place, cluster):
    server.set(backup_compression="gzip")
    server.backup()
    server.close_and_archive(cluster)

    _kill_at(_FEW_POINTS, server, place, options)


def _kill_at(points, server, place, options):
    """Kill restores of the latest backup at so many points of time, and complete each with another one."""
    source = _picture(server.base)
    began = time.monotonic()
    server.run("restore", "latest", place / "whole", *options)
    lasted_s = time.monotonic() - began
    whole = _content(place / "whole")
    begun = 0

    for point in range(points):
        data = place / f"data{point}"
        process = server.home.start("restore", "main", "latest", data, *options)
        if point:
            # Any point will do; the first part of the time nothing is written yet.
            time.sleep(lasted_s * (0.3 + 0.7 * point / points))
        else:
            mark = data / ".barman-incomplete"
            wait_until(lambda mark=mark, process=process: mark.exists() or process.poll() is not None, "it has begun")
        if process.poll() is not None:
            # The machine was busier when the time was taken.
            lasted_s *= 0.7
        process.kill()
        process.communicate(timeout=30)
        wait_until(lambda: not _programs(server, "rsync", "ssh", "pg_combinebackup"), "what it ran has ended")
        begun += (data / ".barman-incomplete").exists()
        if (data / "global" / "pg_control").exists():
            assert _content(data) == whole
        server.run("restore", "latest", data, "--delta-restore", *options)
        assert _content(data) == whole
        assert not (data / ".barman-incomplete").exists()
        shutil.rmtree(data)

    assert begun >= points // 4
    assert _picture(server.base) == source


def _content(data):
    """What is restored. The mark is the last to go, and the manifest of a combined backup tells when it was made."""
    own = (".barman-incomplete", "backup_manifest.")
    return {name: content for name, content in _picture(data).items() if not name.startswith(own)}


def _programs(server, *names):
    mine = processes_of(server.home.directory)
    return {pid: words for pid, words in mine.items() if os.path.basename(words.split()[0]) in names}


def test_a_connection_that_is_cut_is_named_and_the_restore_goes_on_later(server, place, sshd):
    options = ["--remote-ssh-command", sshd.command]
    data = place / "data"
    process = server.home.start("restore", "main", "latest", data, *options, "--bwlimit", "3000")
    wait_until((data / "base").exists, "files are being copied")
    for pid in children_of(sshd.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    _, stderr = process.communicate(timeout=60)

    assert process.returncode == 1
    assert stderr.count(b"ERROR: ") == 1
    assert b"127.0.0.1" in stderr
    assert len(stderr) < 1000
    assert not (data / "global" / "pg_control").exists()
    server.run("restore", "latest", data, "--delta-restore", *options)
    assert (data / "global" / "pg_control").exists()


def test_interrupted_it_leaves_no_rsync_behind(server, options, place):
    data = place / "data"
    process = server.home.start("restore", "main", "latest", data, *options, "--bwlimit", "1000")
    wait_until((data / "base").exists, "files are being copied")

    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=30)

    assert process.returncode != 0
    assert b"Traceback" not in stderr
    wait_until(lambda: not _programs(server, "rsync", "ssh"), "rsync and ssh have ended")
    assert not (data / "global" / "pg_control").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to mount a small file system")
@pytest.mark.parametrize(
    ("limit", "reason"),
    [("size=8m", "not enough disk space"), ("size=900m,nr_inodes=300", "No space left on device")],
    ids=["known before", "found out"],
)
def test_a_full_disk_is_named(limit, reason, server, options, place):
    disk = place / "disk"
    disk.mkdir()
    with small_disk(disk, limit):
        text = _refused(server, disk / "data", *options)
        assert reason in text
        assert len(text) < 1000
        assert not (disk / "data" / "global" / "pg_control").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to mount a small file system")
def test_a_mount_point_holds_a_new_cluster_only_on_demand_and_is_updated_as_any_other(server, options, place):
    disk = place / "disk"
    disk.mkdir()
    with small_disk(disk, "size=900m"):
        text = _refused(server, disk, *options)
        assert f"the destination is a mount point: {disk}" in text
        assert "choose a directory below it, or add --allow-mount-point" in text
        assert not list(disk.iterdir())

        server.run("restore", "latest", disk, "--allow-mount-point", *options)
        (disk / "PG_VERSION").unlink()
        server.run("restore", "latest", disk, "--delta-restore", *options)
        assert (disk / "PG_VERSION").exists()


def test_a_host_without_rsync_is_refused_before_anything_is_written(server, scratch, place):
    programs = scratch / "bin"
    programs.mkdir()
    for name in _TOOLS:
        (programs / name).symlink_to(str(shutil.which(name)))
    shell = scratch / "connect"
    shell.write_text(f'#!/bin/sh\nfor last; do :; done\nPATH={programs}\nexport PATH\nexec sh -c "$last"\n')
    shell.chmod(0o755)

    text = _refused(server, place / "data", "--remote-ssh-command", f"{shell} host")

    assert "there is no rsync on host" in text
    assert not (place / "data").exists()


def test_places_that_cannot_be_used_are_refused(server, options, place, scratch):
    full, closed, a_file = place / "full", scratch / "closed", place / "file"
    (full / "sub").mkdir(parents=True)
    give(full)
    closed.mkdir(mode=0o555)
    a_file.touch()

    assert "is not empty" in _refused(server, full, *options)
    assert "Permission denied" in _refused(server, closed / "data", *options)
    assert "not a directory" in _refused(server, a_file, *options)
    assert "not a directory" in _refused(server, a_file / "data", *options)
    assert "own directory" in _refused(server, server.base / "inside", *options)
    other = server.home.server("other", conninfo="host=/nonexistent")
    assert f"own directory {other.directory}" in _refused(server, other.directory / "base" / "inside", *options)
    assert "would share a directory" in _refused(
        server, place / "data", "--target-immediate", "--staging-wal-directory", place / "data" / "base", *options
    )
    assert not (place / "data").exists()


def test_hosts_that_cannot_be_reached_are_named(server, place):
    for command, reason in (
        ("ssh -F none -p 1 nobody@127.0.0.1", "Connection refused"),
        ("ssh -F none nobody@no-such-host.invalid", "no-such-host.invalid"),
        ("ssh 'unbalanced", "cannot be split"),
        ("/nonexistent/ssh host", "/nonexistent/ssh"),
    ):
        assert reason in _refused(server, place / "data", "--remote-ssh-command", command)
