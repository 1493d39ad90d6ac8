from __future__ import annotations

import os
from functools import partial

import pytest

from barman.errors import CommandError
from barman.host import runner
from barman.restore import combine
from barman.restore.combine import run_combiner


def _combine(text: str) -> None:
    """Run shell text as the program that combines backup X."""
    argv = ["sh", "-c", text]
    run_combiner(partial(runner.run, argv, timeout_s=600, env=os.environ, check=False), argv, backup_id="X")


def test_a_combine_in_which_nothing_moves_any_more_is_given_up(monkeypatch):
    monkeypatch.setattr(combine, "_PATIENCE_S", 0.1)

    with pytest.raises(CommandError, match="cannot combine the chain of backup X: nothing has moved for"):
        _combine("echo pg_combinebackup: debug: of a file >&2; sleep 600")


def test_what_is_wrong_is_told_and_not_what_was_said_beside():
    with pytest.raises(CommandError, match=r"cannot combine the chain of backup X: pg_combinebackup: error: no luck$"):
        _combine("echo pg_combinebackup: debug: x >&2; echo pg_combinebackup: error: no luck >&2; echo bye >&2; exit 1")
