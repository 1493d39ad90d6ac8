from __future__ import annotations

import errno
import functools
import os
import threading
import time

import pytest

from barman.host.transfer import Flow, Stopped, copy_file, copy_stream, work_through
from barman.progress import NoBar
from barman.restore.fetch import (
    HELD_BACK,
    copy_trees,
    data_route,
    make_links,
    release_control_file,
    tree_size,
    whole_route,
)
from barman.restore.plan import Placement


class _Counting(NoBar):
    def __init__(self):
        self.total = 0

    def advance(self, amount):
        self.total += amount


def _unable(*_):
    raise OSError(errno.ENOSYS, "Function not implemented")


def _move_for_ever(flow):
    while True:
        flow.passed(1)


@pytest.mark.parametrize("ways", [2, 1, 0], ids=["copy_file_range", "sendfile", "read and write"])
def test_a_copy_is_the_same_by_every_way(ways, tmp_path, monkeypatch):
    for name in ("copy_file_range", "sendfile")[: 2 - ways]:
        monkeypatch.setattr(os, name, _unable)
    source, target, bar = tmp_path / "a", tmp_path / "b", _Counting()
    source.write_bytes(os.urandom(9 << 20))
    source.chmod(0o640)
    os.utime(source, ns=(1, 1_000_000_007))

    copy_file(str(source), str(target), Flow(bar))

    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_mode & 0o777 == 0o640
    assert target.stat().st_mtime_ns == 1_000_000_007
    assert bar.total == 9 << 20


def test_the_pace_is_kept_by_all_workers_together():
    flow = Flow(NoBar(), bandwidth_kib_s=1024)
    began = time.monotonic()
    work_through([functools.partial(flow.passed, 64 << 10) for _ in range(4)], workers=4, flow=flow)
    assert time.monotonic() - began >= 0.2
    assert flow.chunk_size < Flow(NoBar()).chunk_size


def test_whoever_moves_bytes_hears_the_word_to_stop():
    flow = Flow(NoBar())
    flow.stop()
    with pytest.raises(Stopped):
        flow.passed(1)


def test_a_read_error_is_tried_again_as_often_as_allowed(tmp_path):
    attempts = []

    def fail(times):
        attempts.append(1)
        if len(attempts) <= times:
            raise OSError(errno.EIO, "Input/output error", "x")

    Flow(NoBar(), retry_times=2).stubbornly(lambda: fail(2))
    assert len(attempts) == 3
    attempts.clear()
    with pytest.raises(OSError, match="Input/output"):
        Flow(NoBar(), retry_times=1).stubbornly(lambda: fail(5))
    assert len(attempts) == 2


def test_a_full_disk_is_not_tried_again():
    attempts = []

    def fail():
        attempts.append(1)
        raise OSError(errno.ENOSPC, "No space left on device", "x")

    with pytest.raises(OSError, match="No space"):
        Flow(NoBar(), retry_times=5).stubbornly(fail)
    assert len(attempts) == 1


def test_the_first_failure_ends_all_work_and_is_the_one_raised():
    flow = Flow(NoBar())
    started = threading.Event()

    def long_task():
        started.set()
        _move_for_ever(flow)

    def broken():
        started.wait()
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        work_through([long_task, broken, *[lambda: None] * 100], workers=2, flow=flow)


def test_an_interruption_while_tasks_are_found_ends_the_workers():
    flow = Flow(NoBar())

    def tasks():
        yield functools.partial(_move_for_ever, flow)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work_through(tasks(), workers=1, flow=flow)


def test_a_stream_error_names_the_target(tmp_path):
    (tmp_path / "x").write_bytes(b"1")
    with (tmp_path / "x").open("rb") as reader, pytest.raises(OSError, match="t") as caught:
        copy_stream(reader, -1, Flow(NoBar()), target="t")
    assert caught.value.filename == "t"


def test_a_data_directory_is_copied_without_what_has_no_place_there(tmp_path):
    source, target, cold = tmp_path / "source", tmp_path / "target", tmp_path / "cold"
    files = {
        "PG_VERSION": "15",
        "global/pg_control": "control",
        "base/1/2": "table",
        "pg_wal/000000010000000000000001": "wal",
        "log/today": "log",
        "postmaster.pid": "1",
        "standby.signal": "",
        "pg_tblspc/readme": "x",
    }
    for name, content in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(content)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "t").write_text("tablespace")
    (source / "pg_tblspc" / "7").symlink_to(outside)
    (source / "other").symlink_to("PG_VERSION")
    target.mkdir()
    cold.mkdir()
    placement = Placement("cold", 7, cold, was_in_place=False)
    bar = _Counting()
    trees = [(source, data_route(target, [placement])), (outside, whole_route(cold))]

    copy_trees(trees, workers=3, flow=Flow(bar))
    make_links(target, [placement])

    found = {str(path.relative_to(target)) for path in target.rglob("*") if not path.is_dir()}
    assert found == {"PG_VERSION", HELD_BACK, "base/1/2", "pg_tblspc/readme", "other"}
    assert (target / "pg_wal").is_dir()
    assert (target / "pg_tblspc" / "7" / "t").read_text() == "tablespace"
    assert (target / "other").is_symlink()
    assert sum(tree_size(*tree) for tree in trees) == bar.total
    release_control_file(target)
    assert (target / "global" / "pg_control").read_text() == "control"
    make_links(target, [placement])


def test_links_to_wal_and_log_of_the_origin_become_directories(tmp_path):
    source, target, origin = tmp_path / "source", tmp_path / "target", tmp_path / "origin"
    for directory in (source, target, origin):
        directory.mkdir()
    for name in ("pg_wal", "log"):
        (source / name).symlink_to(origin)
    copy_trees([(source, data_route(target, []))], workers=1, flow=Flow(NoBar()))
    for name in ("pg_wal", "log"):
        assert (target / name).is_dir()
        assert not (target / name).is_symlink()


def test_many_files_come_in_many_tasks(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    for number in range(200):
        (source / str(number)).write_text(str(number))
    copy_trees([(source, functools.partial(os.path.join, str(target)))], workers=4, flow=Flow(NoBar()))
    assert {path.read_text() for path in target.iterdir()} == {str(number) for number in range(200)}
