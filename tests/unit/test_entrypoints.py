"""Which way a command line of `barman` takes."""

from __future__ import annotations

import importlib
import sys

import pytest

from barman import entrypoints
from barman.entrypoints import _find_command


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["put-wal", "main"], "put-wal"),
        (["-c", "x", "get-wal"], "get-wal"),
        (["-cx", "get-wal"], "get-wal"),
        (["--config=x", "-q", "--format", "json", "get-wal"], "get-wal"),
        (["-qc", "x", "get-wal"], "get-wal"),
        (["-q", "--debug", "list-servers"], "list-servers"),
        (["-c", "get-wal"], None),
        (["-c"], None),
        (["--conf", "x", "get-wal"], None),
        (["--quiet=x", "get-wal"], None),
        (["-h", "get-wal"], None),
        (["--version"], None),
        (["-", "get-wal"], None),
        ([], None),
    ],
)
def test_the_command_is_found_behind_well_formed_global_options(words, command):
    assert _find_command(words) == command


@pytest.mark.parametrize(
    ("program", "module", "words", "code"),
    [
        (entrypoints.barman, "barman.cli.main", ["status"], 1),
        (entrypoints.barman, "barman.wal.put", ["put-wal"], 1),
        (entrypoints.barman_wal_archive, "barman.client.wal_archive", [], 2),
        (entrypoints.barman_wal_restore, "barman.client.wal_restore", [], 2),
    ],
    ids=["barman", "put-wal", "barman-wal-archive", "barman-wal-restore"],
)
def test_an_interrupt_at_any_moment_is_one_line(monkeypatch, capsys, program, module, words, code):
    def main(_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.import_module(module), "main", main)
    monkeypatch.setattr(sys, "argv", ["program", *words])
    assert program() == code
    assert capsys.readouterr().err == "ERROR: interrupted\n"
