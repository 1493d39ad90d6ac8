"""Asking several things at once."""

from __future__ import annotations

import threading

import pytest

from barman.errors import UserError
from barman.monitor.together import ask_together, each_together


def test_all_answers_come_back_by_name():
    assert ask_together({"a": lambda: 1, "b": lambda: 2}, None) == {"a": 1, "b": 2}


def test_questions_are_asked_at_the_same_time():
    meeting = threading.Barrier(2, timeout=30)
    assert set(ask_together({"a": meeting.wait, "b": meeting.wait}, None).values()) == {0, 1}


def test_an_answer_that_does_not_come_is_left_out():
    never = threading.Event()
    assert ask_together({"never": never.wait, "at once": lambda: True}, 0.05) == {"at once": True}
    never.set()


def test_what_a_question_raises_is_raised():
    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        ask_together({"a": fail}, None)


def test_all_items_are_done_at_the_same_time_and_come_back_in_order():
    meeting = threading.Barrier(3, timeout=30)

    def meet(item):
        meeting.wait()
        return item * 2

    assert list(each_together(meet, [1, 2, 3], at_most=3)) == [(1, 2), (2, 4), (3, 6)]


def test_not_more_items_than_allowed_are_done_at_the_same_time():
    busy = []

    def work(_item):
        busy.append(1)
        seen = len(busy)
        busy.pop()
        return seen

    assert {seen for _, seen in each_together(work, range(200), at_most=1)} == {1}


def test_what_an_item_raises_is_its_outcome_but_a_bug_is_not():
    def fail(item):
        raise UserError(item) if item else ValueError("a bug")

    outcomes = each_together(fail, ["a", "b", ""], at_most=2)
    assert [next(outcomes)[1].message for _ in range(2)] == ["a", "b"]
    with pytest.raises(ValueError, match="a bug"):
        next(outcomes)
