"""Which waiting files are archived, in which order."""

from __future__ import annotations

import random

import pytest

from barman.wal.queue import Queue, Waiting, plan_incoming, plan_streaming
from tests.support.wal import name_of

ONE, TWO, THREE = (name_of(number) for number in (1, 2, 3))
NEXT_TIMELINE = name_of(3, timeline=2)


def files(*names):
    entries = [Waiting(name, is_file=True) for name in names]
    random.shuffle(entries)
    return entries


def test_incoming_files_go_in_the_order_of_timeline_and_position():
    label, partial, history = f"{TWO}.00000028.backup", f"{THREE}.partial", "00000002.history"
    queue = plan_incoming(files(NEXT_TIMELINE, history, partial, TWO, label, ONE), limit=0)
    assert queue == Queue((ONE, TWO, label, partial, history, NEXT_TIMELINE), None, (), 6)


@pytest.mark.parametrize("name", [".hidden", f".1234-{ONE}", f"{ONE}.tmp", "00000002.history.tmp"])
@pytest.mark.parametrize("plan", [plan_incoming, plan_streaming])
def test_what_is_on_its_way_in_is_left_alone(plan, name):
    assert plan(files(name), limit=0) == Queue((), None, (), 0)


@pytest.mark.parametrize("plan", [plan_incoming, plan_streaming])
def test_the_top_of_a_file_system_may_be_the_directory(plan):
    assert plan([Waiting("lost+found", is_file=False)], limit=0) == Queue((), None, (), 0)


@pytest.mark.parametrize("plan", [plan_incoming, plan_streaming])
def test_what_is_no_wal_file_is_unknown(plan):
    entries = [*files("junk", f"{ONE}.gz"), Waiting(TWO, is_file=False)]
    assert plan(entries, limit=1) == Queue((), None, (f"{ONE}.gz", TWO, "junk"), 3)


def test_lower_case_names_are_wal_files():
    assert plan_incoming(files("00000001000000000000000a"), limit=0).names == ("00000001000000000000000a",)


@pytest.mark.parametrize("plan", [plan_incoming, plan_streaming])
def test_a_limit_cuts_the_queue_and_counts_only_wal(plan):
    queue = plan(files("000junk", ONE, TWO, THREE), limit=2)
    assert queue.names == (ONE, TWO)
    assert queue.total == 4


def test_the_highest_partial_segment_is_left_to_its_writer():
    queue = plan_streaming(files(ONE, TWO, f"{THREE}.partial"), limit=0)
    assert queue == Queue((ONE, TWO), None, (), 3)


def test_lower_partial_segments_come_after_the_rest():
    entries = files(f"{ONE}.partial", TWO, "00000002.history", f"{NEXT_TIMELINE}.partial")
    assert plan_streaming(entries, limit=0).names == (TWO, "00000002.history", f"{ONE}.partial")


def test_without_a_partial_segment_the_last_one_is_archived_and_stays():
    assert plan_streaming(files(ONE, TWO), limit=0) == Queue((ONE, TWO), TWO, (), 2)


def test_a_partial_segment_below_the_last_one_is_not_where_the_receiver_goes_on():
    assert plan_streaming(files(f"{ONE}.partial", TWO), limit=0) == Queue((TWO,), TWO, (), 2)


def test_a_complete_segment_beside_its_partial_self_stays():
    assert plan_streaming(files(ONE, f"{ONE}.partial"), limit=0) == Queue((ONE,), ONE, (), 2)


def test_the_receiver_goes_on_from_the_newest_timeline():
    entries = files(THREE, f"{NEXT_TIMELINE}.partial")
    assert plan_streaming(entries, limit=0) == Queue((THREE,), None, (), 2)
