from __future__ import annotations

import struct

import pytest

from barman.postgres.control_file import parse_limits


def _content(version=1300, wal_level=1):
    return struct.pack("=8xI160xI4xIIIII", version, wal_level, 500, 8, 10, 0, 64) + bytes(100)


def test_the_limits_of_the_server_are_known():
    assert parse_limits(_content()) == {
        "max_connections": 500,
        "max_worker_processes": 8,
        "max_wal_senders": 10,
        "max_prepared_transactions": 0,
        "max_locks_per_transaction": 64,
    }


@pytest.mark.parametrize("content", [_content(version=1100), _content(version=9999), _content(wal_level=7), b"", b"x"])
def test_what_is_not_understood_says_nothing(content):
    assert parse_limits(content) == {}
