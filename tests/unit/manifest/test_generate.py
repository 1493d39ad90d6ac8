"""A backup_manifest for a copy that has none."""

from __future__ import annotations

import hashlib
import json
import os

import pytest

from barman.errors import LockBusy, Refused, StorageError
from barman.manifest.generate import generate_manifest
from barman.postgres.manifest import read_files
from barman.progress import LogReporter
from barman.server import open_server
from tests.support.catalogs import HandMade, backup_id
from tests.support.settings import load_text

FIRST = backup_id(1)


@pytest.fixture
def catalog(tmp_path):
    made = HandMade(tmp_path / "home" / "main")
    made.make_directories()
    made.add_backup(1, 2, 3, mode="rsync-concurrent")
    return made


@pytest.fixture
def server(tmp_path, catalog):
    return open_server(load_text(tmp_path, "[main]\nconninfo = dbname=x\narchiver = on\n"), "main")


def generate(server):
    return generate_manifest(server, server.backups.get(FIRST), LogReporter())


def test_it_has_the_shape_of_the_reference(catalog, server):
    (catalog.paths.data_dir(FIRST) / "PG_VERSION").write_bytes(b"x")
    os.utime(catalog.paths.data_dir(FIRST) / "PG_VERSION", (1795251828, 1795251828))
    (catalog.paths.data_dir(FIRST) / "link").symlink_to("PG_VERSION")

    text = generate(server).read_text()

    lines = text.splitlines()
    assert lines[:2] == ['{"PostgreSQL-Backup-Manifest-Version": 1,', '"Files": [']
    assert lines[2] == (
        '{"Checksum": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881", '
        '"Checksum-Algorithm": "SHA256", "Last-Modified": "2026-11-21 09:03:48", "Path": "PG_VERSION", "Size": 1},'
    )
    last = text.rindex('"Manifest-Checksum"')
    assert json.loads(text)["Manifest-Checksum"] == hashlib.sha256(text[:last].encode()).hexdigest()
    assert [file.path for file in read_files(lines)] == ["PG_VERSION", "base/1/1259", "global/pg_control"]


def test_a_name_that_is_no_utf_8_is_written_in_hex(catalog, server):
    odd = os.fsencode(catalog.paths.data_dir(FIRST)) + b"/odd\xff"
    with open(odd, "wb"):
        pass

    assert '"Encoded-Path": "6f6464ff"' in generate(server).read_text()


def test_a_manifest_that_is_there_stays(catalog, server):
    path = catalog.paths.data_dir(FIRST) / "backup_manifest"
    path.write_text("mine")

    with pytest.raises(Refused, match="backup_manifest exists already"):
        generate(server)
    assert path.read_text() == "mine"


def test_without_data_there_is_nothing_to_list(catalog, server):
    catalog.paths.data_dir(FIRST).rename(catalog.directory / "away")

    with pytest.raises(Refused, match="no data directory"):
        generate(server)


def test_a_backup_being_deleted_gets_none(server):
    server.backups.mark_deletion(FIRST)
    with pytest.raises(Refused, match="being deleted"):
        generate(server)


def test_nor_one_somebody_is_working_on(server):
    with server.locks.backup_id(FIRST), pytest.raises(LockBusy):
        generate(server)


def test_a_file_that_cannot_be_read_is_named_and_nothing_is_left(catalog, server, monkeypatch):
    def fail(path, *_):
        raise OSError(5, "Input/output error", path)

    monkeypatch.setattr(os, "lstat", fail)
    with pytest.raises(StorageError, match="PG_VERSION: Input/output error"):
        generate(server)
    monkeypatch.undo()
    assert sorted(path.name for path in catalog.paths.data_dir(FIRST).iterdir()) == ["PG_VERSION", "base", "global"]
