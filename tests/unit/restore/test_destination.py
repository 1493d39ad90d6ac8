from __future__ import annotations

import os
from pathlib import Path

import pytest

from barman.catalog.layout import ServerPaths
from barman.errors import Refused
from barman.restore.destination import (
    Allowed,
    Seen,
    Wanted,
    judge_places,
    make_places,
    require_space,
    require_usable,
)
from barman.restore.mounts import measure_mounts
from barman.restore.placements import Placement
from barman.restore.room import Room
from tests.support.plans import make_plan


@pytest.fixture
def paths(tmp_path):
    root = tmp_path / "main"
    names = ("base", "wals", "incoming", "streaming", "errors")
    paths = ServerPaths(root, *(root / name for name in names), root / "wals" / "main-xlog.db")
    for directory in paths.directories:
        directory.mkdir(exist_ok=True)
    return paths


def _check(paths: ServerPaths, destination: Path, **changes: object) -> None:
    staging = changes.pop("staging", None)
    kept_out = frozenset(map(os.fspath, paths.directories))
    require_usable(make_plan(destination, **changes), staging, Allowed(kept_out=kept_out))  # type: ignore[arg-type]


def test_missing_and_empty_places_can_be_used(paths, tmp_path):
    (tmp_path / "empty").mkdir()
    cold = Placement("cold", 7, tmp_path / "x" / "cold", was_in_place=False)
    _check(paths, tmp_path / "empty", wal_directory=tmp_path / "wal", staging=tmp_path / "staging")
    _check(paths, tmp_path / "a" / "b", placements=(cold,))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "main"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a:b", "must not contain ':'"),
        ("main", "barman's own directory"),
        ("main/base/x", "barman's own directory"),
        ("link/wals/y", "barman's own directory"),
        ("full", "is not empty.*hidden"),
        ("file", "not a directory"),
        ("file/x", "not a directory"),
    ],
)
def test_other_destinations_are_refused(name, reason, paths, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / ".hidden").touch()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(paths.root)
    with pytest.raises(Refused, match=reason):
        _check(paths, tmp_path / name)


def test_places_of_tablespaces_and_wal_are_looked_at_too(paths, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    cold = Placement("cold", 7, tmp_path / "full", was_in_place=False)
    with pytest.raises(Refused, match="tablespace 'cold' is not empty") as caught:
        _check(paths, tmp_path / "new", placements=(cold,))
    assert "--tablespace" in str(caught.value.hint)
    with pytest.raises(Refused, match="WAL staging directory is not empty"):
        _check(paths, tmp_path / "new", wal_directory=tmp_path / "full")
    _check(paths, tmp_path / "new", wal_directory=tmp_path / "new" / "barman_wal")


def test_a_new_cluster_gets_no_mount_point_unless_told_to():
    cold = Wanted("the location of tablespace 'cold'", Path("/ssd"))
    places = [Wanted("the destination", Path("/mnt")), cold]

    def judge(*names: str, **allowed: bool) -> None:
        seen = [Seen(str(place.path), str(place.path), is_directory=True, is_mount=True) for place in places]
        judge_places(places, [seen[0]._replace(names=names), seen[1]], Allowed(**allowed))

    for allowed in ({}, {"full": True}):
        with pytest.raises(Refused, match="the destination is a mount point: /mnt") as caught:
            judge(**allowed)
        assert "below it, or add --allow-mount-point" in str(caught.value.hint)
    judge(mount_point=True)
    judge("PG_VERSION", full=True)
    with pytest.raises(Refused, match="is not empty") as caught:
        judge("lost+found", mount_point=True)
    assert "below it" in str(caught.value.hint)


@pytest.mark.parametrize("staging", ["new", ".", "new/base", "cold", "link/x", "cold/pg"])
def test_postgresql_is_never_told_to_remove_a_directory_that_holds_more_than_staged_wal(staging, tmp_path, paths):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "link").symlink_to(root / "new")
    cold = Placement("cold", 7, root / "cold", was_in_place=False)
    directory = tmp_path / staging if staging.startswith("link") else root / staging
    with pytest.raises(Refused, match="would share a directory"):
        _check(paths, root / "new", placements=(cold,), wal_directory=directory)


def test_tablespaces_whose_places_are_one_by_a_link_are_refused(tmp_path, paths):
    (tmp_path / "place").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "place")
    one = Placement("one", 7, tmp_path / "place" / "x", was_in_place=False)
    two = Placement("two", 8, tmp_path / "link" / "x", was_in_place=False)
    with pytest.raises(Refused, match=r"tablespace 'two' .* and .* 'one' .* would share a directory"):
        _check(paths, tmp_path / "new", placements=(one, two))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_that_cannot_be_written_is_refused(paths, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    with pytest.raises(Refused, match="cannot be written"):
        _check(paths, closed)


def test_what_does_not_fit_is_refused_with_the_sum_of_the_file_system(tmp_path):
    def measure(size):
        return measure_mounts([Room("one", tmp_path / "a", size), Room("other", tmp_path / "b" / "c", size)])

    require_space(measure(1))
    status = os.statvfs(tmp_path)
    half = status.f_bavail * status.f_frsize // 2 + (8 << 30)
    with pytest.raises(Refused, match="not enough disk space"):
        require_space(measure(half))
    assert not measure_mounts([Room("one", tmp_path, None)])[0].is_all


def test_places_are_made_with_their_modes(tmp_path):
    destination = tmp_path / "x" / "data"
    cold = Placement("cold", 7, tmp_path / "cold", was_in_place=False)
    make_places(make_plan(destination, placements=(cold,)), {destination: 0o750})
    assert destination.stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "cold").stat().st_mode & 0o777 == 0o700
