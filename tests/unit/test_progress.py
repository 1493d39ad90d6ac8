"""How far a job is, when nobody watches."""

from __future__ import annotations

import logging

import pytest

from barman.human import pretty_progress
from barman.progress import LogBar, LogReporter


class _Clock:
    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


def test_the_log_is_told_once_a_minute(caplog):
    caplog.set_level(logging.INFO, logger="barman")
    clock = _Clock()
    bar = LogBar("Copying", 4 << 30, "bytes", clock=clock)
    for _ in range(1023):
        clock.seconds += 0.1
        bar.advance(1 << 20)
    assert caplog.messages == ["Copying: 600.0 MiB of 4.0 GiB (15%), 10.0 MiB/s, 5 minutes, 49 seconds left"]


def test_the_log_is_told_that_nothing_moves(caplog):
    caplog.set_level(logging.INFO, logger="barman")
    clock = _Clock()
    with LogReporter().bar("Copying", total=None, unit="bytes") as real:
        real.advance(0)
    bar = LogBar("Copying", 100, "bytes", clock=clock)
    for _ in range(3):
        clock.seconds += 60
        bar.advance(0)
    assert caplog.messages == ["Copying: 0 B of 100 B (0%), 0 B/s"] * 3


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        pytest.param((1 << 30, None, "bytes", 64), "1.0 GiB, 16.0 MiB/s", id="unknown total"),
        pytest.param((10, 40, "files", 60), "10 of 40 (25%) files, 3 minutes left", id="files"),
        pytest.param((50, 40, "bytes", 10), "50 B of 40 B (100%), 5 B/s", id="more than said"),
        pytest.param((0, 0, "segments", 0), "0 segments", id="nothing"),
    ],
)
def test_progress_reads_well(arguments, text):
    assert pretty_progress(*arguments) == text
