from __future__ import annotations

import io
import os
import threading

import pytest

from barman.host.read_ahead import reading_ahead

CONTENT = os.urandom((5 << 20) + 17)


class _Failing(io.BytesIO):
    def readinto(self, buffer):
        if self.tell() > 2 << 20:
            raise OSError("out of order")
        return super().readinto(memoryview(buffer)[:100_000])


def _rest(ahead, size=300_000):
    return b"".join(iter(lambda: ahead.read(size), b""))


@pytest.mark.parametrize("size", [1000, 300_000, 1 << 20, 3 << 20])
def test_all_of_a_file_is_read_in_order(size):
    with reading_ahead(io.BytesIO(CONTENT)) as ahead:
        assert _rest(ahead, size) == CONTENT
        assert ahead.read(1) == b""


def test_what_reading_raises_is_raised_behind_what_was_read():
    with reading_ahead(_Failing(CONTENT)) as ahead, pytest.raises(OSError, match="out of order"):
        assert _rest(ahead) is None


def test_who_stops_reading_leaves_no_thread():
    with reading_ahead(io.BytesIO(CONTENT)) as ahead:
        assert ahead.read(10) == CONTENT[:10]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]
