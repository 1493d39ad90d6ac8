"""Chains of incremental backups."""

from __future__ import annotations

import pytest

from barman.catalog.chains import chain, descendants, root_id
from barman.catalog.record import BackupId, BackupRecord
from barman.errors import CatalogError


def records(**parents):
    return {name: BackupRecord(BackupId(name), parent_backup_id=parent) for name, parent in parents.items()}


TREE = records(a=None, b="a", c="b", d="b", e="a", f=None, orphan="missing", child="orphan")


def test_a_chain_begins_with_the_full_backup():
    assert [link.backup_id for link in chain(TREE, "c")] == ["a", "b", "c"]
    assert [link.backup_id for link in chain(TREE, "f")] == ["f"]


@pytest.mark.parametrize(
    ("tree", "name", "why"),
    [
        pytest.param(TREE, "child", "backup missing, which it is based on, is missing", id="ancestor missing"),
        pytest.param(TREE, "nothing", "it is missing", id="backup missing"),
        pytest.param({**TREE, "a": BackupRecord(BackupId("a"), damage="torn")}, "c", "a, .* damaged", id="damaged"),
        pytest.param({**TREE, "a": BackupRecord(BackupId("a"), doomed=True)}, "c", "being deleted", id="doomed"),
        pytest.param(records(a="b", b="a"), "a", "based on itself", id="circle"),
    ],
)
def test_a_broken_chain_says_what_is_wrong(tree, name, why):
    with pytest.raises(CatalogError, match=why):
        chain(tree, name)


def test_descendants_come_before_what_they_are_based_on():
    found = [one.backup_id for one in descendants(TREE, "a")]

    assert sorted(found) == ["b", "c", "d", "e"]
    assert found.index("c") < found.index("b")
    assert found.index("d") < found.index("b")
    assert descendants(TREE, "f") == []


def test_descendants_of_a_circle_end():
    assert [one.backup_id for one in descendants(records(a="b", b="a"), "a")] == ["b"]


@pytest.mark.parametrize(("name", "root"), [("c", "a"), ("a", "a"), ("child", "orphan"), ("nothing", "nothing")])
def test_the_root_is_the_oldest_ancestor_there_is(name, root):
    assert root_id(TREE, name) == root


def test_the_root_of_a_circle_is_one_of_it():
    assert root_id(records(a="b", b="a"), "a") in {"a", "b"}
