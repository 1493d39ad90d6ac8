from __future__ import annotations

import gzip
import io
import json
import tarfile

import pytest

from barman.errors import CatalogError, NotFound
from barman.restore.tarred_settings import look_into

FILES = {
    "PG_VERSION": b"18\n",
    "postgresql.conf": b"include_dir 'conf.d'\narchive_command = 'cp'\n",
    "conf.d/a.conf": b"work_mem = 1\n",
    "base/5/1249": bytes(3 << 20),
    "base/5/postgresql.conf": b"not one",
    "postmaster.pid": b"1",
    "core": bytes(2 << 20),
    "global/6100": bytes(8192),
    "pg_wal/000000010000000000000001": b"",
    "postgresql.auto.conf": b"port = 1\n",
    "global/pg_control": b"control",
}


@pytest.fixture
def make(tmp_path):
    """Writes a tarball, with its manifest beside it: make(names in order, is_compressed)."""

    def write(names=tuple(FILES), *, is_compressed=True, has_manifest=True):
        target = io.BytesIO()
        with tarfile.open(fileobj=target, mode="w") as archive:
            for name in names:
                info = tarfile.TarInfo(f"./{name}" if name.startswith("post") else name)
                info.size = len(FILES[name])
                archive.addfile(info, io.BytesIO(FILES[name]))
        path = tmp_path / "base.tar"
        path.write_bytes(gzip.compress(target.getvalue(), 1) if is_compressed else target.getvalue())
        if has_manifest:
            entries = [json.dumps({"Path": name, "Size": len(FILES[name])}) for name in names]
            (tmp_path / "backup_manifest").write_text(",\n".join(entries))
        return path

    return write


def _look(tarball, **options):
    return look_into(tarball, tarball.with_name("backup_manifest"), decryption=None, **options)


@pytest.mark.parametrize("is_compressed", [True, False])
def test_settings_are_found_wherever_they_are(make, is_compressed):
    found = _look(make(is_compressed=is_compressed))

    assert found.read("postgresql.conf") == FILES["postgresql.conf"].decode()
    assert found.read("postgresql.auto.conf") == "port = 1\n"
    assert found.listing("conf.d") == ["a.conf"]
    assert found.read("conf.d/a.conf") == "work_mem = 1\n"
    assert found.size("global/6100") == 8192
    assert found.control_file() == b"control"
    for name in ("pg_hba.conf", "postmaster.pid", "base/5/postgresql.conf"):
        assert found.read(name) is None
    assert not found.leads_out("postgresql.conf")


def test_data_are_not_kept(make):
    assert set(_look(make()).contents) == set(FILES) & {
        "PG_VERSION",
        "postgresql.conf",
        "conf.d/a.conf",
        "postgresql.auto.conf",
        "global/pg_control",
    } | {"global/6100"}


def test_a_file_that_is_too_large_is_no_settings_file(make):
    found = _look(make())
    assert found.size("core") == 2 << 20
    with pytest.raises(NotFound, match="core was not read"):
        found.read("core")


def test_of_a_large_tarball_the_first_part_is_known_and_the_names_by_the_manifest(make):
    found = _look(make(), limit=1 << 20)

    assert found.read("postgresql.conf") == FILES["postgresql.conf"].decode()
    assert found.listing("conf.d") == ["a.conf"]
    assert found.size("pg_hba.conf") is None
    assert found.size("global/6100") == 8192
    with pytest.raises(NotFound, match=r"postgresql\.auto\.conf was not read: .* of what is in base\.tar"):
        found.read("postgresql.auto.conf")
    with pytest.raises(NotFound, match="global/pg_control was not read"):
        found.control_file()


def test_without_a_manifest_nobody_knows_what_comes_later(make):
    found = _look(make(has_manifest=False), limit=1 << 20)

    assert found.read("conf.d/a.conf") == "work_mem = 1\n"
    assert found.read("recovery.conf") is None
    with pytest.raises(NotFound, match=r"hba\.conf was not read"):
        found.size("pg_hba.conf")
    with pytest.raises(NotFound, match=r"conf\.d was not read"):
        found.listing("conf.d")


def test_what_is_not_compressed_is_skipped_and_so_read_to_the_end(make):
    found = _look(make(is_compressed=False), limit=1 << 20)
    assert found.control_file() == b"control"


def test_a_damaged_tarball_is_named(make):
    tarball = make()
    tarball.write_bytes(tarball.read_bytes()[:3000])
    with pytest.raises(CatalogError, match=r"base\.tar is damaged"):
        _look(tarball)
