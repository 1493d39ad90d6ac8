"""An xlog.db of which very much is out of order tells the same, in little memory."""

from __future__ import annotations

import contextlib
import random

import pytest

from barman.catalog import xlog_reading, xlog_sorting
from barman.catalog.xlogdb import WalEntry, XlogDb
from tests.support.wal import name_of

SIZE = 16 << 20
BOUNDS = [(name_of(1, size=SIZE), name_of(200, size=SIZE)), (name_of(50, size=SIZE), name_of(90, size=SIZE))]


@pytest.fixture
def few_at_once(monkeypatch):
    """Have everything be much: pieces of a few lines, and three of them late are too many."""
    monkeypatch.setattr(xlog_reading, "CHUNK_BYTES", 300)
    monkeypatch.setattr(xlog_reading, "_MOST_LATE", 3)
    monkeypatch.setattr(xlog_sorting, "_RUN_BYTES", 1000)


def ledger(tmp_path, seed):
    """A ledger with 300 lines at random, some of which say something else of a segment than an earlier one."""
    chance = random.Random(seed)
    names = [name_of(chance.randrange(1, 200), timeline=chance.choice((1, 1, 2)), size=SIZE) for _ in range(300)]
    names[::50] = [f"{number:08X}.history" for number in range(2, 8)]
    lines = [f"{name}\t{size}\t{1700000000.5 + size}\tNone\tNone\n" for size, name in enumerate(names)]
    path = tmp_path / "main-xlog.db"
    path.write_text("".join(lines))
    entries = {name: WalEntry(name, size, 1700000000.5 + size) for size, name in enumerate(names)}
    return XlogDb(path, contextlib.nullcontext, lambda: ()), [entries[name] for name in sorted(entries)]


@pytest.mark.usefixtures("few_at_once")
@pytest.mark.parametrize("seed", range(5))
def test_all_entries_come_in_order_the_last_of_each_name(tmp_path, seed):
    db, expected = ledger(tmp_path, seed)
    assert list(db.entries()) == expected
    low, high = expected[20].name, expected[90].name
    assert list(db.entries(low, high)) == expected[20:91]


@pytest.mark.usefixtures("few_at_once")
def test_it_is_sorted_in_place(tmp_path):
    db, expected = ledger(tmp_path, 7)
    db.sort()
    assert [line.split("\t")[0] for line in db.path.read_text().splitlines()] == [entry.name for entry in expected]
    assert list(db.entries()) == expected


@pytest.mark.parametrize("seed", range(5))
def test_what_is_summed_is_the_same_as_without(tmp_path, monkeypatch, request, seed):
    db, _ = ledger(tmp_path, seed)
    usual = db.overview(BOUNDS), db.newest_per_timeline()
    request.getfixturevalue("few_at_once")
    assert (db.overview(BOUNDS), db.newest_per_timeline()) == usual
