"""verify-wal where very much is wrong: it counts on, and needs no more memory."""

from __future__ import annotations

import pytest

from barman.catalog.xlogdb import WalEntry
from barman.progress import LogReporter
from barman.server import open_server
from barman.wal import verify
from barman.wal.verify import Kind, _batches, verify_wal
from tests.support.settings import load_text
from tests.support.wal import MIB, name_of

NAMES = [name_of(number) for number in range(1, 31)]


@pytest.fixture
def server(tmp_path):
    """A server whose ledger lists thirty segments, none of which is there."""
    server = open_server(load_text(tmp_path, "[main]\nconninfo = dbname=x\narchiver = on\n"), "main")
    server.paths.wals.mkdir(parents=True)
    server.xlogdb.append([WalEntry(name, 1, 0.0) for name in NAMES])
    return server


def test_all_that_is_missing_is_named(server):
    found = verify_wal(server, LogReporter(), deep=False)
    assert [(one.kind, one.name) for one in found.defects] == [(Kind.MISSING, name) for name in NAMES]
    assert found.left_out == 0


def test_of_very_many_defects_the_rest_is_counted(server, monkeypatch):
    monkeypatch.setattr(verify, "MOST_DEFECTS", 10)
    found = verify_wal(server, LogReporter(), deep=False)
    assert [one.name for one in found.defects] == NAMES[:10]
    assert found.left_out == 20


def test_a_label_between_two_portions_does_not_part_their_segments():
    names = [name_of(number) for number in range(1, 18)]
    names.insert(14, f"{names[13]}.00000028.backup")
    portions = list(_batches(iter(names), MIB))
    assert portions[0] == (names[:15], name_of(15))
    assert portions[1] == (names[15:], None)
