"""Telling a slow copy from a dead one."""

from __future__ import annotations

import pytest

from barman.backup.stall import StallWatch
from barman.errors import ConnectionFailed


class Server:
    """Answers, or does not."""

    def __init__(self, *, alive=True):
        self.alive = alive
        self.asked = 0

    def probe(self):
        self.asked += 1
        if not self.alive:
            raise ConnectionFailed("no answer within 10 seconds")


def test_a_copy_that_moves_is_left_alone():
    server = Server(alive=False)
    watch = StallWatch(server.probe, quiet_s=3600)
    watch.progress()
    watch.tick()
    assert server.asked == 0


def test_a_silent_copy_from_a_living_server_is_waited_for():
    server = Server()
    watch = StallWatch(server.probe, quiet_s=0)
    for _ in range(10):
        watch.tick()
    assert server.asked == 10


def test_a_silent_copy_from_a_server_that_does_not_answer_is_given_up():
    server = Server(alive=False)
    watch = StallWatch(server.probe, quiet_s=0, failures=3)
    watch.tick()
    watch.tick()
    with pytest.raises(ConnectionFailed, match="PostgreSQL does not answer: no answer within 10 seconds"):
        watch.tick()


def test_an_answer_or_progress_in_between_starts_the_count_anew():
    server = Server(alive=False)
    watch = StallWatch(server.probe, quiet_s=0, failures=2)
    watch.tick()
    server.alive = True
    watch.tick()
    server.alive = False
    watch.tick()
    watch.progress()
    watch.tick()
    with pytest.raises(ConnectionFailed):
        watch.tick()
