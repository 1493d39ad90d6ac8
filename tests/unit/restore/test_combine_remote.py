from __future__ import annotations

import os

import pytest

from barman.catalog.record import BackupId, BackupRecord, Status
from barman.errors import Refused
from barman.restore import combine_remote
from barman.restore.combine_remote import find_combiner_there

RECORD = BackupRecord(BackupId("20261121T120000"), version=170002, status=Status.DONE)


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Makes a pg_combinebackup of some version, in PATH or where a distribution has it: programs(place, said)."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:{os.environ['PATH']}")
    monkeypatch.setattr(combine_remote, "program_directories", lambda major: (str(tmp_path / major),))

    def make(place, said):
        program = tmp_path / place / "pg_combinebackup"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\necho '{said}'\n")
        program.chmod(0o755)
        return str(program)

    return make


def test_the_program_of_the_backups_version_is_found_in_the_path_or_where_distributions_have_it(programs, session):
    programs("path", "pg_combinebackup (PostgreSQL) 18.1")
    wanted = programs("17", "pg_combinebackup (PostgreSQL) 17.6 (Debian 17.6-1)")

    tool = find_combiner_there(session, RECORD)

    assert (tool.path, tool.version_num) == (wanted, 170006)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("pg_combinebackup (PostgreSQL) 18.1", r" on there \(.*/path/pg_combinebackup is of version 18\.1\)"),
        ("what?", " on there"),
    ],
    ids=["other version", "no version"],
)
def test_a_program_of_another_version_does_not_do(said, told, programs, session):
    programs("path", said)

    with pytest.raises(Refused, match=f"there is no pg_combinebackup of PostgreSQL 17{told}$") as refused:
        find_combiner_there(session, RECORD)

    assert "Install the programs of PostgreSQL 17 there" in (refused.value.hint or "")
