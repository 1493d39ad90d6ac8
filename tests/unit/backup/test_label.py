"""Reading the backup label back from a copy."""

from __future__ import annotations

import io
import tarfile

import pytest

from barman.backup.label import read_label
from barman.errors import CatalogError
from barman.storage.compress.codecs import compress_stream, resolve_level

LABEL = "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\nCHECKPOINT LOCATION: 0/2000060\n"


def _archive(members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _write(path, content, algorithm):
    with path.open("wb") as file:
        if algorithm is None:
            file.write(content)
        else:
            compress_stream(io.BytesIO(content), file, algorithm, resolve_level(algorithm, "low"))


def test_from_a_plain_copy(tmp_path):
    (tmp_path / "backup_label").write_text(LABEL)
    assert read_label(tmp_path) == LABEL


@pytest.mark.parametrize(
    ("extension", "algorithm"), [("tar", None), ("tar.gz", "gzip"), ("tar.lz4", "lz4"), ("tar.zst", "zstd")]
)
@pytest.mark.parametrize("name", ["backup_label", "./backup_label"])
def test_from_inside_the_base_archive(extension, algorithm, name, tmp_path):
    content = _archive({name: LABEL.encode(), "PG_VERSION": b"18\n"})
    _write(tmp_path / f"base.{extension}", content, algorithm)
    _write(tmp_path / f"16386.{extension}", _archive({"PG_18/5/1": b"x"}), algorithm)
    assert read_label(tmp_path) == LABEL


def test_the_archive_is_not_read_further_than_needed(tmp_path):
    whole = _archive({"backup_label": LABEL.encode(), "large": bytes(1 << 20)})
    (tmp_path / "base.tar").write_bytes(whole[: len(whole) // 2])
    assert read_label(tmp_path) == LABEL


def test_without_any_copy_it_says_where_it_looked(tmp_path):
    with pytest.raises(CatalogError, match=str(tmp_path)):
        read_label(tmp_path)


@pytest.mark.parametrize("algorithm", [None, "gzip", "zstd", "lz4"])
def test_an_archive_without_a_label_is_named(algorithm, tmp_path):
    _write(tmp_path / "base.tar", _archive({"PG_VERSION": b"18\n"}), algorithm)
    with pytest.raises(CatalogError, match=r"no backup_label in .*base\.tar"):
        read_label(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"no archive at all" * 100, b"\x1f\x8b\x08" + bytes(100)], ids=["empty", "text", "gzip"]
)
def test_a_damaged_archive_is_named(content, tmp_path):
    (tmp_path / "base.tar.gz").write_bytes(content)
    with pytest.raises(CatalogError, match=r"base\.tar\.gz"):
        read_label(tmp_path)
