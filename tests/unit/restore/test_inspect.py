from __future__ import annotations

import json
from dataclasses import replace

import pytest

from barman.catalog.layout import ServerPaths
from barman.catalog.record import BackupId, BackupRecord
from barman.errors import Refused
from barman.postgres.facts import Tablespace
from barman.restore.inspect import inspect_backup, restored_sizes
from barman.restore.plan import BackupFiles, Tarball

RECORD = BackupRecord(BackupId("20261121T120000"), tablespaces=(Tablespace("cold", 7, "/srv/cold"),))


@pytest.fixture
def paths(tmp_path):
    names = ("main", "base", "wals", "incoming", "streaming", "errors")
    paths = ServerPaths(*(tmp_path / name for name in names), tmp_path / "wals" / "main-xlog.db")
    paths.data_dir(RECORD.backup_id).mkdir(parents=True)
    return paths


@pytest.fixture
def plain(paths):
    """The data directory of a complete plain backup with a tablespace."""
    data = paths.data_dir(RECORD.backup_id)
    cold = paths.tablespace_dir(RECORD.backup_id, 7)
    for directory in (data / "global", data / "pg_tblspc", cold):
        directory.mkdir()
    (data / "PG_VERSION").write_text("15\n")
    (data / "global" / "pg_control").touch()
    (data / "pg_tblspc" / "7").symlink_to(cold)
    return data


def test_plain_files_are_known_with_their_links(paths, plain):
    assert inspect_backup(paths, RECORD).tarballs == ()
    assert not inspect_backup(paths, RECORD).has_stray_links
    (plain / "pg_tblspc" / "7").unlink()
    assert inspect_backup(paths, RECORD).has_stray_links
    (plain / "pg_tblspc" / "7").symlink_to("/nowhere")
    assert inspect_backup(paths, RECORD).has_stray_links
    assert not inspect_backup(paths, replace(RECORD, tablespaces=None)).has_stray_links


@pytest.mark.parametrize("missing", ["PG_VERSION", "global/pg_control"])
def test_plain_files_must_be_complete(missing, paths, plain):
    (plain / missing).unlink()
    with pytest.raises(Refused, match=f"not complete.*{missing}"):
        inspect_backup(paths, RECORD)


def test_a_tablespace_must_be_there(paths, plain):
    paths.tablespace_dir(RECORD.backup_id, 7).rmdir()
    with pytest.raises(Refused, match="/7 is missing"):
        inspect_backup(paths, RECORD)
    in_place = replace(RECORD, tablespaces=(Tablespace("in", 9, "pg_tblspc/9"),))
    with pytest.raises(Refused, match="pg_tblspc/9 is missing"):
        inspect_backup(paths, in_place)
    (plain / "pg_tblspc" / "9").mkdir()
    assert not inspect_backup(paths, in_place).has_stray_links


def test_tarballs_are_known_with_their_sizes(paths):
    data = paths.data_dir(RECORD.backup_id)
    (data / "base.tar.gz").touch()
    with pytest.raises(Refused, match=r"7\.tar\* is missing"):
        inspect_backup(paths, RECORD)
    (data / "7.tar.gz").touch()
    assert inspect_backup(paths, RECORD).sizes == {}
    entries = [{"Path": "base/1", "Size": 10}, {"Path": "pg_tblspc/7/PG_15/1", "Size": 3}, {"Path": "x", "Size": 1}]
    lines = ",\n".join(json.dumps(entry) for entry in entries)
    (data / "backup_manifest").write_text('{ "PostgreSQL-Backup-Manifest-Version": 1,\n"Files": [\n' + lines + "\n],\n")
    found = inspect_backup(paths, RECORD)
    assert found.tarballs == (Tarball("7.tar.gz", 7), Tarball("base.tar.gz", None))
    assert found.sizes == {None: 11, 7: 3}


def test_a_backup_without_files_is_not_complete(paths):
    with pytest.raises(Refused, match="PG_VERSION is missing"):
        inspect_backup(paths, RECORD)
    with pytest.raises(Refused, match="No such file"):
        inspect_backup(paths, replace(RECORD, backup_id=BackupId("20261121T120001")))


def test_plain_files_are_known_with_their_sizes_but_for_what_is_left_out(paths, plain):
    (plain / "PG_VERSION").write_bytes(bytes(10))
    (plain / "postmaster.pid").write_bytes(bytes(1000))
    (paths.tablespace_dir(RECORD.backup_id, 7) / "1").write_bytes(bytes(20))
    assert inspect_backup(paths, RECORD).sizes == {None: 10, 7: 20}


def test_a_chain_restores_to_the_size_of_its_whole_files(paths):
    parent, child = RECORD, replace(RECORD, backup_id=BackupId("20261121T130000"))
    manifests = {
        parent.backup_id: {"base/1": 800, "base/2": 16, "pg_tblspc/7/PG_17/3": 32, "gone": 5},
        child.backup_id: {"base/INCREMENTAL.1": 24, "base/2": 8, "pg_tblspc/7/PG_17/INCREMENTAL.3": 12},
    }
    for backup_id, files in manifests.items():
        paths.data_dir(backup_id).mkdir(parents=True, exist_ok=True)
        entries = [json.dumps({"Path": path, "Size": size}) for path, size in files.items()]
        (paths.data_dir(backup_id) / "backup_manifest").write_text(",\n".join(entries))
    looked = {record.backup_id: BackupFiles() for record in (parent, child)}
    assert restored_sizes(paths, [parent, child], looked) == {None: 808, 7: 32}
    (paths.data_dir(parent.backup_id) / "backup_manifest").unlink()
    assert restored_sizes(paths, [parent, child], looked) == {}
