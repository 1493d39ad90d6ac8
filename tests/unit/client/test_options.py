"""The file with defaults for the programs on the PostgreSQL host."""

from __future__ import annotations

import pytest

from barman.client import options, wal_archive, wal_restore
from tests.support.wal import name_of, segment
from tests.support.wire import ALIVE

WAL = name_of(3)


@pytest.fixture
def defaults(tmp_path, monkeypatch):
    path = tmp_path / "barman-client.conf"
    monkeypatch.setattr(options, "DEFAULTS_FILE", str(path))
    return path


@pytest.fixture
def wal(tmp_path):
    (tmp_path / WAL).write_bytes(segment(WAL))
    return tmp_path / WAL


def test_defaults_come_from_the_file_and_the_command_line_wins(site, defaults, wal):
    defaults.write_text(
        f"# for all\n[archive]\nuser = u\nport = 22\nconfig = {site.conf}\ncompression = zstd\ncompression_level = 1\n"
        f"[restore]\nuser = v\nconfig = {site.conf}\nkeep_compression = on\n"
    )
    assert wal_archive.main(["host", "main", str(wal)]) == 0
    assert next(iter(site.incoming().values()))[:4] == b"\x28\xb5\x2f\xfd"
    assert wal_archive.main(["-U", "me", "--gzip", "host", "main", str(wal)]) == 0
    assert wal_restore.main(["host", "main", WAL, str(site.destination)]) == 0
    assert site.destination.read_bytes() == segment(WAL)
    assert [call.removeprefix(ALIVE).split(" barman")[0] for call in site.calls()] == [
        "-p 22 -q -T u@host", "-p 22 -q -T me@host", "-q -T v@host"
    ]  # fmt: skip
    assert "--keep-compression" in site.calls()[-1]


def test_another_file_can_be_named(site, defaults, wal, tmp_path):
    other = tmp_path / "other.conf"
    other.write_text(f"[archive]\nconfig = {site.conf}\n")
    assert wal_archive.main(["--client-config", str(other), "host", "main", str(wal)]) == 0
    assert wal_archive.main(["--client-config", str(tmp_path / "nosuch"), "host", "main", str(wal)]) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[archive]\nbatch = many\n", ":2: batch: 'many' is not a positive integer"),
        ("[archive]\n\nbtach = 4\n", ":3: unknown option btach in [archive]"),
        ("[archive]\ncompression = zip\n", ":2: compression: 'zip' is not none, gzip"),
        ("[archive]\ncompression_level = much\n", ":2: compression_level: 'much' is not low"),
        ("[archive]\nkeep_connection = -1\n", ":2: keep_connection: '-1' is not a non-negative integer"),
        ("batch = 4\n", ":1: line before the first section"),
    ],
)
def test_a_mistake_in_the_file_is_told_with_its_line(site, defaults, wal, capsys, text, words):
    defaults.write_text(text)
    assert wal_archive.main(["host", "main", str(wal)]) == 2
    assert f"ERROR: {defaults}{words}" in capsys.readouterr().err
    assert site.calls() == []


def test_a_switch_is_true_or_false(site, defaults, capsys):
    defaults.write_text("[restore]\npartial = maybe\n")
    assert wal_restore.main(["host", "main", WAL, str(site.destination)]) == 2
    assert ":2: partial: 'maybe' is not true or false" in capsys.readouterr().err


def test_a_kept_connection_has_its_socket_in_the_spool_directory(site, wal):
    site.spool.mkdir(mode=0o700)
    words = ["-c", str(site.conf), "--keep-connection", "60", "--spool-dir", "/tmp"]
    assert wal_archive.main([*words, "host", "main", str(wal)]) == 0
    (call,) = site.calls()
    assert "-o ControlMaster=auto -o ControlPath=/tmp/.ssh-%C -o ControlPersist=60 -q -T" in call
    long = str(site.root / ("x" * 60))
    assert wal_archive.main(["--keep-connection", "9", "--spool-dir", long, "host", "main", str(wal)]) == 2
