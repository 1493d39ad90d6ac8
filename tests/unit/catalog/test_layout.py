"""Where the files of a server are."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from barman.catalog.layout import server_paths


def settings(**changes):
    root = Path("/home/barman/main")
    return SimpleNamespace(
        **{
            "backup_directory": root,
            "basebackups_directory": root / "base",
            "wals_directory": root / "wals",
            "incoming_wals_directory": root / "incoming",
            "streaming_wals_directory": root / "streaming",
            "errors_directory": root / "errors",
            "xlogdb_directory": root / "wals",
            **changes,
        }
    )


def test_every_file_has_its_place():
    paths = server_paths(settings(), "main")

    assert paths.meta == Path("/home/barman/main/meta")
    assert paths.xlogdb == Path("/home/barman/main/wals/main-xlog.db")
    assert paths.identity == Path("/home/barman/main/identity.json")
    assert paths.data_dir("20261121T053618") == Path("/home/barman/main/base/20261121T053618/data")
    assert paths.tablespace_dir("20261121T053618", 16386) == Path("/home/barman/main/base/20261121T053618/16386")
    assert paths.record_file("20261121T053618") == Path("/home/barman/main/meta/20261121T053618-backup.info")
    assert paths.legacy_record_file("20261121T053618") == Path("/home/barman/main/base/20261121T053618/backup.info")
    assert paths.legacy_annotation("x", "keep") == Path("/home/barman/main/base/x/annotations/keep")
    assert paths.backup_dir("x") == Path("/home/barman/main/base/x")


def test_the_parts_can_be_anywhere_but_meta_cannot():
    paths = server_paths(settings(basebackups_directory=Path("/big/base"), xlogdb_directory=Path("/fast")), "main")

    assert paths.base == Path("/big/base")
    assert paths.xlogdb == Path("/fast/main-xlog.db")
    assert {paths.root, paths.base, paths.wals, paths.incoming, paths.streaming, paths.errors, paths.meta} < set(
        paths.directories
    )
    assert Path("/fast") in paths.directories


def test_what_is_in_an_object_store_has_its_default_place():
    paths = server_paths(settings(basebackups_directory="s3://bucket/x", wals_directory="s3://bucket/x"), "main")

    assert paths.base == Path("/home/barman/main/base")
    assert paths.wals == Path("/home/barman/main/wals")
