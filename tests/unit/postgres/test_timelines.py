from __future__ import annotations

import pytest

from barman.errors import WalError
from barman.postgres.timelines import Branch, history_name, parse_history

MIB = 1 << 20
TEXT = "1\t0/3000110\tno recovery target specified\n\n# a comment\n2\t0/7000000\tbefore 2026-11-21 05:33:32+00\n"


def test_a_history_file_is_read():
    history = parse_history(TEXT, 3)
    assert history.path == (1, 2, 3)
    assert history.branches[0] == Branch(1, 0x3000110, "no recovery target specified")
    assert history.branches[1].reason == "before 2026-11-21 05:33:32+00"


def test_a_line_without_a_reason_is_read():
    assert parse_history("1 0/3000110", 2).branches == (Branch(1, 0x3000110, ""),)


def test_the_first_timeline_has_no_ancestors():
    assert parse_history("", 1).path == (1,)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("1 3000110", "00000003.history, line 1"),
        ("one 0/3000110", "line 1"),
        ("# x\n1", "line 2"),
        ("2 0/3000110\n1 0/4000000", "not in sequence"),
        ("3 0/3000110", "not in sequence"),
    ],
)
def test_a_damaged_history_file_is_refused(text, complaint):
    with pytest.raises(WalError, match=complaint):
        parse_history(text, 3)


def test_a_timeline_ends_where_the_path_leaves_it():
    history = parse_history(TEXT, 3)
    assert history.end_of(1) == 0x3000110
    assert history.end_of(3) is None
    with pytest.raises(WalError, match="timeline 5 is not an ancestor of timeline 3"):
        history.end_of(5)


def test_a_path_goes_through_a_position_before_it_leaves_the_timeline():
    history = parse_history(TEXT, 3)
    assert history.contains(1, 0x3000110)
    assert not history.contains(1, 0x3000111)
    assert history.contains(3, 1 << 60)
    assert not history.contains(4, 0)


def test_recovery_changes_timelines_in_the_segment_of_the_switch():
    history = parse_history(TEXT, 3)
    assert list(history.segments(0x2000028, 0x8000000, 16 * MIB)) == [
        "000000010000000000000002",
        "000000020000000000000003",
        "000000020000000000000004",
        "000000020000000000000005",
        "000000020000000000000006",
        "000000030000000000000007",
        "000000030000000000000008",
    ]


def test_a_history_file_is_named_after_its_timeline():
    assert history_name(0x1A) == "0000001A.history"
