"""identity.json."""

from __future__ import annotations

import pytest

from barman.catalog.identity import Identity, read_identity, write_identity
from barman.catalog.layout import ServerPaths
from barman.errors import CatalogError


@pytest.fixture
def paths(tmp_path):
    return ServerPaths(tmp_path, *(tmp_path / name for name in ("base", "wals", "in", "st", "err", "wals/x-xlog.db")))


def test_it_is_written_as_the_reference_does_and_read_back(paths):
    write_identity(paths, "7710493415885742363", "15")

    assert paths.identity.read_text() == '{\n    "systemid": "7710493415885742363",\n    "version": "15"\n}\n'
    assert read_identity(paths) == Identity("7710493415885742363", "15")


def test_it_is_written_once(paths):
    write_identity(paths, "1", "15")
    write_identity(paths, "2", "16")

    assert read_identity(paths) == Identity("1", "15")


def test_before_the_first_backup_there_is_none(paths):
    assert read_identity(paths) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": "15"}', "null"])
def test_a_damaged_file_is_told_and_not_overwritten(paths, content):
    paths.identity.write_text(content)

    with pytest.raises(CatalogError, match=r"identity\.json is damaged"):
        write_identity(paths, "1", "15")
    assert paths.identity.read_text() == content


def test_a_file_that_cannot_be_read_or_written_is_named(paths):
    paths.identity.mkdir()
    with pytest.raises(CatalogError, match=r"cannot read .*identity\.json"):
        read_identity(paths)

    paths.identity.rmdir()
    paths.root.rename(paths.root.with_name("elsewhere"))
    with pytest.raises(CatalogError, match=r"cannot write .*identity\.json"):
        write_identity(paths, "1", "15")
