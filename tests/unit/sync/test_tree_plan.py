"""Which files of a backup are brought over, by table."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from barman.host.rsync import Entry
from barman.sync.tree_plan import Found, Way, horizon_of, plan_tree, portions_of

MIB = 1 << 20


def _file(name, size=10, mtime=100, mode=0o600):
    return Entry(name, size, mtime, mode, is_directory=False)


def _plan(*entries, here=None, neighbour=None, trusted=False, horizon=None):
    return plan_tree(entries, here=(here or {}).get, trusted=trusted, neighbour=(neighbour or {}).get, horizon=horizon)


LIKE = Found(10, 100, 0o600)


@pytest.mark.parametrize(
    ("here", "trusted", "neighbour", "horizon", "pile"),
    [
        pytest.param(None, False, None, None, "fetched", id="nowhere"),
        pytest.param(LIKE, True, None, None, "here", id="here, and verified later"),
        pytest.param(LIKE, False, None, None, "checked", id="here, perhaps"),
        pytest.param(Found(9, 100, 0o600), True, None, None, "fetched", id="here with another size"),
        pytest.param(Found(10, 99, 0o600), True, None, None, "fetched", id="here with another time"),
        pytest.param(None, False, LIKE, 101, "linked", id="beside, older than both backups"),
        pytest.param(None, False, LIKE, 100, "compared", id="beside, perhaps changed since"),
        pytest.param(None, False, LIKE, None, "fetched", id="beside, and nobody knows since when"),
        pytest.param(None, False, Found(10, 100, 0o644), 101, "fetched", id="beside with another mode"),
        pytest.param(LIKE, True, LIKE, 101, "here", id="here and beside"),
    ],
)
def test_each_file_has_its_way(here, trusted, neighbour, horizon, pile):
    plan = _plan(_file("a"), here={"a": here}, trusted=trusted, neighbour={"a": neighbour}, horizon=horizon)
    piles = {name: getattr(plan, name) for name in ("here", "linked", "checked", "compared", "fetched")}
    assert {name for name, entries in piles.items() if entries} == {pile}
    assert plan.files == (_file("a"),)


def test_links_to_tablespaces_are_not_copied_and_others_are():
    link = Entry("data/pg_tblspc/16386", 9, 1, 0o777, is_directory=False, is_link=True)
    other = Entry("data/pg_wal", 9, 1, 0o777, is_directory=False, is_link=True)
    plan = _plan(link, other, Entry(".", 0, 1, 0o755, is_directory=True))
    assert (plan.tablespaces, plan.fetched, plan.files) == (("16386",), (other,), ())
    assert [entry.name for entry in plan.directories] == ["."]


def test_one_worker_gets_one_portion_of_each_kind():
    plan = _plan(_file("a"), _file("b"), _file("c"), here={"c": LIKE})
    assert [(portion.way, len(portion.entries)) for portion in portions_of(plan, lanes=1)] == [
        (Way.FETCH, 2),
        (Way.CHECK, 1),
    ]


def test_what_one_worker_compares_is_in_portions_that_end():
    entries = [_file(str(number), size=6 << 30) for number in range(4)]
    plan = _plan(*entries, here={entry.name: Found(entry.size, entry.mtime, entry.mode) for entry in entries})
    assert [(portion.way, len(portion.entries)) for portion in portions_of(plan, lanes=1)] == [(Way.CHECK, 1)] * 4


def test_several_workers_get_portions_of_some_size_largest_first():
    entries = [_file(str(number), size=number * 8 * MIB) for number in range(1, 20)]
    portions = portions_of(_plan(*entries), lanes=4)
    sizes = [sum(entry.size for entry in portion.entries) for portion in portions]
    assert sizes == sorted(sizes, reverse=True)
    assert sorted(entry.size for portion in portions for entry in portion.entries) == sorted(
        entry.size for entry in entries
    )
    assert all(len(portion.entries) <= 5 for portion in portions)


def test_the_horizon_is_a_little_before_the_earlier_of_two_backups():
    one = datetime(2026, 11, 1, tzinfo=timezone.utc)
    assert horizon_of(one + timedelta(days=1), one) == int(one.timestamp()) - 2
    assert horizon_of(None, one) is None
