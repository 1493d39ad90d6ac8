from __future__ import annotations

import pytest

from barman.errors import CatalogError
from barman.postgres.manifest import ManifestFile, WalRange, read_files, read_wal_ranges

MANIFEST = """\
{ "PostgreSQL-Backup-Manifest-Version": 2,
"System-Identifier": 7710534007676108083,
"Files": [
{ "Path": "backup_label", "Size": 226, "Last-Modified": "2026-11-21 08:15:20 GMT", "Checksum-Algorithm": "CRC32C", \
"Checksum": "93513075" },
{ "Encoded-Path": "706174682fff", "Size": 0, "Last-Modified": "2026-11-21 08:15:20 GMT" }
],
"WAL-Ranges": [
{ "Timeline": 1, "Start-LSN": "0/7000028", "End-LSN": "0/7000120" },
{ "Timeline": 2, "Start-LSN": "0/7000120", "End-LSN": "0/8000000" }
],
"Manifest-Checksum": "71134c59bb50f81befcc41df462e9db0c554bf635707381db16ef78fa5418f4a"}
""".splitlines(keepends=True)


def test_files_are_read_one_by_one():
    assert list(read_files(MANIFEST)) == [
        ManifestFile("backup_label", 226, "CRC32C", "93513075"),
        ManifestFile("path/\udcff", 0, None, None),
    ]


def test_the_wal_that_is_needed_is_read():
    assert read_wal_ranges(MANIFEST) == (WalRange(1, "0/7000028", "0/7000120"), WalRange(2, "0/7000120", "0/8000000"))


def test_a_manifest_without_wal_ranges_asks_for_none():
    assert read_wal_ranges(MANIFEST[:5]) == ()


def test_the_list_may_end_on_the_line_of_its_last_file():
    assert [file.path for file in read_files(['{"Path": "a", "Size": 1}],\n'])] == ["a"]


@pytest.mark.parametrize(
    "line", ['{ "Path": }', '{ "Path": "a" }', '{ "Path": "a", "Size": "x" }', '{ "Encoded-Path": "zz", "Size": 1}']
)
def test_a_damaged_manifest_is_refused(line):
    with pytest.raises(CatalogError, match="damaged backup_manifest"):
        list(read_files([line]))
