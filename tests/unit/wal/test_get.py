"""get-wal: where a file is found, in which form it is sent, and which exit code PostgreSQL sees."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import re
import sys
import tarfile

import pytest
import zstandard

from barman.wal import get
from barman.wal.hot_program import STOP_RECOVERY
from tests.support.settings import write_configuration

SIZE = 1 << 20
SERVER = "[main]\nconninfo = host=a\nbackup_method = postgres\narchiver = on\n"


def wal(number, timeline=1):
    return f"{timeline:08X}{0:08X}{number:08X}"


class Archive:
    def __init__(self, root):
        self.root = root
        self.conf = write_configuration(root, SERVER)
        self.main = root / "home" / "main"
        (self.main / "wals").mkdir(parents=True)

    def put(self, place, name, content):
        directory = self.main / place
        if place == "wals" and not name.endswith(".history"):
            directory /= name[:16]
        directory.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)


@pytest.fixture
def archive(tmp_path):
    return Archive(tmp_path)


@pytest.fixture
def get_wal(archive, monkeypatch, capsys):
    """Run get-wal; returns the exit code, the bytes of standard output, and the text of standard error."""

    def run(*words, globals_=()):
        class Stdout(io.TextIOWrapper):
            pass

        raw = io.BytesIO()
        stdout = Stdout(raw, write_through=True)
        monkeypatch.setattr(sys, "stdout", stdout)
        status = get.main(["-c", str(archive.conf), *globals_, "get-wal", *words])
        stdout.flush()
        return status, raw.getvalue(), capsys.readouterr().err

    return run


@pytest.mark.parametrize("place", ["wals", "incoming", "streaming"])
def test_a_file_is_found_wherever_it_is(archive, get_wal, place):
    content = os.urandom(SIZE)
    archive.put(place, wal(1), content)
    assert get_wal("main", wal(1)) == (0, content, "")


def test_the_archive_comes_before_the_incoming_directory(archive, get_wal):
    archive.put("incoming", wal(1), b"i" * SIZE)
    archive.put("wals", wal(1), b"a" * SIZE)
    assert get_wal("main", wal(1))[1] == b"a" * SIZE


@pytest.mark.parametrize(
    "compress",
    [gzip.compress, bz2.compress, lzma.compress, zstandard.ZstdCompressor().compress],
    ids=["gzip", "bzip2", "xz", "zstd"],
)
def test_a_compressed_file_is_sent_plain_unless_told_otherwise(archive, get_wal, compress):
    content = os.urandom(SIZE)
    stored = compress(content)
    archive.put("wals", wal(1), stored)
    assert get_wal("main", wal(1)) == (0, content, "")
    assert get_wal("--keep-compression", "main", wal(1)) == (0, stored, "")


def test_the_output_is_compressed_on_request_and_a_file_of_that_form_is_sent_as_it_is(archive, get_wal):
    content = os.urandom(SIZE)
    archive.put("wals", wal(1), content)
    assert gzip.decompress(get_wal("-z", "main", wal(1))[1]) == content
    assert bz2.decompress(get_wal("-z", "-j", "main", wal(1))[1]) == content
    stored = gzip.compress(content, 1)
    archive.put("wals", wal(2), stored)
    assert get_wal("-z", "main", wal(2))[1] == stored
    assert bz2.decompress(get_wal("-j", "main", wal(2))[1]) == content


def test_compressing_and_keeping_the_compression_exclude_each_other(archive, get_wal):
    archive.put("wals", wal(1), bytes(SIZE))
    assert get_wal("-z", "--keep-compression", "main", wal(1))[0] == 1


def test_history_and_label_files_of_any_size_are_sent(archive, get_wal):
    archive.put("wals", "00000002.history", b"1\t0/3000000\tx\n")
    archive.put("incoming", f"{wal(1)}.00000028.backup", b"START")
    assert get_wal("main", "00000002.history")[:2] == (0, b"1\t0/3000000\tx\n")
    assert get_wal("main", f"{wal(1)}.00000028.backup")[:2] == (0, b"START")


def test_partial_files_are_sent_only_on_request_and_never_empty(archive, get_wal):
    archive.put("streaming", f"{wal(1)}.partial", b"p" * SIZE)
    archive.put("streaming", f"{wal(2)}.partial", b"")
    archive.put("wals", f"{wal(2)}.partial", b"q" * SIZE)
    assert get_wal("main", wal(1))[0] == 1
    assert get_wal("-P", "main", wal(1))[:2] == (0, b"p" * SIZE)
    assert get_wal("-P", "main", wal(2))[:2] == (0, b"q" * SIZE)


def test_a_compressed_partial_file_is_decompressed_unless_told_otherwise(archive, get_wal):
    archive.put("wals", f"{wal(1)}.partial", gzip.compress(b"a" * SIZE))
    assert get_wal("-P", "main", wal(1))[:2] == (0, b"a" * SIZE)
    status, kept, _ = get_wal("-P", "--keep-compression", "main", wal(1))
    assert (status, gzip.decompress(kept)) == (0, b"a" * SIZE)


def test_a_complete_file_comes_before_a_partial_one(archive, get_wal):
    archive.put("streaming", f"{wal(1)}.partial", b"p" * SIZE)
    archive.put("streaming", wal(1), b"c" * SIZE)
    assert get_wal("-P", "main", wal(1))[1] == b"c" * SIZE


@pytest.mark.parametrize("place", ["incoming", "streaming"])
def test_a_segment_that_is_still_being_written_is_not_there_yet(archive, get_wal, place):
    archive.put(place, wal(1), b"x" * 1000)
    status, out, err = get_wal("main", wal(1))
    assert (status, out) == (1, b"")
    assert "not found" in err


def test_a_missing_file_is_exit_code_1_and_no_output(get_wal):
    assert get_wal("main", wal(1)) == (1, b"", f"ERROR: WAL file '{wal(1)}' not found in server 'main'\n")


@pytest.mark.parametrize("name", ["not-a-wal", "../../../etc/passwd", wal(1) + ".gz", ""])
def test_a_malformed_name_is_exit_code_3(get_wal, name):
    assert get_wal("main", name)[:2] == (3, b"")


def test_names_in_lower_case_are_understood(archive, get_wal):
    archive.put("wals", wal(0xAB), bytes(SIZE))
    assert get_wal("main", wal(0xAB).lower())[0] == 0


@pytest.mark.parametrize(
    "content",
    [b"", b"x" * 1000, gzip.compress(bytes(SIZE))[:-30], gzip.compress(b"short")],
    ids=["empty", "short", "cut", "small"],
)
def test_a_damaged_file_of_the_archive_stops_recovery_instead_of_ending_it(archive, get_wal, content):
    archive.put("wals", wal(1), content)
    status, _, err = get_wal("main", wal(1))
    assert status == STOP_RECOVERY > 125
    assert wal(1) in err
    assert "damaged" in err


def test_an_encrypted_file_is_not_sent_as_if_it_were_wal(archive, get_wal):
    archive.put("wals", wal(1), bytes([0x85, 1, 12, 3]) + os.urandom(SIZE - 4))
    status, out, err = get_wal("main", wal(1))
    assert (status, out) == (STOP_RECOVERY, b"")
    assert "encrypted" in err


def test_an_output_directory_gets_the_whole_file_or_nothing(archive, get_wal, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    archive.put("wals", wal(1), gzip.compress(bytes(SIZE)))
    archive.put("wals", wal(2), gzip.compress(bytes(SIZE))[:-30])
    status, printed, _ = get_wal("-o", str(out), "main", wal(1))
    assert (status, printed) == (0, f"Sending WAL '{wal(1)}' into '{out}/{wal(1)}' file\n".encode())
    assert get_wal("-o", str(out), "main", wal(2))[0] == STOP_RECOVERY
    assert get_wal("-o", str(out), "main", wal(3))[0] == 1
    assert [path.name for path in out.iterdir()] == [wal(1)]
    assert (out / wal(1)).read_bytes() == bytes(SIZE)


def test_an_output_directory_that_is_not_there_is_exit_code_3(archive, get_wal):
    archive.put("wals", wal(1), bytes(SIZE))
    assert get_wal("-o", "/nosuch", "main", wal(1))[0] == 3


def test_peek_lists_names_without_a_gap_across_places_and_logs(archive, get_wal):
    size = 1 << 30  # four segments to a log
    for place, name in (("wals", wal(2)), ("incoming", wal(3)), ("streaming", f"{1:08X}{1:08X}{0:08X}")):
        archive.put(place, name, b"")
        path = next(archive.main.rglob(name))
        os.truncate(path, size)
    archive.put("wals", f"{1:08X}{1:08X}{2:08X}", b"")
    status, out, _ = get_wal("-p", "10", "main", wal(2))
    assert (status, out.decode().split()) == (0, [wal(2), wal(3), f"{1:08X}{1:08X}{0:08X}"])
    assert get_wal("--peek", "2", "main", wal(2))[1].decode().split() == [wal(2), wal(3)]


def test_peek_finds_the_segment_size_of_compressed_files(archive, get_wal):
    import struct

    header = struct.pack("<HHIQI4xQII", 0xD110, 2, 1, 0xFF << 20, 0, 1, 1 << 20, 8192)
    last, following = f"{1:08X}{0:08X}{0xFFF:08X}", f"{1:08X}{1:08X}{0:08X}"
    archive.put("wals", last, gzip.compress(header.ljust(1 << 20, b"\0")))
    archive.put("wals", following, b"any")
    assert get_wal("-p", "5", "main", last)[1].decode().split() == [last, following]


def test_peek_of_nothing_and_of_other_files(archive, get_wal):
    assert get_wal("-p", "3", "main", wal(1)) == (0, b"", "")
    archive.put("wals", "00000002.history", b"x")
    assert get_wal("-p", "3", "main", "00000002.history")[1] == b"00000002.history\n"


def test_the_test_option_looks_at_no_name(get_wal):
    status, out, _ = get_wal("-t", "main", "x")
    assert (status, out) == (0, b"Ready to retrieve WAL files from the server main\n")


def test_json_is_never_appended_to_the_bytes_of_a_file(archive, get_wal):
    archive.put("wals", wal(1), b"a" * SIZE)
    assert get_wal("main", wal(1), globals_=("-f", "json"))[1] == b"a" * SIZE
    status, out, err = get_wal("main", wal(2), globals_=("-f", "json"))
    assert (status, err) == (1, "")
    assert b'{"_ERROR": ["WAL file' in out
    assert get_wal("-p", "1", "main", wal(1), globals_=("-f", "json"))[1] == f'{{"_INFO": ["{wal(1)}"]}}'.encode()


def test_an_inactive_server_gives_and_a_disabled_one_does_not(archive, get_wal, tmp_path):
    archive.put("wals", wal(1), bytes(SIZE))
    write_configuration(tmp_path, SERVER + "active = off\n")
    assert get_wal("main", wal(1))[0] == 0
    write_configuration(tmp_path, SERVER + "network_compression = on\n")
    status, _, err = get_wal("main", wal(1))
    assert status == 1
    assert "server 'main' is disabled: " in err


@pytest.mark.parametrize(
    ("server", "name", "hint"),
    [
        (SERVER.replace("host=a", "'oops") + "backup_method = nonsense\n", "main", "See 'barman check main'."),
        (SERVER, "Main", "Did you mean 'main'?"),
        (SERVER + SERVER.replace("main", "two") + "backup_directory = {home}/main\n", "main", "Give each server"),
    ],
    ids=["disabled", "unknown", "colliding"],
)
def test_what_is_wrong_is_told_with_what_to_do_about_it(archive, get_wal, server, name, hint):
    write_configuration(archive.root, server.format(home=archive.root / "home"))
    status, _, said = get_wal(name, wal(1))
    assert status == 1
    *errors, last = said.splitlines()
    assert [line[:7] for line in errors] == ["ERROR: "] * len(errors)
    assert last.startswith(f"HINT: {hint}")
    document = json.loads(get_wal(name, wal(1), globals_=("-f", "json"))[1])
    assert f" (HINT: {hint}" in document["_ERROR"][-1]


def test_an_archive_in_the_cloud_is_read_by_another_command(get_wal, tmp_path):
    write_configuration(tmp_path, SERVER + "wals_directory = s3://bucket/x\n")
    assert get_wal("main", wal(1))[0] == 1


def test_files_of_a_custom_filter_are_decoded_with_it(archive, get_wal, tmp_path):
    filters = "custom_compression_filter = x\ncustom_decompression_filter = tail -c +4\n"
    magic = "custom_compression_magic = 0x787878\n"
    write_configuration(tmp_path, f"{SERVER}compression = custom\n{filters}{magic}")
    archive.put("wals", wal(1), b"xxx" + b"c" * SIZE)
    assert get_wal("main", wal(1))[:2] == (0, b"c" * SIZE)


def test_a_full_disk_behind_standard_output_stops_recovery(archive, monkeypatch, capsys):
    archive.put("wals", wal(1), bytes(SIZE))
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert get.main(["-c", str(archive.conf), "get-wal", "main", wal(1)]) == STOP_RECOVERY
        monkeypatch.undo()
    assert "No space left" in capsys.readouterr().err


def members(stream):
    with tarfile.open(fileobj=io.BytesIO(stream)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def test_a_stream_holds_the_files_that_follow_each_other_as_they_are_stored(archive, get_wal):
    contents = {wal(1): os.urandom(SIZE), wal(2): gzip.compress(bytes(SIZE)), wal(3): os.urandom(SIZE)}
    for name, content in contents.items():
        archive.put("wals", name, content)
    archive.put("wals", wal(5), bytes(SIZE))
    assert members(get_wal("--stream", "9", "main", wal(1))[1]) == contents
    assert list(members(get_wal("--stream", "2", "main", wal(2))[1])) == [wal(2), wal(3)]


def test_a_stream_without_its_first_file_is_exit_code_1_and_no_output(archive, get_wal):
    archive.put("wals", wal(2), bytes(SIZE))
    assert get_wal("--stream", "9", "main", wal(1))[:2] == (1, b"")


def test_a_stream_ends_before_a_segment_that_is_still_arriving(archive, get_wal):
    archive.put("wals", wal(1), bytes(SIZE))
    archive.put("incoming", wal(2), bytes(1000))
    status, out, _ = get_wal("--stream", "9", "main", wal(1))
    assert (status, list(members(out))) == (0, [wal(1)])


def test_a_damaged_file_breaks_a_stream_off_behind_those_before_it(archive, get_wal):
    archive.put("wals", wal(1), bytes(SIZE))
    archive.put("wals", wal(2), bytes(1000))
    status, out, err = get_wal("--stream", "9", "main", wal(1))
    assert status == STOP_RECOVERY
    assert len(out) == SIZE + 512
    assert "1000 bytes are no segment" in err


def test_files_of_a_custom_filter_are_decoded_before_they_are_streamed(archive, get_wal, tmp_path):
    filters = "custom_compression_filter = x\ncustom_decompression_filter = tail -c +4\n"
    magic = "custom_compression_magic = 0x787878\n"
    write_configuration(tmp_path, f"{SERVER}compression = custom\n{filters}{magic}")
    content = os.urandom(SIZE)
    archive.put("wals", wal(1), b"xxx" + content)
    assert members(get_wal("--stream", "9", "main", wal(1))[1]) == {wal(1): content}


@pytest.mark.parametrize("globals_", [[], ["-f", "json"]], ids=["console", "json"])
def test_an_answer_that_cannot_be_written_is_one_line(archive, monkeypatch, capsys, globals_):
    archive.put("wals", wal(1), b"a" * SIZE)
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert get.main(["-c", str(archive.conf), *globals_, "get-wal", "--peek", "2", "main", wal(1)]) == 1
    assert capsys.readouterr().err == "ERROR: cannot write to standard output: No space left on device\n"


@pytest.mark.parametrize(
    ("words", "reason"),
    [(("get-wal", "main"), "required: WAL_NAME"), (("-q", "get-wal", "main", "x", "y"), "unrecognized arguments: y")],
)
def test_wrong_arguments_are_told_as_by_other_commands(capsys, words, reason):
    with pytest.raises(SystemExit) as ended:
        get.main(words)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("Usage: barman get-wal ")
    assert re.search(f"^ERROR: .*{reason}\nHINT: Try 'barman get-wal --help'.\n$", said, re.MULTILINE)


def test_a_receiver_that_takes_nothing_is_given_up(archive, monkeypatch, capsys):
    archive.put("wals", wal(1), bytes(SIZE))
    reader, writer = os.pipe()
    monkeypatch.setattr(get, "PATIENCE_S", 1)
    with os.fdopen(writer, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert get.main(["-c", str(archive.conf), "get-wal", "main", wal(1)]) == STOP_RECOVERY
    assert "nothing has moved for 1 seconds" in capsys.readouterr().err
    os.close(reader)


@pytest.mark.parametrize("options", [[], ["--peek", "2"], ["--stream", "2"]], ids=str)
@pytest.mark.parametrize("faulty", ["file", "directory"])
def test_a_file_that_cannot_be_opened_is_not_taken_for_a_missing_one(archive, get_wal, options, faulty):
    place = archive.main / "wals" / wal(1)[:16]
    archive.put("wals", wal(2), b"a" * SIZE)
    if faulty == "directory":
        (archive.main / "wals" / wal(2)[:16]).rename(place.with_name("elsewhere"))
        place = archive.main / "wals" / wal(1)[:16]
        place.symlink_to(place)
    else:
        (place / wal(1)).symlink_to(wal(1))
    status, out, said = get_wal(*options, "main", wal(1))
    assert (status, out) == (STOP_RECOVERY, b"")
    assert re.match(f"ERROR: cannot send WAL file {wal(1)}: .*: .*{wal(1)}\n$", said)


@pytest.mark.parametrize("options", [[], ["--test"], ["--stream", "2"]], ids=str)
def test_an_archive_that_is_not_mounted_is_not_taken_for_an_empty_one(archive, get_wal, options):
    (archive.main / "wals").rmdir()
    status, out, err = get_wal(*options, "main", wal(1))
    assert (status, out) == (1, b"")
    assert "ERROR: the WAL archive of server 'main' is not there" in err
    assert "HINT: Is its file system mounted?" in err


@pytest.mark.parametrize(
    "words", [("main", wal(2)), ("nosuch", wal(1)), ("main", wal(1))], ids=["unmounted", "unknown", "there"]
)
@pytest.mark.parametrize("signals", [(), ("recovery",), ("standby",), ("recovery", "standby")], ids="+".join)
def test_a_recovery_on_this_host_ends_only_when_the_archive_says_so(
    archive, get_wal, tmp_path, monkeypatch, words, signals
):
    data = tmp_path / "data"
    data.mkdir()
    for signal in signals:
        (data / f"{signal}.signal").touch()
    monkeypatch.chdir(data)
    if words == ("main", wal(1)):
        archive.put("wals", wal(1), b"a" * SIZE)
        assert get_wal(*words)[0] == 0
        status, _, said = get_wal("main", wal(2))
        assert (status, len(said.splitlines())) == (1, 1), "it has looked"
        return
    (archive.main / "wals").rmdir()
    status, _, said = get_wal(*words)
    assert status == (STOP_RECOVERY if signals == ("recovery",) else 1)
    assert ("Recovery stops instead of ending early" in said) == (signals == ("recovery",))
