"""put-wal: what is kept, what is refused, and what is told."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import sys
import tarfile

import pytest

from barman.host import files
from barman.wal import put
from tests.support.settings import write_configuration

WAL = "000000010000000000000003"
CONTENT = os.urandom(1 << 20)
SERVER = "[main]\nconninfo = host=a\nbackup_method = postgres\narchiver = on\n"


@pytest.fixture
def place(tmp_path):
    return tmp_path


def sums_of(members, algorithm="sha256"):
    return "".join(f"{hashlib.new(algorithm, content).hexdigest()} *{name}\n" for name, content in members).encode()


def tar_of(*members, sums=None, sums_name="SHA256SUMS"):
    stream = io.BytesIO()
    with tarfile.open(mode="w|", fileobj=stream, format=tarfile.PAX_FORMAT) as archive:
        for name, content in (*members, (sums_name, sums_of(members) if sums is None else sums)):
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = len(content), 0o600, 1700000000.25
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def put_wal(place, monkeypatch, stream, *options, server=SERVER, name="main"):
    conf = write_configuration(place, server)
    monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": io.BytesIO(stream)})())
    return put.main(["-c", str(conf), *options, "put-wal", name])


def incoming(place):
    directory = place / "home" / "main" / "incoming"
    return {path.name: path.read_bytes() for path in directory.iterdir()} if directory.exists() else {}


def errors(place):
    directory = place / "home" / "main" / "errors"
    return {path.name: path.read_bytes() for path in directory.iterdir()} if directory.exists() else {}


def test_a_file_is_stored_with_its_time_and_nothing_else_remains(place, monkeypatch, capsys):
    assert put_wal(place, monkeypatch, tar_of((WAL, CONTENT))) == 0
    assert incoming(place) == {WAL: CONTENT}
    assert (place / "home" / "main" / "incoming" / WAL).stat().st_mtime == 1700000000.25
    assert capsys.readouterr() == ("", "")


def test_several_files_and_md5_sums_and_leading_dots_are_understood(place, monkeypatch):
    members = [("./" + WAL, b"a"), ("00000002.history", b"b")]
    sums = sums_of(members, "md5")
    assert put_wal(place, monkeypatch, tar_of(*members, sums=sums, sums_name="./MD5SUMS")) == 0
    assert incoming(place) == {WAL: b"a", "00000002.history": b"b"}


def test_the_same_file_again_is_accepted(place, monkeypatch):
    for _ in range(2):
        assert put_wal(place, monkeypatch, tar_of((WAL, CONTENT))) == 0
    assert incoming(place) == {WAL: CONTENT}
    assert errors(place) == {}


def test_the_same_segment_compressed_anew_is_accepted(place, monkeypatch):
    assert put_wal(place, monkeypatch, tar_of((WAL, CONTENT))) == 0
    assert put_wal(place, monkeypatch, tar_of((WAL, gzip.compress(CONTENT)))) == 0
    assert incoming(place) == {WAL: CONTENT}


def test_another_content_under_the_same_name_is_kept_aside_once_and_never_acknowledged(place, monkeypatch, capsys):
    assert put_wal(place, monkeypatch, tar_of((WAL, CONTENT))) == 0
    for _ in range(2):
        assert put_wal(place, monkeypatch, tar_of((WAL, b"other"))) == 1
        assert "different content" in capsys.readouterr().err
    assert incoming(place) == {WAL: CONTENT}
    assert list(errors(place).values()) == [b"other"]
    assert put_wal(place, monkeypatch, tar_of((WAL, b"a third"))) == 1
    assert sorted(errors(place).values()) == [b"a third", b"other"]
    assert all(name.startswith(f"{WAL}.") and name.endswith("Z.duplicate") for name in errors(place))


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        (b"", "empty"),
        (b"garbage" * 200, "not a complete tar archive"),
        (tar_of((WAL, CONTENT))[: 1 << 19], "not a complete tar archive"),
        (tar_of((WAL, CONTENT))[: 1 << 20], "not a complete tar archive"),
        (tar_of(), "no WAL file"),
        (tar_of((WAL, CONTENT), sums=b""), "not its checksum"),
        (tar_of((WAL, CONTENT), sums=b"0" * 64 + b" *" + WAL.encode() + b"\n"), "wrong sha256 checksum"),
        (tar_of((WAL, CONTENT), sums=sums_of([(WAL, CONTENT), ("00000002.history", b"")])), "but not the file"),
        (tar_of(("../" + WAL, CONTENT)), "not the name of a WAL file"),
        (tar_of(("x/" + WAL, CONTENT)), "not the name of a WAL file"),
        (tar_of(("rubbish", CONTENT)), "not the name of a WAL file"),
    ],
    ids=[
        "empty",
        "garbage",
        "cut in the file",
        "cut before the sums",
        "no file",
        "no sum",
        "wrong sum",
        "sum of nothing",
        "path up",
        "path down",
        "name",
    ],
)
def test_a_stream_that_is_not_right_is_refused_and_leaves_nothing(place, monkeypatch, capsys, stream, words):
    assert put_wal(place, monkeypatch, stream) == 1
    assert words in capsys.readouterr().err
    assert incoming(place) == {}


def test_a_directory_or_link_in_the_stream_is_refused(place, monkeypatch, capsys):
    stream = io.BytesIO()
    with tarfile.open(mode="w|", fileobj=stream) as archive:
        info = tarfile.TarInfo(WAL)
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    assert put_wal(place, monkeypatch, stream.getvalue()) == 1
    assert "not a regular file" in capsys.readouterr().err


def test_one_bad_file_of_several_keeps_all_out(place, monkeypatch):
    members = [(WAL, b"a"), ("00000002.history", b"b")]
    wrong = sums_of(members[:1]) + b"0" * 64 + b" *00000002.history\n"
    assert put_wal(place, monkeypatch, tar_of(*members, sums=wrong)) == 1
    assert incoming(place) == {}


def test_a_line_that_is_no_sum_is_a_warning(place, monkeypatch, capsys):
    assert put_wal(place, monkeypatch, tar_of((WAL, b"a"), sums=b"what is this\n" + sums_of([(WAL, b"a")]))) == 0
    assert "WARNING: SHA256SUMS: not a checksum" in capsys.readouterr().err


def test_what_a_killed_transfer_left_is_removed_and_a_living_one_is_left_alone(place, monkeypatch):
    directory = place / "home" / "main" / "incoming"
    directory.mkdir(parents=True)
    stale, file = files.open_temporary(directory / WAL)
    file.close()
    living, file = files.open_temporary(directory / WAL)
    with file:
        assert put_wal(place, monkeypatch, tar_of((WAL, b"a"))) == 0
        assert not os.path.exists(stale)
        assert os.path.exists(living)


def test_a_file_system_without_hard_links_will_do(place, monkeypatch):
    def refuse(source, target):
        raise PermissionError(1, "Operation not permitted", target)

    monkeypatch.setattr(os, "link", refuse)
    assert put_wal(place, monkeypatch, tar_of((WAL, b"a"))) == 0
    assert put_wal(place, monkeypatch, tar_of((WAL, b"a"))) == 0
    assert put_wal(place, monkeypatch, tar_of((WAL, b"b"))) == 1
    assert incoming(place) == {WAL: b"a"}


def test_a_full_disk_is_an_error_that_names_the_file_and_leaves_nothing(place, monkeypatch, capsys):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert put_wal(place, monkeypatch, tar_of((WAL, b"a"))) == 1
    assert "No space left on device: " in capsys.readouterr().err
    assert incoming(place) == {}


@pytest.mark.parametrize(
    ("server", "name", "words"),
    [
        (SERVER, "nosuch", "nknown server 'nosuch'"),
        (SERVER + "active = off\n", "main", "is inactive"),
        (SERVER + "slot_name =\nstreaming_archiver = on\narchiver = off\n", "main", "requires slot_name"),
        (SERVER + f"[b]\n{SERVER[7:]}incoming_wals_directory = %(x)s\nx = home\n", "nosuch", "nknown server"),
    ],
)
def test_a_server_that_cannot_take_wal_refuses_it(place, monkeypatch, capsys, server, name, words):
    assert put_wal(place, monkeypatch, tar_of((WAL, b"a")), server=server, name=name) == 1
    assert words in capsys.readouterr().err
    assert incoming(place) == {}


def test_servers_that_share_a_directory_accept_nothing(place, monkeypatch, capsys):
    shared = f"incoming_wals_directory = {place}/shared\n"
    server = f"{SERVER}{shared}[b]\n{SERVER[7:]}{shared}"
    assert put_wal(place, monkeypatch, tar_of((WAL, b"a")), server=server) == 1
    assert "conflicting directories" in capsys.readouterr().err


def test_the_test_option_only_tells_that_wal_would_be_accepted(place, monkeypatch, capsys):
    conf = write_configuration(place, SERVER)
    assert put.main(["-c", str(conf), "put-wal", "--test", "main"]) == 0
    assert capsys.readouterr().out == "Ready to accept WAL files for the server main\n"


def test_errors_are_collected_in_json_when_asked_for(place, monkeypatch, capsys):
    assert put_wal(place, monkeypatch, b"", "-f", "json") == 1
    out, err = capsys.readouterr()
    assert out.startswith('{"_ERROR": ["the stream is not a complete tar archive')
    assert err == ""


def test_the_address_of_the_sender_is_told(place, monkeypatch, capsys):
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.7 1 192.0.2.1 22")
    assert put_wal(place, monkeypatch, b"") == 1
    assert "(ssh host: 192.0.2.7)" in capsys.readouterr().err
