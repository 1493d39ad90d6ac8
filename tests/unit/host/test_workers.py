"""Several workers at one list of tasks."""

from __future__ import annotations

import threading

import pytest

from barman.host.transfer import Stopped
from barman.host.workers import Workers


def test_every_task_is_done_once_by_somebody():
    done = []
    lock = threading.Lock()

    def task(number):
        def work(lane):
            with lock:
                done.append((number, lane))

        return work

    Workers(["a", "b", "c"], on_tick=lambda: None).work_off([task(number) for number in range(100)])
    assert sorted(number for number, _ in done) == list(range(100))
    assert {lane for _, lane in done} <= {"a", "b", "c"}


def test_a_failure_stops_the_others_and_is_raised():
    begun = threading.Event()
    stopped = threading.Event()
    workers = Workers([1, 2], on_tick=lambda: None)

    def fail(lane):
        begun.wait(10)
        raise OSError("no space")

    def long(lane):
        begun.set()
        try:
            workers.pause(60)
        except Stopped:
            stopped.set()
            raise

    with pytest.raises(OSError, match="no space"):
        workers.work_off([fail, long, fail, fail])
    assert stopped.is_set()


def test_what_is_looked_after_meanwhile_can_end_the_work():
    workers = Workers([1], on_tick=lambda: (_ for _ in ()).throw(ValueError("session lost")))
    with pytest.raises(ValueError, match="session lost"):
        workers.work_off([lambda _: workers.pause(60)])


def test_nothing_to_do_is_nothing_done():
    Workers([1, 2], on_tick=lambda: None).work_off([])
