"""Sizes, intervals and times as people read them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from barman.human import ctime, pretty_interval, pretty_percent, pretty_size


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (-96, "-96 B"),
        (-2048, "-2.0 KiB"),
        (16 << 20, "16.0 MiB"),
        (3 << 60, "3.0 EiB"),
        (2**90, "1024.0 YiB"),
    ],
)
def test_sizes_have_one_decimal_and_a_binary_unit(size_bytes, text):
    assert pretty_size(size_bytes) == text


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (timedelta(), "less than one second"),
        (timedelta(milliseconds=999), "less than one second"),
        (timedelta(seconds=1), "1 second"),
        (timedelta(days=1, hours=2, seconds=3), "1 day, 2 hours, 3 seconds"),
        (timedelta(minutes=-2), "2 minutes ago"),
        (timedelta(days=62), "62 days"),
    ],
)
def test_intervals_name_the_units_that_are_not_zero(interval, text):
    assert pretty_interval(interval) == text


def test_percent_has_two_decimals():
    assert pretty_percent(0.95719) == "95.72%"


def test_ctime_is_in_the_local_zone_as_c_writes_it():
    moment = datetime(2026, 11, 1, 5, 34, 2, tzinfo=timezone.utc)
    assert ctime(moment) == moment.astimezone().strftime("%a %b  1 %H:%M:%S %Y")
