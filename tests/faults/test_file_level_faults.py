"""A copy of files that is cut, killed or starved fails with a reason, and leaves nothing behind that anybody minds."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import subprocess
import time

import pytest

from barman.catalog.record import Status, parse_record
from tests.support.file_systems import small_disk
from tests.support.processes import children_of, is_alive, processes_of, wait_until

pytestmark = pytest.mark.pg(each=False)

_BACKUP_SESSIONS = (
    "select pid from pg_stat_activity where query ~ 'backup_start|SELECT 1 AS one' and pid <> pg_backend_pid()"
)


@pytest.fixture
def server(home, cluster, sshd):
    """A server backed up over ssh by two workers, with one good backup, and a load of changes after it."""
    cluster.load(3000)
    made = home.copying(cluster, ssh=sshd.command, reuse_backup="link", parallel_jobs=2)
    made.start_streaming(cluster)
    made.close_and_archive(cluster)
    made.run("backup", "--wait", "--wait-timeout", "60")
    cluster.load(3000)
    return made


@pytest.fixture
def slow_backup(server):
    """Starts a backup, slow enough to be disturbed, and returns when its files are being copied."""

    def start(*words):
        process = server.home.start("backup", "main", "--bwlimit", "1000", *words)
        wait_until(lambda: any(server.base.glob("*/.copying/*/*")), "files are being copied")
        return process

    return start


def _records(server):
    meta = server.directory / "meta"
    return [parse_record(path.read_text(), path.name[:15]) for path in sorted(meta.glob("*-backup.info"))]


def _picture(server, backup_id):
    """Content, times and modes of every file of a backup."""
    root = server.base / backup_id
    return {
        str(path.relative_to(root)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
            path.stat().st_mode,
        )
        for path in root.rglob("*")
        if path.is_file()
    }


def _programs(server, *names):
    mine = processes_of(server.home.directory)
    return {pid: words for pid, words in mine.items() if os.path.basename(words.split()[0]) in names}


def _assert_nothing_runs(server, cluster):
    wait_until(lambda: not _programs(server, "rsync", "ssh"), "rsync and ssh have ended", timeout_s=60)
    wait_until(lambda: not cluster.sql(_BACKUP_SESSIONS), "the backup's session is closed")


def _finish(process, *, timeout_s=60):
    _, stderr = process.communicate(timeout=timeout_s)
    text = stderr.decode()
    assert "Traceback" not in text
    return text


def _assert_failed_well(server, cluster, text, first):
    assert text.count("ERROR: ") == 1, text
    last = _records(server)[-1]
    assert last.status is Status.FAILED
    assert last.error.startswith("failure copying files (")
    assert len(text) < 1000
    _assert_nothing_runs(server, cluster)
    _assert_the_next_works(server, first)


def _assert_the_next_works(server, first):
    backup_id, picture = first
    assert _picture(server, backup_id) == picture
    server.run("backup", "--wait", "--wait-timeout", "60")
    assert _records(server)[-1].status is Status.DONE
    assert _picture(server, backup_id) == picture


@pytest.fixture
def first(server):
    """The good backup, and what it looks like."""
    [backup_id] = server.backup_ids()
    return backup_id, _picture(server, backup_id)


def test_a_killed_rsync_fails_the_backup(server, cluster, slow_backup, first):
    process = slow_backup()
    os.kill(min(_programs(server, "rsync")), signal.SIGKILL)
    text = _finish(process)
    assert process.returncode == 1
    _assert_failed_well(server, cluster, text, first)


def test_a_connection_that_is_cut_fails_the_backup(server, cluster, slow_backup, first, sshd):
    process = slow_backup()
    for pid in children_of(sshd.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    text = _finish(process)
    assert process.returncode == 1
    assert "127.0.0.1" in text
    _assert_failed_well(server, cluster, text, first)


def test_a_server_that_crashes_ends_the_copy_at_once(server, cluster, slow_backup, first):
    process = slow_backup("--keepalive-interval", "3600")
    cluster.crash()
    text = _finish(process)
    assert process.returncode == 1
    cluster.start()
    server.start_streaming(cluster)
    _assert_failed_well(server, cluster, text, first)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_asked_to_end_it_ends_clean(number, seed, server, cluster, slow_backup, first):
    process = slow_backup()
    time.sleep(random.Random(seed).uniform(0, 2))
    process.send_signal(number)
    _finish(process)
    assert process.returncode == 1
    assert _records(server)[-1].status is Status.FAILED
    _assert_nothing_runs(server, cluster)
    _assert_the_next_works(server, first)


def test_killed_nothing_goes_on_copying(server, cluster, slow_backup, first):
    process = slow_backup()
    process.kill()
    process.communicate(timeout=10)
    _assert_nothing_runs(server, cluster)
    assert _records(server)[-1].status is Status.STARTED
    _assert_the_next_works(server, first)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("victim", ["rsync", "ssh", "sshd", "session", "PostgreSQL", "barman"])
def test_whatever_is_killed_whenever_there_is_the_old_state_or_the_new(victim, seed, server, cluster, first, sshd):
    chance = random.Random(f"{victim} {seed}")
    process = server.home.start("backup", "main", "--bwlimit", "1000", "--keepalive-interval", "1")
    _kill_sometime(victim, chance, process, server, cluster, sshd)
    _finish(process)
    if not cluster.is_running():
        cluster.start()
        server.start_streaming(cluster)
    last = _records(server)[-1]
    if process.returncode == 0:
        assert last.status in (Status.DONE, Status.WAITING_FOR_WALS)
    elif process.returncode == 1 and last.backup_id != first[0]:
        assert last.status is Status.FAILED
        assert last.error
    _assert_nothing_runs(server, cluster)
    _assert_the_next_works(server, first)


def _kill_sometime(victim, chance, process, server, cluster, sshd):
    """Kill one of what serves the backup as soon as there is one, from some moment on."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(chance.uniform(0, 5))
    if victim == "PostgreSQL":
        cluster.crash()
        return
    while process.poll() is None:
        found = {
            "barman": lambda: [process.pid],
            "rsync": lambda: _programs(server, "rsync"),
            "ssh": lambda: _programs(server, "ssh"),
            "sshd": sshd.sessions,
            "session": lambda: [pid for (pid,) in cluster.sql(_BACKUP_SESSIONS)],
        }[victim]()
        if found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(sorted(found)), signal.SIGTERM if victim == "session" else signal.SIGKILL)
            return
        time.sleep(0.01)


