"""Asking several things at once."""

from __future__ import annotations

import threading

import pytest

from barman.monitor.together import ask_together


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
