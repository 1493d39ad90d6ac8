"""Waiting until WAL is in the archive."""

from __future__ import annotations

import threading

import pytest

from barman.progress import LogReporter
from barman.server import open_server
from barman.wal.wait import wait_for_delivery, wait_for_wal
from tests.support.settings import load_text
from tests.support.wal import name_of, segment

SECTION = "[main]\nconninfo = host=/nonexistent user=nobody\nbackup_method = postgres\narchiver = on\n"


@pytest.fixture
def server(tmp_path):
    """A server that gets its WAL from archive_command."""
    made = open_server(load_text(tmp_path, SECTION), "main")
    for directory in made.paths.directories:
        directory.mkdir(parents=True, exist_ok=True)
    return made


def _deliver(server, *numbers):
    for name in map(name_of, numbers):
        temporary = server.paths.incoming / f".{name}.tmp"
        temporary.write_bytes(segment(name))
        temporary.rename(server.paths.incoming / name)


def test_what_has_arrived_is_archived_and_found(server):
    _deliver(server, 5)
    assert wait_for_wal(server, name_of(5), 20, LogReporter())
    assert server.wal_archive.missing([name_of(5)]) == []


def test_what_is_archived_already_is_not_waited_for(server):
    _deliver(server, 5)
    wait_for_wal(server, name_of(5), 20, LogReporter())
    assert wait_for_wal(server, name_of(5), 0, LogReporter())


def test_what_arrives_later_is_found(server):
    timer = threading.Timer(0.3, _deliver, (server, 6))
    timer.start()
    assert wait_for_wal(server, name_of(6), 20, LogReporter())
    timer.join()


def test_what_does_not_arrive_is_given_up(server):
    _deliver(server, 5)
    assert not wait_for_wal(server, name_of(6), 0.3, LogReporter())
    assert server.wal_archive.exists(name_of(5))


def test_without_a_name_anything_newer_will_do(server):
    _deliver(server, 5)
    wait_for_wal(server, name_of(5), 20, LogReporter())
    assert not wait_for_wal(server, None, 0.3, LogReporter())
    _deliver(server, 6)
    assert wait_for_wal(server, None, 20, LogReporter())


def test_the_server_is_nudged_at_once(server):
    assert wait_for_wal(server, name_of(7), 20, LogReporter(), nudge=lambda: _deliver(server, 7))


def test_another_segment_that_serves_as_well_ends_the_waiting(server):
    _deliver(server, 5)
    assert wait_for_wal(
        server, name_of(7), 20, LogReporter(), is_replaced=lambda: server.wal_archive.exists(name_of(5))
    )


def test_somebody_else_may_be_archiving(server):
    _deliver(server, 5)
    with server.locks.archive_wal():
        assert not wait_for_wal(server, name_of(5), 0.5, LogReporter())
    assert wait_for_wal(server, name_of(5), 20, LogReporter())


def test_a_delivery_is_waited_for_and_not_archived(server):
    assert not wait_for_delivery(server, name_of(5), 0.3)
    timer = threading.Timer(0.3, _deliver, (server, 5))
    timer.start()
    assert wait_for_delivery(server, name_of(5), 20)
    timer.join()
    assert not server.wal_archive.exists(name_of(5))


def test_what_was_delivered_may_be_archived_already(server):
    _deliver(server, 5)
    wait_for_wal(server, name_of(5), 20, LogReporter())
    assert wait_for_delivery(server, name_of(5), 0)