@pytest.mark.parametrize("victim", ["rsync", "connection"])
def test_a_copy_is_tried_again_without_touching_an_earlier_backup(victim, server, cluster, slow_backup, first, sshd):
    process = slow_backup("--retry-times", "3", "--retry-sleep", "1")
    victims = [min(_programs(server, "rsync"))] if victim == "rsync" else children_of(sshd.pid)
    for pid in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    # What was copied or linked in the first attempt is another file by the second.
    cluster.sql("update accounts set owner = 'changed'; checkpoint")
    text = _finish(process, timeout_s=120)
    assert process.returncode == 0, text
    assert "trying again in 1 seconds" in text
    _assert_nothing_runs(server, cluster)
    _assert_the_next_works(server, first)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to mount a small file system")
def test_a_full_disk_is_named_and_does_not_hold_the_server(home, clusters, installation):
    cluster = clusters.make(installation, segment_size=1 << 20)
    cluster.load(40000)
    # WAL cannot be archived while the disk is full, which must not hold the end of the backup.
    with small_disk(home.path, "size=30m"):
        server = home.copying(cluster, archiver="on", streaming_archiver="off", slot_name=None, create_slot=None)
        cluster.archive_with(f"cp %p {server.incoming}/%f")
        server.run("check", check=False)
        cluster.switch_wal()
        wait_until(lambda: any(server.incoming.iterdir()), "WAL arrives")
        server.run("archive-wal")
        result = server.run("backup", check=False, timeout_s=120)
        assert result.status == 1
        assert result.stderr.count("ERROR: ") == 1, result
        assert "No space left on device" in result.stderr
        [record] = _records(server)
        assert record.status is Status.FAILED
        assert "No space left on device" in record.error
        _assert_nothing_runs(server, cluster)
        server.run("list-backups")


