"""Positions in a record."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barman.backup.positions import begin_at, describe_position, end_at
from barman.catalog.record import BackupId, BackupRecord
from barman.postgres.lsn import parse_lsn

EMPTY = BackupRecord(backup_id=BackupId("20260101T000000"))
SEGMENT = 16 << 20


def test_the_begin_is_in_the_segment_that_holds_it():
    record = begin_at(EMPTY, parse_lsn("0/B0000C8"), 1)
    assert (record.begin_xlog, record.begin_wal, record.begin_offset) == ("0/B0000C8", "00000001000000000000000B", 0xC8)
    assert record.timeline == 1


@pytest.mark.parametrize(
    ("end", "segment", "offset"),
    [("0/D000100", "00000001000000000000000D", 0x100), ("0/D000000", "00000001000000000000000C", 0)],
    ids=["within", "at the boundary"],
)
def test_the_end_is_in_the_last_segment_that_is_needed(end, segment, offset):
    record = end_at(begin_at(EMPTY, parse_lsn("0/B000028"), 1), parse_lsn(end), 1)
    assert (record.end_xlog, record.end_wal, record.end_offset) == (end, segment, offset)


def test_a_backup_never_ends_before_it_begins():
    record = end_at(begin_at(EMPTY, parse_lsn("0/B000000"), 1), parse_lsn("0/B000000"), 1)
    assert record.begin_wal == record.end_wal == "00000001000000000000000B"


def test_a_backup_that_ends_on_a_newer_timeline_in_the_segment_it_began_in_ends_in_that_of_the_newer():
    record = end_at(begin_at(EMPTY, parse_lsn("0/B000028"), 1), parse_lsn("0/B000200"), 2)
    assert (record.begin_wal, record.end_wal) == ("00000001000000000000000B", "00000002000000000000000B")
    assert (record.timeline, record.end_timeline) == (1, 2)


def test_a_position_is_written_as_scripts_know_it():
    record = begin_at(EMPTY, parse_lsn("0/B0000C8"), 1)
    text = describe_position(record.begin_xlog, record.begin_wal, record.begin_offset)
    assert text == "0/B0000C8 (00000001000000000000000B, 000000C8)"


@given(begin=st.integers(0, 1 << 50), length=st.integers(0, 1 << 33), timeline=st.integers(1, 9))
def test_begin_and_end_frame_every_byte_of_the_backup(begin, length, timeline):
    record = end_at(begin_at(EMPTY, begin, timeline), begin + length, timeline)
    assert record.begin_wal <= record.end_wal
    assert record.begin_offset == begin % SEGMENT
    assert record.end_offset == (begin + length) % SEGMENT
