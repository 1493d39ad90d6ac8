"""barman-wal-archive: what travels, and which exit code PostgreSQL sees."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os

import lz4.frame
import pytest
import zstandard

from barman.client import remote, wal_archive
from tests.support.wal import MIB, name_of, segment
from tests.support.wire import ALIVE

WAL = name_of(3)


@pytest.fixture
def wal(tmp_path):
    path = tmp_path / WAL
    path.write_bytes(segment(WAL)[:100_000] + bytes(MIB - 100_000))
    path.chmod(0o600)
    return path


def archive(site, *words, host="host"):
    return wal_archive.main(["-c", str(site.conf), *map(str, words[:-1]), host, "main", str(words[-1])])


def test_a_file_arrives_under_its_name_with_its_time(site, wal):
    os.utime(wal, (1700000000, 1700000000))
    assert archive(site, wal) == 0
    assert site.incoming() == {WAL: wal.read_bytes()}
    assert (site.main / "incoming" / WAL).stat().st_mtime == 1700000000


def test_the_words_given_to_ssh_are_those_of_the_reference(site, wal):
    assert archive(site, "-U", "u", "--port", "2222", wal) == 0
    assert archive(site, "-t", wal) == 0
    assert site.calls() == [
        f"{ALIVE}-p 2222 -q -T u@host barman --config='{site.conf}' put-wal main",
        f"{ALIVE}-q -T barman@host barman --config='{site.conf}' put-wal main --test",
    ]


def test_the_test_option_shows_what_barman_says(site, capfd):
    assert archive(site, "--test", "any") == 0
    assert capfd.readouterr().out == "Ready to accept WAL files for the server main\n"


def test_md5_sums_are_accepted(site, wal):
    assert archive(site, "--md5", wal) == 0
    assert site.incoming() == {WAL: wal.read_bytes()}


@pytest.mark.parametrize(
    ("option", "decompress"),
    [
        ("-z", gzip.decompress),
        ("--bzip2", bz2.decompress),
        ("--xz", lzma.decompress),
        ("--zstd", lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data)),
        ("--lz4", lz4.frame.decompress),
    ],
)
def test_a_file_may_be_compressed_before_it_is_sent(site, wal, option, decompress):
    assert archive(site, option, "--compression-level", "low", wal) == 0
    (content,) = site.incoming().values()
    assert len(content) < 200_000
    assert decompress(content) == wal.read_bytes()
    assert archive(site, option, wal) == 0, "the same again, at another level"


def test_the_last_compression_option_wins(site, wal):
    assert archive(site, "-z", "--zstd", wal) == 0
    assert next(iter(site.incoming().values()))[:4] == b"\x28\xb5\x2f\xfd"


def test_a_conflicting_file_is_not_acknowledged(site, wal):
    assert archive(site, wal) == 0
    before = site.incoming()
    wal.write_bytes(segment(WAL, filling=1))
    assert archive(site, wal) == 1
    assert site.incoming() == before


@pytest.mark.parametrize("name", ["nosuch", "."])
def test_a_file_that_cannot_be_read_is_exit_code_2(site, tmp_path, name, capsys):
    assert archive(site, tmp_path / name) == 2
    assert str(tmp_path) in capsys.readouterr().err
    assert site.calls() == []


def test_a_connection_that_fails_is_exit_code_3(site, wal, capsys):
    assert archive(site, wal, host="down") == 3
    assert archive(site, "-t", wal, host="down") == 3
    assert "barman@down" in capsys.readouterr().err


def test_no_ssh_at_all_is_exit_code_2(site, wal, monkeypatch):
    monkeypatch.setenv("PATH", "/nosuch")
    assert archive(site, wal) == 2


def test_the_exit_code_of_the_far_side_is_passed_on_even_if_it_hangs_up(site, wal):
    wal.write_bytes(bytes(8 << 20))
    assert wal_archive.main(["-c", str(site.conf), "host", "nosuch", str(wal)]) == 1
    assert archive(site, wal, host="lost") == 1


def test_a_far_side_that_hangs_up_without_an_error_has_stored_nothing(site, wal):
    wal.write_bytes(bytes(8 << 20))
    assert archive(site, wal, host="silent") == 2


@pytest.mark.parametrize("words", [[], ["--nosuch", "a", "b", "c"], ["--compression-level", "much", "a", "b", "c"]])
def test_wrong_usage_is_exit_code_2(words):
    with pytest.raises(SystemExit) as caught:
        wal_archive.main(words)
    assert caught.value.code == 2


def test_a_missing_library_is_told_with_the_way_to_get_it(site, wal, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "cramjam", None)
    assert archive(site, "--snappy", wal) == 1
    assert "snappy" in capsys.readouterr().err


def test_without_a_connection_the_hint_is_a_command_that_tells_why(tmp_path, monkeypatch, wal, capsys):
    ssh = tmp_path / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text("#!/bin/sh\nexit 255\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}:/usr/bin:/bin")
    assert wal_archive.main(["--port", "2222", "-U", "u", "host", "main", str(wal)]) == 3
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "ERROR: cannot connect to u@host by ssh"
    assert "'ssh -o BatchMode=yes -p 2222 u@host barman --version'" in told[1]


def test_a_barman_host_that_falls_silent_is_given_up(site, wal, monkeypatch, capsys):
    monkeypatch.setattr(remote, "_PATIENCE_S", 1)
    (site.root / "ssh").write_text("#!/bin/sh\nexec sleep 100\n")
    assert archive(site, wal) == 3
    assert "barman@host has not moved for 1 seconds, given up" in capsys.readouterr().err
