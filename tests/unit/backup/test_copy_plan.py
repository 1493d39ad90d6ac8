"""What is taken again from an earlier backup, and in which portions the rest is copied."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barman.backup.copy_plan import Known, Way, plan_tree, portions_of, safe_horizon
from barman.backup.listing import Listing
from barman.backup.source_tree import Tree
from barman.host.rsync import Entry

TREE = Tree("pgdata", "/pg", "data", ())
HORIZON = 1000


def _file(name="f", size=10, mtime=500, mode=0o600):
    return Entry(name, size, mtime, mode, is_directory=False)


def _plan(*entries, known=None, horizon=HORIZON):
    return plan_tree(TREE, Listing(entries), known=(known or {}).get, horizon=horizon)


@pytest.mark.parametrize(
    ("now", "before", "way"),
    [
        pytest.param(_file(), Known(10, 500, 0o600), "reused", id="unchanged since long before"),
        pytest.param(_file(mtime=999), Known(10, 999, 0o600), "reused", id="just before the horizon"),
        pytest.param(_file(mtime=1000), Known(10, 1000, 0o600), "compared", id="changed while it was copied"),
        pytest.param(_file(mode=0o640), Known(10, 500, 0o600), "compared", id="other permissions"),
        pytest.param(_file(), Known(11, 500, 0o600), "fetched", id="other size"),
        pytest.param(_file(), Known(10, 501, 0o600), "fetched", id="other time"),
        pytest.param(_file(), None, "fetched", id="new"),
    ],
)
def test_a_file_is_trusted_only_if_it_cannot_have_changed(now, before, way):
    plan = _plan(now, known={} if before is None else {"f": before})
    found = {name: list(getattr(plan, name)) for name in ("reused", "compared", "fetched")}
    assert {name: entries for name, entries in found.items() if entries} == {way: [now]}


@pytest.mark.parametrize(
    ("size", "before", "way"),
    [
        pytest.param(1 << 20, Known(1 << 20, 499, 0o600), "updated", id="large before and now"),
        pytest.param(1 << 30, Known(8192, 499, 0o600), "fetched", id="small before"),
        pytest.param(8192, Known(1 << 30, 499, 0o600), "fetched", id="small now"),
        pytest.param(1 << 20, None, "fetched", id="new"),
        pytest.param(1 << 20, Known(1 << 20, 500, 0o600), "reused", id="unchanged"),
    ],
)
def test_a_large_file_that_has_changed_can_begin_as_the_earlier_one(size, before, way):
    now = _file(size=size)
    plan = plan_tree(TREE, Listing([now]), known=lambda _: before, horizon=HORIZON, updates=True)
    assert list(getattr(plan, way)) == [now]
    assert plan.bytes == size


def test_without_an_earlier_backup_everything_is_fetched():
    assert _plan(_file(), known={"f": Known(10, 500, 0o600)}, horizon=None).fetched[0] == _file()


def test_directories_are_kept_apart():
    directory = Entry("base", 0, 500, 0o700, is_directory=True)
    plan = _plan(directory, _file())
    assert list(plan.directories) == [directory]
    assert plan.bytes == 10


def test_the_horizon_lies_before_the_begin_of_the_backup():
    begin = datetime(2026, 11, 21, 12, 0, 0, 900_000, tzinfo=timezone.utc)
    assert safe_horizon(begin) < begin.timestamp() - 1


files = st.lists(st.integers(0, 200 << 20), max_size=200).map(
    lambda sizes: [_file(str(number), size) for number, size in enumerate(sizes)]
)


@given(files=files, workers=st.integers(1, 8))
def test_every_file_is_in_one_portion_and_large_ones_come_first(files, workers):
    plan = _plan(*files, horizon=None)
    portions = portions_of([plan], workers=workers, ways=list(Way))
    assert sorted(entry.name for portion in portions for entry in portion.entries) == sorted(f.name for f in files)
    sizes = [portion.bytes for portion in portions]
    assert sizes == sorted(sizes, reverse=True)
    assert all(portion.way is Way.FETCH and portion.entries for portion in portions)
    if workers == 1:
        assert len(portions) == bool(files)


def test_one_worker_copies_a_directory_in_one_go():
    plan = _plan(*(_file(str(number), 1 << 30) for number in range(50)))
    assert len(portions_of([plan], workers=1, ways=[Way.FETCH])) == 1


def test_no_rsync_is_told_more_names_than_it_can_go_through_quickly():
    plan = _plan(*(_file(str(number), 1) for number in range(12000)))
    for workers in (1, 2):
        portions = portions_of([plan], workers=workers, ways=[Way.FETCH])
        assert max(len(portion.entries) for portion in portions) <= 5000
        assert sum(len(portion.entries) for portion in portions) == 12000


def test_many_small_files_are_shared_among_all_workers():
    plan = _plan(*(_file(str(number), 1) for number in range(1000)))
    assert len(portions_of([plan], workers=4, ways=[Way.FETCH])) == 4
