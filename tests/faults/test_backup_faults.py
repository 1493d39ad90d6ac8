"""A backup that is killed, starved or deserted leaves nothing behind that the next one minds, and never lies."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import re
import shutil
import signal
import threading
import time

import pytest

from barman.backup.request import BackupRequest
from barman.backup.run import run_backup
from barman.backup.stall import StallWatch
from barman.catalog.record import Status, parse_record
from barman.config.load import load_config
from barman.errors import BackupFailed
from barman.progress import LogReporter
from barman.server import open_server
from tests.support.faults import find_points, needs_strace, run_to_point, run_with_fault
from tests.support.file_systems import small_disk
from tests.support.processes import children_of, processes_of, wait_until
from tests.support.users import give
from tests.support.verify import assert_backup_is_whole

pytestmark = [pytest.mark.pg(each=False), pytest.mark.timeout(900)]

# With --wait all of it happens in every run, however late the last WAL comes.
_BACKUP = ("backup", "--wait", "--wait-timeout", "120", "main")
STEPS = {
    "rename": {"rename", "replace"},
    "fsync": {"fsync", "fdatasync"},
    "unlink": {"unlink", "remove", "rmdir"},
    "mkdir": {"mkdir"},
}


@pytest.fixture
def server(home, cluster):
    """A server to back up; its WAL streams in."""
    made = home.streaming(cluster)
    made.start_streaming(cluster)
    made.close_and_archive(cluster)
    return made


def _records(server):
    meta = server.directory / "meta"
    found = (parse_record(path.read_text(), path.name[:15]) for path in sorted(meta.glob("*-backup.info")))
    return list(found)


def _assert_nothing_runs(server):
    def copying():
        mine = processes_of(server.home.directory)
        return {pid: words for pid, words in mine.items() if "pg_basebackup" in words.split()[0]}

    wait_until(lambda: not copying(), "pg_basebackup has ended", timeout_s=10)


def _assert_honest(server, cluster):
    """Whatever calls itself complete is complete."""
    for record in _records(server):
        if record.status in (Status.DONE, Status.WAITING_FOR_WALS):
            assert_backup_is_whole(cluster, server.base / record.backup_id / "data")
            assert record.size == sum(
                path.stat().st_size
                for path in (server.base / record.backup_id).rglob("*")
                if path.is_file() and not path.is_symlink()
            )


def _assert_the_next_works(server, cluster):
    server.run("backup", "--wait", "--wait-timeout", "60")
    assert _records(server)[-1].status is Status.DONE
    _assert_honest(server, cluster)
    server.run("list-backups")


def _points(server, step):
    """The calls of this kind that the first backup of a server makes.

    Not those about WAL, of which more or less may have come by then: test_archive_wal_faults has them.
    """
    # It makes the directories that are not forgotten below.
    server.run("check", check=False)
    _forget_backups(server)
    found = find_points(server.home, *_BACKUP)
    _forget_backups(server)
    mine = [point for point in found if not re.search(r"/main/(wals|streaming|incoming)\b", point.place)]
    return [point for point in mine if point.call in STEPS[step]]


def _forget_backups(server):
    for directory in (server.base, server.directory / "meta"):
        shutil.rmtree(directory, ignore_errors=True)
    (server.directory / "identity.json").unlink(missing_ok=True)


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_every_step_the_next_backup_works(step, server, cluster):
    points = _points(server, step)
    assert points or step == "unlink"
    for point in points:
        run_to_point(server.home, point, "kill", *_BACKUP)
        _assert_nothing_runs(server)
        # What a power cut leaves is EMPTY or STARTED, or what it was.
        left = {record.status for record in _records(server)}
        assert left <= {Status.EMPTY, Status.STARTED, Status.WAITING_FOR_WALS, Status.DONE}
        _assert_honest(server, cluster)
        _assert_the_next_works(server, cluster)
        _forget_backups(server)


@needs_strace
@pytest.mark.parametrize("number", [1, 5, 40])
def test_killed_while_its_threads_flush_the_copy(number, server, cluster):
    _run_with_fault(server, "fsync,fdatasync", "signal=SIGKILL", str(number), threads=True)
    _assert_nothing_runs(server)
    _assert_honest(server, cluster)
    _assert_the_next_works(server, cluster)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_an_error_at_every_step_is_told_and_noted(step, error, server, cluster):
    for point in _points(server, step):
        result = run_to_point(server.home, point, error, *_BACKUP)
        _assert_nothing_runs(server)
        assert "Traceback" not in result.stderr, result
        statuses = [record.status for record in _records(server)]
        if result.status == 0:
            assert statuses in ([Status.WAITING_FOR_WALS], [Status.DONE]), point
        else:
            assert result.status == 1, result
            assert result.stderr.count("ERROR: ") == 1, result
            assert statuses in ([], [Status.FAILED], [Status.WAITING_FOR_WALS], [Status.DONE]), point
        _assert_honest(server, cluster)
        _forget_backups(server)
    _assert_the_next_works(server, cluster)


@needs_strace
@pytest.mark.parametrize("number", [1, 30])
def test_a_file_that_cannot_be_flushed_fails_the_backup_by_name(number, server, cluster):
    result = _run_with_fault(server, "fsync", "error=EIO", f"{number}", threads=True)
    last = _records(server)[-1:]
    assert result.status == 1
    assert "Input/output error" in result.stderr
    assert "/" in result.stderr
    assert not last or last[0].status is Status.FAILED
    _assert_the_next_works(server, cluster)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_asked_to_end_at_any_moment_it_ends_clean(number, seed, server, cluster):
    # One that runs through tells how long there is to choose from.
    began = time.monotonic()
    server.run("backup", "--bwlimit", "20000")
    whole_s = time.monotonic() - began
    before = {record.backup_id for record in _records(server)}
    process = server.home.start("backup", "main", "--bwlimit", "20000")
    time.sleep(random.Random(seed).uniform(0.1, 1) * whole_s)
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    text = stderr.decode()
    _assert_nothing_runs(server)
    new = [record for record in _records(server) if record.backup_id not in before]
    assert "Traceback" not in text
    # A signal that comes before the program listens to it ends it as it ends any program.
    assert process.returncode in (0, 1, -number)
    assert text.count("ERROR: ") == (process.returncode == 1)
    assert all(record.status in (Status.FAILED, Status.WAITING_FOR_WALS, Status.DONE) for record in new), new
    assert all(record.status is not Status.FAILED or record.error for record in new)
    _assert_the_next_works(server, cluster)


def test_killed_in_the_middle_of_the_copy_nothing_goes_on(server, cluster):
    process = server.home.start("backup", "main", "--bwlimit", "512")
    wait_until(lambda: any(server.base.glob("*/data/base")), "the copy is under way")
    process.kill()
    process.communicate(timeout=10)
    _assert_nothing_runs(server)
    assert [record.status for record in _records(server)] == [Status.STARTED]
    server.home.cron()
    [record] = _records(server)
    assert record.status is Status.FAILED
    assert record.error.startswith("the process that took this backup ended before the backup did")
    _assert_the_next_works(server, cluster)


def test_a_server_that_crashes_in_the_middle_fails_the_backup(server, cluster):
    process = server.home.start("backup", "main", "--bwlimit", "512")
    wait_until(lambda: any(server.base.glob("*/data/base")), "the copy is under way")
    cluster.crash()
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert stderr.decode().count("ERROR: ") == 1
    [record] = _records(server)
    assert record.status is Status.FAILED
    assert record.error.startswith("failure copying files (")
    cluster.start()
    server.start_streaming(cluster)
    _assert_the_next_works(server, cluster)


def test_a_frozen_server_does_not_hold_it_for_ever(server, cluster, monkeypatch):
    monkeypatch.setattr(
        "barman.backup.executors.postgres.StallWatch", functools.partial(StallWatch, quiet_s=0.5, failures=2)
    )
    server.set(conninfo=f"{cluster.conninfo()} connect_timeout=2", bandwidth_limit=512)
    frozen = []

    class Freezer(LogReporter):
        """Stops the server as soon as the copy is under way."""

        def info(self, message):
            if message.startswith("Starting backup copy"):
                threading.Thread(target=freeze).start()

    def freeze():
        wait_until(lambda: any(server.base.glob("*/data/base")), "the copy is under way")
        for pid in (cluster.pid(), *children_of(cluster.pid())):
            os.kill(pid, signal.SIGSTOP)
            frozen.append(pid)

    began = time.monotonic()
    try:
        with pytest.raises(BackupFailed, match="PostgreSQL does not answer"):
            run_backup(open_server(load_config(server.home.conf), "main"), BackupRequest(), Freezer())
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    assert time.monotonic() - began < 60
    [record] = _records(server)
    assert record.status is Status.FAILED
    _assert_nothing_runs(server)
    for path in server.home.path.rglob("*"):
        give(path)
    server.set(bandwidth_limit=None)
    _assert_the_next_works(server, cluster)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to mount a small file system")
def test_a_full_disk_is_named_and_the_record_says_failed(home, cluster):
    cluster.load(20000)
    with small_disk(home.path, "size=40m"):
        server = home.streaming(cluster)
        server.start_streaming(cluster)
        server.close_and_archive(cluster)
        result = server.run("backup", check=False)
        assert result.status == 1
        assert result.stderr.count("ERROR: ") == 1
        assert "No space left on device" in result.stderr
        assert str(home.path) in result.stderr
        [record] = _records(server)
        assert record.status is Status.FAILED
        assert "No space left on device" in record.error
        _assert_nothing_runs(server)
        server.run("list-backups")


def _run_with_fault(server, calls, fault, when, *, threads=False):
    home = server.home
    words = home.argv("backup", server.name)
    return run_with_fault(
        words, calls=calls, fault=fault, when=when, env=home.environment(), cwd=home.directory, threads=threads
    )
