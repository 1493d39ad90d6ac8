"""barman-wal-restore: complete files or none, read-ahead, and which exit code PostgreSQL sees."""

from __future__ import annotations

import gzip
import os

import pytest
import zstandard

from barman.client import wal_restore
from barman.wal.hot_program import STOP_RECOVERY
from tests.support.processes import wait_until

SIZE = 1 << 20


def wal(number):
    return f"{1:08X}{0:08X}{number:08X}"


FIRST = wal(1)


def restore(site, *words, name=FIRST, host="host", destination=None):
    target = str(destination or site.destination)
    return wal_restore.main(["-c", str(site.conf), "--spool-dir", str(site.spool), *words, host, "main", name, target])


def leftovers(site):
    return [path.name for path in site.root.iterdir() if "RECOVERYXLOG" in path.name]


def test_a_file_is_delivered(site):
    content = os.urandom(SIZE)
    site.archive(wal(1), content)
    assert restore(site) == 0
    assert site.destination.read_bytes() == content
    assert leftovers(site) == ["RECOVERYXLOG"]


def test_the_words_given_to_ssh_are_those_of_the_reference(site):
    site.archive(wal(1), bytes(SIZE))
    assert restore(site, "-U", "u", "--port", "22", "-P", "--keep-compression") == 0
    assert restore(site, "-t", name="x", destination="y") == 0
    assert site.calls() == [
        f"-p 22 -q -T u@host barman --config '{site.conf}' get-wal --keep-compression --partial 'main' '{wal(1)}'",
        f"-q -T barman@host barman --config '{site.conf}' get-wal --test 'main' '{'0' * 24}'",
    ]


@pytest.mark.parametrize("option", ["--keep-compression", "-z", "-j", "-P"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.ZstdCompressor().compress])
def test_what_arrives_compressed_is_decompressed(site, option, compress):
    content = os.urandom(1000) + bytes(SIZE - 1000)
    site.archive(wal(1), compress(content))
    assert restore(site, option) == 0
    assert site.destination.read_bytes() == content
    assert leftovers(site) == ["RECOVERYXLOG"]


@pytest.mark.parametrize(
    ("host", "status"),
    [("host", 1), ("lost", 1), ("down", 2), ("short", STOP_RECOVERY), ("silent", STOP_RECOVERY)],
)
def test_a_failure_leaves_the_destination_as_it_was(site, host, status):
    assert restore(site, host=host) == status
    assert leftovers(site) == []
    site.destination.write_bytes(b"before")
    assert restore(site, host=host) == status
    assert site.destination.read_bytes() == b"before"
    assert leftovers(site) == ["RECOVERYXLOG"]


def test_a_damaged_file_of_the_archive_stops_recovery(site, capfd):
    site.archive(wal(1), gzip.compress(bytes(SIZE))[:-20])
    assert restore(site) == STOP_RECOVERY
    assert restore(site, "--keep-compression") == STOP_RECOVERY
    assert leftovers(site) == []
    assert "cannot be decompressed" in capfd.readouterr().err


def test_a_bad_name_is_exit_code_3(site):
    assert restore(site, name="rubbish") == 3


def test_a_destination_that_cannot_be_opened_is_exit_code_3(site, tmp_path):
    assert restore(site, destination=tmp_path) == 3
    assert restore(site, destination=tmp_path / "nosuch" / "x") == 3
    assert not any("get-wal" in call for call in site.calls())


def test_a_disk_that_fills_up_stops_recovery(site, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    site.archive(wal(1), gzip.compress(bytes(SIZE)))
    assert restore(site, "--keep-compression") == STOP_RECOVERY


def test_no_ssh_at_all_is_exit_code_2(site, monkeypatch):
    monkeypatch.setenv("PATH", "/nosuch")
    assert restore(site) == 2
    assert restore(site, "-t") == 2


def test_a_file_in_the_spool_is_delivered_without_asking(site):
    site.spool.mkdir()
    (site.spool / wal(1)).write_bytes(b"s" * SIZE)
    assert restore(site, host="down") == 0
    assert site.destination.read_bytes() == b"s" * SIZE
    assert list(site.spool.iterdir()) == []


def test_a_short_file_in_the_spool_is_fetched_again(site):
    site.spool.mkdir()
    (site.spool / wal(1)).write_bytes(b"s" * 1000)
    site.archive(wal(1), b"a" * SIZE)
    assert restore(site) == 0
    assert site.destination.read_bytes() == b"a" * SIZE


def test_the_segments_that_follow_are_fetched_ahead(site):
    for number in range(1, 8):
        site.archive(wal(number), bytes([number]) * SIZE)
    for number in range(1, 8):
        assert restore(site, "-p", "4", name=wal(number)) == 0
        assert site.destination.read_bytes() == bytes([number]) * SIZE
    direct = [call for call in site.calls() if "--peek" not in call]
    assert len(direct) == 7, "each segment travels once"
    assert restore(site, "-p", "4", name=wal(8)) == 1


def test_read_ahead_fetches_no_partial_files_and_leaves_only_whole_ones(site):
    site.archive(wal(1), bytes(SIZE))
    site.archive(wal(2), gzip.compress(bytes(SIZE))[:-20])
    site.archive(wal(3), bytes(SIZE))
    assert restore(site, "-p", "3", "-P") == 0
    wait_until((site.spool / wal(3)).exists, "the third segment is there")
    assert restore(site, "-p", "3", "-P", name=wal(2)) == STOP_RECOVERY
    names = [path.name for path in site.spool.iterdir() if not path.name.endswith(".lock")]
    assert names == [wal(3)]


def test_a_spool_directory_that_cannot_be_made_is_exit_code_2(site):
    site.archive(wal(1), bytes(SIZE))
    site.spool = site.root / "nosuch" / "spool"
    assert restore(site) == 0, "it is not needed"
    assert restore(site, "-p", "2") == 2


def test_a_spool_directory_of_somebody_else_is_not_trusted(site):
    site.spool.mkdir()
    os.chown(site.spool, 65534, 65534)
    (site.spool / wal(1)).write_bytes(b"evil" * (SIZE // 4))
    os.chown(site.spool / wal(1), 65534, 65534)
    site.archive(wal(1), b"a" * SIZE)
    assert restore(site) == 0
    assert site.destination.read_bytes() == b"a" * SIZE
    assert restore(site, "-p", "2") == 2


def test_history_files_are_delivered_and_not_read_ahead(site):
    site.archive("00000002.history", b"1\t0/3000000\treason\n")
    assert restore(site, "-p", "3", name="00000002.history") == 0
    assert site.destination.read_bytes() == b"1\t0/3000000\treason\n"
    assert len(site.calls()) == 1


def test_the_deprecated_options_say_so(site, capsys):
    site.archive(wal(1), bytes(SIZE))
    assert restore(site, "-z") == 0
    assert "deprecated" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["-z", "--keep-compression"], ["-p", "-1"], ["--nosuch"]])
def test_wrong_usage_is_exit_code_2(site, words):
    with pytest.raises(SystemExit) as caught:
        restore(site, *words)
    assert caught.value.code == 2


def test_a_pause_before_a_failure_is_made_only_then(site, monkeypatch):
    pauses = []
    monkeypatch.setattr(wal_restore.time, "sleep", pauses.append)
    site.archive(wal(1), bytes(SIZE))
    assert restore(site, "-s", "7") == 0
    assert pauses == []
    assert restore(site, "-s", "7", name=wal(9)) == 1
    assert pauses == [7]
