from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from barman.host.transfer import Flow
from barman.progress import NoBar
from barman.restore.exclusions import INCOMPLETE
from barman.restore.fetch import data_route
from barman.restore.update_here import update_trees

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

LATER = 1 << 40


def _fill(root: Path, files: dict[str, str], mtime: int = 1_700_000_000) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (mtime, mtime))


def _update(source: Path, target: Path, horizon: int | None = LATER, spared: Collection[Path] = ()) -> None:
    target.mkdir(exist_ok=True)
    trees, paths = [(source, data_route(target, ()))], {str(path) for path in spared}
    update_trees(trees, [target], horizon=horizon, spared=paths, workers=2, flow=Flow(NoBar()))


def _content(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "source"
    _fill(root, {"PG_VERSION": "15", "base/1/1": "one", "base/1/2": "two", "global/pg_control": "c", "pg_wal/W": "w"})
    return root


def test_a_directory_becomes_equal_whatever_was_in_it(source, tmp_path):
    target = tmp_path / "target"
    _fill(target, {"base/1/1": "ONE+", "base/1/2": "TWO", "base/9/9": "x", "pg_wal/old": "x", INCOMPLETE: "mark"})
    (target / "global").mkdir()
    (target / "global" / "pg_control").symlink_to("/nowhere")

    _update(source, target, horizon=None)

    assert _content(target) == {
        "PG_VERSION": "15",
        "base/1/1": "one",
        "base/1/2": "two",
        "global/pg_control.barman": "c",
        INCOMPLETE: "mark",
    }
    assert sorted(path.name for path in target.iterdir()) == [INCOMPLETE, "PG_VERSION", "base", "global", "pg_wal"]


def test_what_is_equal_is_not_written(source, tmp_path):
    target = tmp_path / "target"
    _update(source, target)
    before = {path: path.stat().st_ino for path in target.rglob("*")}

    _update(source, target)
    _update(source, target, horizon=None)

    assert {path: path.stat().st_ino for path in target.rglob("*")} == before


def test_a_file_with_another_name_elsewhere_is_replaced_not_written_into(source, tmp_path):
    target = tmp_path / "target"
    _fill(target, {"base/1/1": "keep me"})
    os.link(target / "base" / "1" / "1", tmp_path / "other")

    _update(source, target)

    assert (tmp_path / "other").read_text() == "keep me"
    assert (target / "base" / "1" / "1").read_text() == "one"


def test_what_is_spared_stays_and_its_neighbours_go(source, tmp_path):
    target = tmp_path / "target"
    wal = target / "barman_wal"
    _fill(target, {"barman_wal/1": "kept", "barman_wal/2": "x", "pg_wal/1": "x"})
    _update(source, target, spared=[wal, wal / "1"])
    assert _content(wal) == {"1": "kept"}
    assert _content(target / "pg_wal") == {}
