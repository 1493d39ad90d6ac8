from __future__ import annotations

import itertools
import os
import time
from functools import partial

import pytest

from barman.errors import CommandError
from barman.host import runner
from barman.restore import combine
from barman.restore.combine import run_combiner


def _combine(text):
    """Run shell text as the program that combines backup X."""
    argv = ["sh", "-c", text]
    run = partial(runner.run, argv, timeout_s=600, env=os.environ, check=False)
    run_combiner(run, argv, written=lambda: 0, backup_id="X")


def test_a_combine_in_which_nothing_moves_any_more_is_given_up(monkeypatch):
    monkeypatch.setattr(combine, "_PATIENCE_S", 0.1)

    with pytest.raises(CommandError, match="cannot combine the chain of backup X: nothing has moved for"):
        _combine("sleep 600")


def test_a_combine_that_writes_more_and_more_may_last(monkeypatch):
    monkeypatch.setattr(combine, "_PATIENCE_S", 2.0)
    monkeypatch.setattr(combine, "_LOOK_S", 0.0)
    sizes = itertools.count()

    def run(*, on_tick):
        for _ in range(5):
            time.sleep(0.5)
            on_tick()
        return runner.Completed(0, "", "")

    run_combiner(run, [], written=lambda: next(sizes), backup_id="X")
    with pytest.raises(CommandError, match="nothing has moved"):
        run_combiner(run, [], written=lambda: 7, backup_id="X")


def test_what_is_wrong_is_told_and_not_what_was_said_beside():
    with pytest.raises(CommandError, match=r"cannot combine the chain of backup X: pg_combinebackup: error: no luck$"):
        _combine("echo pg_combinebackup: hint >&2; echo pg_combinebackup: error: no luck >&2; echo bye >&2; exit 1")
