from __future__ import annotations

import pytest

from barman.errors import Refused, WalError
from barman.postgres.timelines import Branch, TimelineHistory
from barman.wal.streaming_area import (
    ResetPlan,
    Turn,
    find_furthest,
    is_synchronous,
    misfit_partial,
    newest_streamed,
    plan_reset,
    plan_turn,
)

MIB = 1 << 20
SIZE = 16 * MIB


def wal(number, *, timeline=1):
    return f"{timeline:08X}{0:08X}{number:08X}"


def reset(names, wanted, current=None):
    return plan_reset(names, wanted=wal(wanted), current=wal(current or wanted), segment_size=SIZE)


@pytest.mark.parametrize(
    ("names", "newest"),
    [
        ([], None),
        (["00000002.history", "junk", wal(9) + ".00000028.backup"], None),
        ([wal(3), wal(4) + ".partial"], wal(4) + ".partial"),
        ([wal(4), wal(4) + ".partial"], wal(4)),
        ([wal(9), wal(2, timeline=2)], wal(2, timeline=2)),
    ],
)
def test_the_newest_streamed_file_is_found_among_others(names, newest):
    found = newest_streamed(names)
    assert (found and found.text) == newest


@pytest.mark.parametrize(
    ("sizes", "misfit"),
    [
        ({}, None),
        ({wal(4) + ".partial": SIZE}, None),
        ({wal(4) + ".partial": 0}, None),
        ({wal(4) + ".partial": 8192}, wal(4) + ".partial"),
        ({wal(3) + ".partial": 8192, wal(4) + ".partial": SIZE}, None),
        ({wal(4): 8192}, None),
    ],
)
def test_only_the_newest_partial_segment_must_be_empty_or_whole(sizes, misfit):
    assert misfit_partial(sizes, SIZE) == misfit


def test_an_empty_directory_begins_at_the_wanted_segment():
    assert reset([], 5) == ResetPlan(create=wal(5) + ".partial")


@pytest.mark.parametrize("names", [[wal(5)], [wal(5) + ".partial"], [wal(4), wal(6) + ".partial"]])
def test_nothing_is_done_where_receiving_goes_on_at_the_wanted_segment_or_later(names):
    assert reset(names, 5, current=6) == ResetPlan()


def test_an_older_partial_segment_is_given_up_with_all_that_follows():
    plan = reset([wal(2), wal(3) + ".partial"], 6)
    assert plan == ResetPlan(remove=wal(3) + ".partial", create=wal(6) + ".partial", gap=(wal(3), wal(5)))


def test_after_a_complete_segment_only_what_lies_between_is_missing():
    assert reset([wal(3)], 6).gap == (wal(4), wal(5))
    assert reset([wal(5)], 6) == ResetPlan(create=wal(6) + ".partial")


def test_wal_newer_than_the_servers_is_not_touched():
    with pytest.raises(Refused, match="newer than the current WAL segment"):
        reset([wal(9)], 5)


@pytest.mark.parametrize(
    ("names", "expected"),
    [([], False), (["a"], False), (["*"], True), (["Barman_Receive_WAL"], True), (["x", "barman_receive_wal"], True)],
)
def test_a_receiver_is_synchronous_where_the_server_waits_for_its_name(names, expected):
    assert is_synchronous("barman_receive_wal", names) is expected


FORKED = TimelineHistory(3, (Branch(1, 5 * SIZE + 100, ""), Branch(2, 7 * SIZE + 100, "")))


@pytest.mark.parametrize(
    ("names", "turn"),
    [
        pytest.param([], None, id="nothing was received"),
        pytest.param([wal(4), wal(5) + ".partial"], None, id="the segment of the fork is being received"),
        pytest.param([wal(4)], None, id="up to the segment of the fork"),
        pytest.param([wal(9, timeline=3) + ".partial"], None, id="the server's own timeline"),
        pytest.param(
            [wal(4), wal(5)], Turn(wal(5, timeline=2), (wal(5),)), id="the segment of the fork is complete on both"
        ),
        pytest.param(
            ["00000001.history", "junk", wal(4), wal(5), wal(6), wal(7) + ".partial"],
            Turn(wal(5, timeline=2), (wal(5), wal(6), wal(7) + ".partial")),
            id="well beyond",
        ),
        pytest.param(
            [wal(4), wal(8, timeline=2) + ".partial"],
            Turn(wal(7, timeline=3), (wal(8, timeline=2) + ".partial",)),
            id="on a later timeline",
        ),
    ],
)
def test_receiving_turns_where_the_server_left_the_timeline(names, turn):
    assert plan_turn(names, FORKED, SIZE) == turn


def test_what_the_server_does_not_descend_from_is_an_error():
    with pytest.raises(WalError, match="not an ancestor"):
        plan_turn([wal(9)], TimelineHistory(4, (Branch(3, SIZE, ""),)), SIZE)


def test_the_furthest_file_is_that_of_the_highest_position():
    assert find_furthest([wal(9), wal(2, timeline=2)]).text == wal(9)
    assert find_furthest([wal(9), wal(9, timeline=2) + ".partial"]).text == wal(9, timeline=2) + ".partial"
    assert find_furthest(["junk", "00000002.history"]) is None
