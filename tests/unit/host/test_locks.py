"""Lock files, shared with any Barman."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
import time

import pytest

from barman.errors import LockBusy, StorageError
from barman.host.locks import HeldLock, Locks, cleanup, config_update_lock, held_locks

BACKUP = "20261121T053909"

HOLD = """
import fcntl, sys
file = open(sys.argv[1], "a+")
fcntl.flock(file, fcntl.LOCK_EX)
file.truncate(0); file.write("4711\\n"); file.flush()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def hold():
    """Have another process hold a lock file as the original does."""
    processes = []

    def start(path):
        process = subprocess.Popen([sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        processes.append(process)
        assert process.stdout.readline() == b"held\n"
        return process

    yield start
    for process in processes:
        with process:
            process.stdin.close()


def test_a_held_lock_has_our_pid_in_its_file(tmp_path):
    with Locks(tmp_path, "main").cron() as lock:
        assert lock.path == tmp_path / ".main-cron.lock"
        assert lock.path.read_text() == f"{os.getpid()}\n"
        assert lock.path.stat().st_mode & 0o777 == 0o600
    assert lock.path.exists()


def test_on_a_full_disk_a_lock_is_held_by_somebody_unnamed(tmp_path, monkeypatch):
    def write(_descriptor, _content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    lock = Locks(tmp_path, "main").cron()
    lock.path.write_text("4711\n")
    monkeypatch.setattr(os, "write", write)
    with lock:
        assert lock.holder() == 0
        with pytest.raises(LockBusy):
            Locks(tmp_path, "main").cron().acquire()


def test_names_are_those_of_the_original(tmp_path):
    locks = Locks(tmp_path, "main")
    made = [
        locks.cron(),
        locks.archive_wal(),
        locks.receive_wal(),
        locks.backup(),
        locks.backup_id("20261121T053909"),
        locks.xlogdb(),
        locks.sync_backup("20261121T053909"),
        locks.sync_wal(),
        config_update_lock(tmp_path),
    ]
    assert [lock.path.name for lock in made] == [
        ".main-cron.lock",
        ".main-archive-wal.lock",
        ".main-receive-wal.lock",
        ".main-backup.lock",
        ".main-20261121T053909.lock",
        ".main-xlogdb.lock",
        ".main-20261121T053909-sync-backup.lock",
        ".main-sync-wal.lock",
        ".config-update.lock",
    ]


def test_a_busy_lock_tells_its_holder(tmp_path, hold):
    locks = Locks(tmp_path, "main")
    hold(locks.backup().path)
    with pytest.raises(LockBusy, match="server main") as caught:
        locks.backup().acquire()
    assert caught.value.holder == 4711
    assert locks.backup().path.read_text() == "4711\n", "who tries leaves the holder's pid alone"


def test_a_lock_is_not_reentrant(tmp_path):
    locks = Locks(tmp_path, "main")
    with locks.cron(), pytest.raises(LockBusy):
        locks.cron().acquire()


def test_a_lock_held_for_an_instant_is_waited_for(tmp_path):
    lock = Locks(tmp_path, "main").cron()
    lock.path.touch()
    with lock.path.open() as probe:
        fcntl.flock(probe, fcntl.LOCK_EX)
        threading.Timer(0.05, fcntl.flock, (probe, fcntl.LOCK_UN)).start()
        lock.acquire(wait=False)
    lock.release()


def test_waiting_locks_wait(tmp_path, hold):
    lock = Locks(tmp_path, "main").xlogdb()
    process = hold(lock.path)
    threading.Timer(0.5, process.stdin.close).start()
    began = time.monotonic()
    with lock:
        assert time.monotonic() - began > 0.3


def test_waiting_has_a_limit_if_asked_for(tmp_path, hold):
    lock = Locks(tmp_path, "main").xlogdb()
    hold(lock.path)
    with pytest.raises(LockBusy):
        lock.acquire(wait=0.4)


def test_who_wants_a_backup_that_is_in_use_is_told_by_whom_and_what_for(tmp_path):
    locks = Locks(tmp_path, "main")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    locks.backup_id(BACKUP).path.write_text(f"{gone.pid} exporting backup {BACKUP} of server main\n")

    with locks.lease(BACKUP, "restoring"), locks.lease(BACKUP, "verifying"), pytest.raises(LockBusy) as caught:
        locks.backup_id(BACKUP).acquire()

    assert caught.value.message == (
        f"another process is restoring backup {BACKUP} of server main (process {os.getpid()}, and 1 more)"
    )
    with locks.backup_id(BACKUP) as lock:
        assert lock.path.read_text() == f"{os.getpid()}\n"


def test_those_who_have_ended_are_not_named(tmp_path):
    lock = Locks(tmp_path, "main").backup_id(BACKUP)
    with lock.shared("reading"):
        lock.path.write_text("nonsense\n999999999 restoring it\n")
        with pytest.raises(LockBusy, match=f"another process is already working on backup {BACKUP} of server main$"):
            lock.acquire()


def test_a_backup_is_not_used_while_it_is_changed(tmp_path, hold):
    locks = Locks(tmp_path, "main")
    hold(locks.backup_id(BACKUP).path)
    with pytest.raises(LockBusy, match="4711"), locks.lease(BACKUP, "restoring"):
        pass


def test_a_lock_file_unlinked_by_a_cleanup_is_made_anew(tmp_path, hold):
    lock = Locks(tmp_path, "main").cron()
    process = hold(lock.path)
    threading.Timer(0.1, lambda: (lock.path.unlink(), process.stdin.close())).start()
    with lock:
        assert lock.path.read_text() == f"{os.getpid()}\n"


def test_the_holder_is_found_without_disturbing_it(tmp_path, hold):
    lock = Locks(tmp_path, "main").cron()
    assert lock.holder() is None
    lock.path.touch()
    assert lock.holder() is None
    hold(lock.path)
    assert lock.holder() == 4711


def test_a_removed_lock_leaves_no_file(tmp_path):
    lock = Locks(tmp_path, "main").backup_id("20261121T053909")
    lock.acquire()
    lock.remove()
    assert os.listdir(tmp_path) == []


def test_an_impossible_directory_is_an_error_that_names_the_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"file/\.main-cron\.lock"):
        Locks(tmp_path / "file", "main").cron().acquire()


def test_locks_of_a_server_are_not_those_of_one_with_a_longer_name(tmp_path):
    names = ["a", "a-b", "a-b-20261121T053909-sync"]
    with Locks(tmp_path, "a-b").receive_wal(), Locks(tmp_path, names[2]).backup():
        assert held_locks(tmp_path, names, "a") == []
        assert held_locks(tmp_path, names, "a-b") == [HeldLock("receive-wal", None, os.getpid())]
        assert held_locks(tmp_path, names, names[2]) == [HeldLock("backup", None, os.getpid())]


def test_held_locks_tell_task_and_backup(tmp_path):
    locks = Locks(tmp_path, "main")
    (tmp_path / ".main-nonsense.lock").touch()
    with locks.backup_id("20261121T053909"), locks.sync_backup("20261121T053909"), locks.cron(), locks.xlogdb():
        assert set(held_locks(tmp_path, ["main"], "main")) == {
            HeldLock("backup-id", "20261121T053909", os.getpid()),
            HeldLock("sync-backup", "20261121T053909", os.getpid()),
            HeldLock("cron", None, os.getpid()),
            HeldLock("xlogdb", None, os.getpid()),
        }
    assert held_locks(tmp_path, ["main"], "main") == []


def test_cleanup_removes_what_nobody_holds(tmp_path, hold):
    locks = Locks(tmp_path, "main")
    with locks.backup():
        pass
    hold(locks.cron().path)
    (tmp_path / "other").touch()
    cleanup(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".main-cron.lock", "other"]


def test_cleanup_never_lets_two_in(tmp_path):
    """Many takers and a busy cleanup: at no time are two inside."""
    inside, worst = [], []
    end = time.monotonic() + 1

    def take():
        while time.monotonic() < end:
            with Locks(tmp_path, "main").xlogdb():
                inside.append(1)
                worst.append(len(inside))
                time.sleep(0.001)
                inside.pop()

    def clean():
        while time.monotonic() < end:
            cleanup(tmp_path)

    threads = [threading.Thread(target=take) for _ in range(3)] + [threading.Thread(target=clean)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(worst) == 1
    assert len(worst) > 10
