"""put-wal: what is kept, what is refused, and what is told."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import sys
import tarfile

import pytest

from barman.host import files
from barman.wal import put
from tests.support.settings import write_configuration
from tests.support.wal import HISTORY, LABEL, MIB, OTHER_SYSTEM_ID, SYSTEM_ID, name_of, segment

WAL = name_of(3)
CONTENT = segment(WAL)
OTHER = segment(WAL, filling=1)
THIRD = segment(WAL, filling=2)
HISTORY_NAME = "00000002.history"
SERVER = "[main]\nconninfo = host=a\nbackup_method = postgres\narchiver = on\n"


@pytest.fixture
def place(tmp_path):
    return tmp_path


def sums_of(members, algorithm="sha256"):
    return "".join(f"{hashlib.new(algorithm, content).hexdigest()} *{name}\n" for name, content in members).encode()


def tar_of(*members, sums=None, sums_name="SHA256SUMS", pax_headers=None):
    stream = io.BytesIO()
    with tarfile.open(mode="w|", fileobj=stream, format=tarfile.PAX_FORMAT, pax_headers=pax_headers) as archive:
        for name, content in (*members, (sums_name, sums_of(members) if sums is None else sums)):
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = len(content), 0o600, 1700000000.25
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def put_wal(place, monkeypatch, stream, *options, server=SERVER, name="main"):
    conf = write_configuration(place, server, globals_text=f"log_file = {place}/barman.log")
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
    members = [("./" + WAL, CONTENT), (HISTORY_NAME, HISTORY.encode())]
    sums = sums_of(members, "md5")
    assert put_wal(place, monkeypatch, tar_of(*members, sums=sums, sums_name="./MD5SUMS")) == 0
    assert incoming(place) == {WAL: CONTENT, HISTORY_NAME: HISTORY.encode()}


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
        assert put_wal(place, monkeypatch, tar_of((WAL, OTHER))) == 1
        assert "different content" in capsys.readouterr().err
    assert incoming(place) == {WAL: CONTENT}
    assert list(errors(place).values()) == [OTHER]
    assert put_wal(place, monkeypatch, tar_of((WAL, THIRD))) == 1
    assert sorted(errors(place).values()) == sorted([THIRD, OTHER])
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
        (tar_of(("/etc/" + WAL, CONTENT)), "not the name of a WAL file"),
        (tar_of((WAL, CONTENT), (WAL, CONTENT)), "twice"),
        (tar_of((WAL, CONTENT), ("README", b"x")), "not the name of a WAL file"),
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
        "absolute path",
        "twice",
        "extra member",
    ],
)
def test_a_stream_that_is_not_right_is_refused_and_leaves_nothing(place, monkeypatch, capsys, stream, words):
    assert put_wal(place, monkeypatch, stream) == 1
    assert words in capsys.readouterr().err
    assert incoming(place) == {}


LABEL_NAME = f"{WAL}.00000028.backup"


@pytest.mark.parametrize(
    ("name", "content", "kind", "words"),
    [
        pytest.param(WAL, CONTENT[: MIB // 2], "damaged", "expected 1048576", id="truncated"),
        pytest.param(WAL, CONTENT[:30], "damaged", "cut short", id="shorter than a header"),
        pytest.param(WAL, b"", "damaged", "empty", id="empty"),
        pytest.param(WAL, bytes(MIB), "damaged", "no WAL", id="zeroed"),
        pytest.param(WAL, CONTENT + b"x", "damaged", "expected 1048576", id="too long"),
        pytest.param(WAL, segment(WAL, claimed_size=2 * MIB), "damaged", "does not match", id="wrong segment size"),
        pytest.param(WAL, bytes([CONTENT[0] ^ 0x80]) + CONTENT[1:], "damaged", "no WAL", id="bit flipped in the magic"),
        pytest.param(
            WAL, CONTENT[:9] + bytes([CONTENT[9] ^ 1]) + CONTENT[10:], "damaged", "starts at", id="in the address"
        ),
        pytest.param(WAL, gzip.compress(CONTENT)[:-50], "damaged", "too early", id="compressed and truncated"),
        pytest.param(WAL, gzip.compress(CONTENT[:-1]), "damaged", "1048575 bytes", id="compressed when truncated"),
        pytest.param(WAL, segment(name_of(4)), "damaged", "does not match the name", id="wrong name"),
        pytest.param(WAL, segment(name_of(3, timeline=2)), "damaged", "written on timeline 2", id="wrong timeline"),
        pytest.param(WAL, segment(WAL, system_id=OTHER_SYSTEM_ID), "foreign", "another cluster", id="wrong system id"),
        pytest.param(f"{WAL}.partial", bytes(MIB), "damaged", "no WAL", id="zeroed partial segment"),
        pytest.param(HISTORY_NAME, b"", "damaged", "empty", id="empty history"),
        pytest.param(HISTORY_NAME, b"2\t0/300000\tx\n", "damaged", "not in sequence", id="history of itself"),
        pytest.param(HISTORY_NAME, b"what\n", "damaged", "no timeline", id="no history"),
        pytest.param(LABEL_NAME, b"what\n", "damaged", "START WAL LOCATION", id="no label"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused_and_kept_aside(
    place, monkeypatch, capsys, name, content, kind, words
):
    know_cluster(place)
    for _ in range(2):
        assert put_wal(place, monkeypatch, tar_of((name, content))) == 1
        message = capsys.readouterr().err
        assert words in message
        assert f"WAL file {name} of server 'main' is not accepted" in message
    assert incoming(place) == {}
    ((kept, stored),) = errors(place).items()
    assert stored == content
    assert kept.startswith(f"{name}.")
    assert kept.endswith(f"Z.{kind}")
    assert words in (place / "barman.log").read_text()


def know_cluster(place):
    (place / "home" / "main").mkdir(parents=True)
    (place / "home" / "main" / "identity.json").write_text(f'{{"systemid": "{SYSTEM_ID}", "version": "15"}}')


def test_a_refused_file_keeps_no_other_out_of_the_archive(place, monkeypatch, capsys):
    good = name_of(4)
    members = [(WAL, bytes(MIB)), (good, segment(good)), (LABEL_NAME, LABEL.encode())]
    assert put_wal(place, monkeypatch, tar_of(*members)) == 1
    assert incoming(place) == dict(members[1:])
    assert WAL in capsys.readouterr().err


def test_without_a_known_cluster_the_newest_archived_segment_tells_it(place, monkeypatch, capsys):
    store_in_archive(place, name_of(2), gzip.compress(segment(name_of(2))))
    assert put_wal(place, monkeypatch, tar_of((WAL, segment(WAL, system_id=OTHER_SYSTEM_ID)))) == 1
    assert "another cluster" in capsys.readouterr().err
    assert put_wal(place, monkeypatch, tar_of((WAL, CONTENT))) == 0


@pytest.mark.parametrize(
    "newest",
    [b"\x84\x8c\x03" + os.urandom(MIB), bytes(MIB), os.urandom(MIB), b"\x10\xd1\xff\xff" + b"\xff" * MIB],
    ids=["encrypted", "zeroed", "overwritten", "damaged header"],
)
def test_a_newest_archived_segment_that_tells_nothing_keeps_nobody_out(place, monkeypatch, newest):
    store_in_archive(place, name_of(2), newest)
    assert put_wal(place, monkeypatch, tar_of((WAL, CONTENT))) == 0


def store_in_archive(place, name, content):
    directory = place / "home" / "main" / "wals" / ("" if name.endswith(".history") else name[:16])
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_bytes(content)


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_what_the_archive_has_already_is_accepted_and_not_stored_again(place, monkeypatch, compress):
    store_in_archive(place, WAL, compress(CONTENT))
    assert put_wal(place, monkeypatch, tar_of((WAL, CONTENT))) == 0
    assert incoming(place) == {}


def test_what_the_archive_has_with_another_content_is_not_acknowledged(place, monkeypatch, capsys):
    store_in_archive(place, WAL, gzip.compress(CONTENT))
    store_in_archive(place, HISTORY_NAME, HISTORY.encode())
    lie = HISTORY.encode().replace(b"300000", b"400000")
    assert put_wal(place, monkeypatch, tar_of((WAL, OTHER), (HISTORY_NAME, lie))) == 1
    assert capsys.readouterr().err.count("different content") == 2
    assert incoming(place) == {}
    assert sorted(errors(place).values()) == sorted([OTHER, lie])


def test_what_cannot_be_compared_with_the_archive_is_left_to_archiving(place, monkeypatch):
    store_in_archive(place, WAL, gzip.compress(CONTENT)[:-20])
    assert put_wal(place, monkeypatch, tar_of((WAL, CONTENT))) == 0
    assert incoming(place) == {WAL: CONTENT}


def test_a_file_in_the_incoming_directory_that_cannot_be_read_is_never_replaced(place, monkeypatch):
    (place / "home" / "main" / "incoming").mkdir(parents=True)
    cut = gzip.compress(CONTENT)[:-20]
    (place / "home" / "main" / "incoming" / WAL).write_bytes(cut)
    assert put_wal(place, monkeypatch, tar_of((WAL, CONTENT))) == 1
    assert incoming(place) == {WAL: cut}


def test_a_sender_that_asks_is_told_which_files_are_stored(place, monkeypatch, capsys):
    members = [(WAL, CONTENT), (name_of(4), bytes(MIB)), (HISTORY_NAME, HISTORY.encode())]
    assert put_wal(place, monkeypatch, tar_of(*members, pax_headers={put.REPORT: "1"})) == 1
    assert capsys.readouterr().out == f"stored {WAL}\nstored {HISTORY_NAME}\n"


def test_the_reason_is_logged_in_the_form_of_the_other_commands(place, monkeypatch):
    assert put_wal(place, monkeypatch, b"garbage" * 200) == 1
    pattern = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \[\d+\] barman\.\S+ ERROR: the stream is not .*\n"
    assert re.fullmatch(pattern, (place / "barman.log").read_text())


def test_a_directory_or_link_in_the_stream_is_refused(place, monkeypatch, capsys):
    stream = io.BytesIO()
    with tarfile.open(mode="w|", fileobj=stream) as archive:
        info = tarfile.TarInfo(WAL)
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    assert put_wal(place, monkeypatch, stream.getvalue()) == 1
    assert "not a regular file" in capsys.readouterr().err


def test_one_bad_file_of_several_keeps_all_out(place, monkeypatch):
    members = [(WAL, CONTENT), (HISTORY_NAME, HISTORY.encode())]
    wrong = sums_of(members[:1]) + b"0" * 64 + b" *00000002.history\n"
    assert put_wal(place, monkeypatch, tar_of(*members, sums=wrong)) == 1
    assert incoming(place) == {}


def test_a_line_that_is_no_sum_is_a_warning(place, monkeypatch, capsys):
    assert put_wal(place, monkeypatch, tar_of((WAL, CONTENT), sums=b"what is this\n" + sums_of([(WAL, CONTENT)]))) == 0
    assert "WARNING: SHA256SUMS: not a checksum" in capsys.readouterr().err


def test_what_a_killed_transfer_left_is_removed_and_a_living_one_is_left_alone(place, monkeypatch):
    directory = place / "home" / "main" / "incoming"
    directory.mkdir(parents=True)
    stale, file = files.open_temporary(directory / WAL)
    file.close()
    living, file = files.open_temporary(directory / WAL)
    with file:
        assert put_wal(place, monkeypatch, tar_of((WAL, CONTENT))) == 0
        assert not os.path.exists(stale)
        assert os.path.exists(living)


def test_a_file_system_without_hard_links_will_do(place, monkeypatch):
    def refuse(source, target):
        raise PermissionError(1, "Operation not permitted", target)

    monkeypatch.setattr(os, "link", refuse)
    assert put_wal(place, monkeypatch, tar_of((WAL, CONTENT))) == 0
    assert put_wal(place, monkeypatch, tar_of((WAL, CONTENT))) == 0
    assert put_wal(place, monkeypatch, tar_of((WAL, OTHER))) == 1
    assert incoming(place) == {WAL: CONTENT}


def test_a_full_disk_is_an_error_that_names_the_file_and_leaves_nothing(place, monkeypatch, capsys):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert put_wal(place, monkeypatch, tar_of((WAL, CONTENT))) == 1
    assert "No space left on device: " in capsys.readouterr().err
    assert incoming(place) == {}


@pytest.mark.parametrize(
    ("server", "name", "words"),
    [
        (SERVER, "nosuch", "nknown server 'nosuch'"),
        (SERVER + "active = off\n", "main", "is inactive"),
        (SERVER + "primary_ssh_command = ssh other\n", "main", "server 'main' is passive here"),
        (SERVER + "slot_name =\nstreaming_archiver = on\narchiver = off\n", "main", "requires slot_name"),
        (SERVER + f"[b]\n{SERVER[7:]}incoming_wals_directory = %(x)s\nx = home\n", "nosuch", "nknown server"),
    ],
)
def test_a_server_that_cannot_take_wal_refuses_it(place, monkeypatch, capsys, server, name, words):
    assert put_wal(place, monkeypatch, tar_of((WAL, CONTENT)), server=server, name=name) == 1
    assert words in capsys.readouterr().err
    assert incoming(place) == {}


def test_servers_that_share_a_directory_accept_nothing(place, monkeypatch, capsys):
    shared = f"incoming_wals_directory = {place}/shared\n"
    server = f"{SERVER}{shared}[b]\n{SERVER[7:]}{shared}"
    assert put_wal(place, monkeypatch, tar_of((WAL, CONTENT)), server=server) == 1
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


def test_a_sender_that_falls_silent_is_given_up_and_nothing_is_kept(place, monkeypatch, capsys):
    reader, writer = os.pipe()
    monkeypatch.setattr(put, "PATIENCE_S", 1)
    os.write(writer, tar_of((WAL, CONTENT))[:60_000])
    conf = write_configuration(place, SERVER)
    with os.fdopen(reader, "rb") as buffer:
        monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": buffer})())
        assert put.main(["-c", str(conf), "put-wal", "main"]) == 1
    assert "nothing has come for 1 seconds" in capsys.readouterr().err
    assert incoming(place) == {}
    assert os.listdir(place / "home" / "main" / "incoming") == []
    os.close(writer)