def test_a_server_that_cannot_archive_its_wal_does_not_hold_the_end(home, clusters, installation):
    _assert_the_end_is_not_held(home, clusters.make(installation, segment_size=1 << 20), "concurrent_backup")


@pytest.mark.pg("< 15", each=False)
def test_nor_does_it_hold_that_of_an_exclusive_backup(home, clusters, installation):
    _assert_the_end_is_not_held(home, clusters.make(installation, segment_size=1 << 20), "exclusive_backup")


def _assert_the_end_is_not_held(home, cluster, options):
    # As when the disk of this host is full: PostgreSQL would wait for the last segment until there is room again.
    nothing = {"streaming_archiver": "off", "slot_name": None, "create_slot": None}
    server = home.copying(cluster, archiver="on", backup_options=options, **nothing)
    room = home.directory / "room"
    room.touch()
    cluster.archive_with(f"test -e {room} && cp %p {server.incoming}/%f")
    server.run("check", check=False)
    cluster.switch_wal()
    wait_until(lambda: any(server.incoming.iterdir()), "WAL arrives")
    server.run("archive-wal")
    room.unlink()
    result = server.run("backup", timeout_s=120)
    assert "WAITING_FOR_WALS" in result.stderr
    [record] = _records(server)
    assert record.status is Status.WAITING_FOR_WALS
    _assert_nothing_runs(server, cluster)
    room.touch()
    server.archive_up_to(record.end_wal)
    server.home.cron()
    [record] = _records(server)
    assert record.status is Status.DONE


@pytest.mark.pg("< 15", each=False)
def test_an_exclusive_backup_that_fails_is_ended_on_the_server(home, cluster):
    server = home.copying(cluster, backup_options="exclusive_backup")
    server.start_streaming(cluster)
    server.close_and_archive(cluster)
    process = server.home.start("backup", "main", "--bwlimit", "500")
    wait_until(lambda: any(server.base.glob("*/.copying/*/*")), "files are being copied")
    assert cluster.value("select pg_is_in_backup()")
    process.send_signal(signal.SIGTERM)
    _finish(process)
    assert process.returncode == 1
    assert not cluster.value("select pg_is_in_backup()")
    assert not (cluster.data / "backup_label").exists()
    server.run("backup", "--wait", "--wait-timeout", "60")
    assert not is_alive(process.pid)


@pytest.mark.pg("< 15", each=False)
@pytest.mark.parametrize("way", ["here", "ssh"])
def test_an_exclusive_backup_that_was_killed_is_ended_by_the_next(way, home, cluster, request):
    ssh = request.getfixturevalue("sshd").command if way == "ssh" else None
    server = home.copying(cluster, ssh=ssh, backup_options="exclusive_backup")
    server.start_streaming(cluster)
    server.close_and_archive(cluster)
    process = server.home.start("backup", "main", "--bwlimit", "500")
    wait_until(lambda: any(server.base.glob("*/.copying/*/*")), "files are being copied")
    process.kill()
    process.communicate(timeout=60)
    assert cluster.value("select pg_is_in_backup()")
    result = server.run("backup", "--wait", "--wait-timeout", "60")
    assert "ending the exclusive backup that was left over on the server: Barman backup main " in result.stderr
    assert _records(server)[-1].status is Status.DONE
    assert not cluster.value("select pg_is_in_backup()")
    # What somebody else has begun is nobody's to end.
    cluster.sql("select pg_start_backup('by hand', true)")
    result = server.run("backup", check=False)
    assert result.status == 1
    assert "backup is already in progress" in result.stderr
    assert cluster.value("select pg_is_in_backup()")
