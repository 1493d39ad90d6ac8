"""Two steps of work on one stream: whoever fails first is heard."""

from __future__ import annotations

import threading

import pytest

from barman.storage.encrypt.piped import piped

MUCH = 1 << 20


def test_what_one_writes_the_other_reads():
    with piped(lambda target: target.write(b"x" * MUCH)) as reader:
        assert b"".join(iter(lambda: reader.read(4096), b"")) == b"x" * MUCH


def test_a_failure_of_the_writer_is_raised_in_place_of_what_the_reader_makes_of_it():
    def fail(target):
        target.write(b"half")
        raise ValueError("the cause")

    def read_all(reader):
        while reader.read(4096):
            pass
        raise EOFError("it ends early")

    with pytest.raises(ValueError, match="the cause"), piped(fail) as reader:
        read_all(reader)


def test_a_failure_after_the_last_byte_is_raised_too():
    def fail(target):
        target.write(b"all")
        target.flush()
        raise ValueError("the sum is wrong")

    with pytest.raises(ValueError, match="the sum is wrong"), piped(fail) as reader:
        reader.read(3)


def test_a_failure_of_the_reader_ends_the_writer_and_is_raised():
    ended = threading.Event()

    def write(target):
        try:
            while True:
                target.write(b"x" * 4096)
        finally:
            ended.set()

    def read_a_little(reader):
        reader.read(10)
        raise EOFError("enough")

    with pytest.raises(EOFError, match="enough"), piped(write) as reader:
        read_a_little(reader)
    assert ended.is_set()
