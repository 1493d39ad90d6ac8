from __future__ import annotations

import pytest

from barman.errors import WalError
from barman.postgres.lsn import format_lsn, parse_lsn
from barman.postgres.wal_names import (
    WalKind,
    archive_directory,
    is_segment_name,
    is_wal_name,
    next_segment,
    parse_wal_name,
    segment_at,
    segment_before,
    segments_between,
)

MIB = 1 << 20


@pytest.mark.parametrize(
    "text", ["", "/", "1", "1/", "/1", "1/2/3", "G/1", "123456789/0", "0/123456789", "1 /2", "-1/2"]
)
def test_what_is_no_lsn_is_refused(text):
    with pytest.raises(WalError, match="invalid LSN"):
        parse_lsn(text)


def test_an_lsn_is_written_as_postgresql_does():
    assert format_lsn(parse_lsn("16/b374d848")) == "16/B374D848"
    assert format_lsn(0) == "0/0"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("000000010000000000000007", WalKind.SEGMENT),
        ("000000010000000000000007.partial", WalKind.PARTIAL),
        ("000000010000000000000007.00000028.backup", WalKind.LABEL),
        ("00000002.history", WalKind.HISTORY),
        ("0000000a00000000000000fe.0000ab28.backup", WalKind.LABEL),
    ],
)
def test_the_kind_is_told_from_the_name(text, kind):
    assert parse_wal_name(text).kind is kind


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00000001000000000000000",
        "0000000100000000000000070",
        "000000010000000000000007.gz",
        "000000010000000000000007.PARTIAL",
        "000000010000000000000007.backup",
        "000000010000000000000007.00000028.backup.partial",
        "000000010000000000000007\n",
        " 000000010000000000000007",
        "00000002.history.tmp",
        "xlog.db",
    ],
)
def test_other_names_are_refused(text):
    assert not is_wal_name(text)
    with pytest.raises(WalError, match="invalid WAL file name"):
        parse_wal_name(text)


def test_only_upper_case_is_a_segment_name():
    assert is_segment_name("0000000A00000000000000FF")
    assert not is_segment_name("0000000a00000000000000ff")


def test_history_files_stand_at_the_top_of_the_archive():
    assert archive_directory("00000002.history") == ""
    assert archive_directory("000000010000000A000000FF.partial") == "000000010000000A"


@pytest.mark.parametrize(
    ("size", "last", "following"),
    [
        (MIB, "000000010000000000000FFF", "000000010000000100000000"),
        (16 * MIB, "0000000100000000000000FF", "000000010000000100000000"),
        (64 * MIB, "00000001000000000000003F", "000000010000000100000000"),
        (1024 * MIB, "000000010000000000000003", "000000010000000100000000"),
    ],
)
def test_the_last_segment_of_a_log_is_followed_by_the_first_of_the_next(size, last, following):
    assert next_segment(last, size) == following


def test_a_position_on_a_boundary_is_in_the_next_segment_and_ends_the_one_before():
    boundary = parse_lsn("0/5000000")
    assert segment_at(boundary, 1, 16 * MIB) == "000000010000000000000005"
    assert segment_before(boundary, 1, 16 * MIB) == "000000010000000000000004"


def test_segments_between_are_named_on_the_timeline_of_the_last():
    names = list(segments_between("0000000100000000000000FE", "000000020000000100000000", 16 * MIB))
    assert names == ["0000000200000000000000FE", "0000000200000000000000FF", "000000020000000100000000"]
