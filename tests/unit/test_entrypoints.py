"""Which way a command line of `barman` takes."""

from __future__ import annotations

import pytest

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
