"""archive-wal, from outside: what arrives, what is kept, what is said. No PostgreSQL is needed for it."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from barman.storage.compress.codecs import CODECS, open_reader
from tests.support.archiving import archiving_server, catalogue, deliver, errors, left, listed, put, stored
from tests.support.users import give
from tests.support.wal import HISTORY, LABEL, MIB, OTHER_SYSTEM_ID, SYSTEM_ID, name_of, segment

ONE, TWO, THREE, FOUR = (name_of(number) for number in (1, 2, 3, 4))


@pytest.fixture
def server(home):
    return archiving_server(home)


def test_streaming_goes_first_and_every_file_is_told(server):
    deliver(server.streaming, ONE, TWO, f"{THREE}.partial")
    deliver(server.incoming, THREE)
    result = server.run("archive-wal")
    assert result.stdout.splitlines() == [
        "Processing xlog segments from streaming for main (batch size: 2)",
        f"\t{ONE}",
        f"\t{TWO}",
        "Processing xlog segments from file archival for main",
        f"\t{THREE}",
    ]
    assert server.archived_wals() == listed(server) == [ONE, TWO, THREE]
    assert left(server.incoming) == []
    assert left(server.streaming) == [f"{THREE}.partial"]


def test_with_nothing_to_do_it_says_so(server):
    assert server.run("archive-wal").stdout.splitlines() == [
        "Processing xlog segments from streaming for main",
        "\tno file found",
        "Processing xlog segments from file archival for main",
        "\tno file found",
    ]


def test_programs_get_the_same_lines(server):
    deliver(server.incoming, ONE)
    assert json.loads(server.home.run("-f", "json", "archive-wal", "main").stdout)["_INFO"][-1] == f"\t{ONE}"


def test_content_mode_and_time_are_kept_and_the_line_tells_them(server):
    deliver(server.incoming, ONE)
    os.utime(server.incoming / ONE, ns=(1, 1_577_836_800_123_456_000))
    os.chmod(server.incoming / ONE, 0o640)
    server.run("archive-wal")
    status = stored(server, ONE).stat()
    assert stored(server, ONE).read_bytes() == segment(ONE)
    assert (status.st_mtime_ns, status.st_mode & 0o777) == (1_577_836_800_123_456_000, 0o640)
    assert catalogue(server) == [[ONE, str(MIB), "1577836800.123456", "None", "None"]]


@pytest.mark.parametrize("codec", [*CODECS, "custom"])
def test_every_compression_reads_back_and_is_listed(server, codec):
    if codec == "snappy":
        pytest.importorskip("cramjam")
    if codec == "pigz" and shutil.which("pigz") is None:
        pytest.skip("pigz is not installed")
    server.set(compression=codec, compression_level="low")
    if codec == "custom":
        server.set(custom_compression_filter="gzip -c", custom_decompression_filter="gzip -dc")
    label, history = f"{ONE}.00000028.backup", "00000002.history"
    deliver(server.incoming, ONE, TWO)
    put(server.incoming / label, LABEL.encode())
    put(server.incoming / history, HISTORY.encode())
    os.utime(server.incoming / TWO, ns=(1, 1_577_836_800_123_456_000))
    os.chmod(server.incoming / TWO, 0o600)
    server.run("archive-wal")
    name = {"pigz": "gzip", "pygzip": "gzip", "pybzip2": "bzip2"}.get(codec, codec)
    assert [line[3] for line in catalogue(server)] == [name] * 4
    for wal, content in ((TWO, segment(TWO)), (label, LABEL.encode()), (history, HISTORY.encode())):
        with stored(server, wal).open("rb") as file, open_reader(file, "gzip" if codec == "custom" else name) as reader:
            assert reader.read() == content
    status = stored(server, TWO).stat()
    assert (status.st_mtime_ns, status.st_mode & 0o777) == (1_577_836_800_123_456_000, 0o600)
    assert int(catalogue(server)[2][1]) == status.st_size < MIB


def test_what_comes_compressed_stays_as_it_is(server):
    server.set(compression="zstd")
    content = gzip.compress(segment(ONE), 1)
    put(server.incoming / ONE, content)
    server.run("archive-wal")
    assert stored(server, ONE).read_bytes() == content
    assert catalogue(server)[0][3] == "gzip"


def test_the_same_content_again_is_dropped_however_compressed(server):
    server.set(compression="zstd")
    deliver(server.streaming, ONE, f"{TWO}.partial")
    put(server.incoming / ONE, gzip.compress(segment(ONE), 1))
    server.run("archive-wal")
    assert listed(server) == [ONE]
    assert errors(server) == {}
    assert left(server.incoming) == []


def test_other_content_of_the_same_size_and_time_is_set_aside(server):
    deliver(server.incoming, ONE)
    server.run("archive-wal")
    put(server.incoming / ONE, segment(ONE, filling=1))
    shutil.copystat(stored(server, ONE), server.incoming / ONE)
    result = server.run("archive-wal")
    assert result.stdout.splitlines()[-2:] == [
        f"\t{ONE}",
        f"\tError: {ONE} is already present in server main. File moved to errors directory.",
    ]
    assert errors(server) == {ONE: "duplicate"}
    assert stored(server, ONE).read_bytes() == segment(ONE)
    assert listed(server) == [ONE]


def test_unknown_files_are_set_aside_and_told(server):
    put(server.incoming / "junk", b"")
    (server.incoming / "adir").mkdir()
    give(server.incoming / "adir")
    deliver(server.incoming, ONE)
    result = server.run("archive-wal")
    *_, told, first, second = result.stdout.splitlines()
    assert told.startswith("Some unknown objects have been found while processing xlog segments for main. Objects ")
    assert [first, second] == ["\tadir", "\tjunk"]
    assert errors(server) == {"junk": "unknown", "adir": "unknown"}
    assert listed(server) == [ONE]


DAMAGE = {
    "truncated": (lambda: segment(TWO)[:-8192], "damaged"),
    "empty": (lambda: b"", "damaged"),
    "zeros": (lambda: bytes(MIB), "damaged"),
    "magic flipped": (lambda: b"\0" + segment(TWO)[1:], "damaged"),
    "flags flipped": (lambda: segment(TWO)[:2] + b"\xff" + segment(TWO)[3:], "damaged"),
    "address flipped": (lambda: segment(TWO)[:10] + b"\xff" + segment(TWO)[11:], "damaged"),
    "content of another segment": (lambda: segment(FOUR), "damaged"),
    "another cluster": (lambda: segment(TWO, system_id=OTHER_SYSTEM_ID), "foreign"),
    "compressed and truncated": (lambda: gzip.compress(segment(TWO), 1)[:-100], "damaged"),
    "compressed after truncation": (lambda: gzip.compress(segment(TWO)[:-1], 1), "damaged"),
}


@pytest.mark.parametrize("source", ["incoming", "streaming"])
@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_wal_is_loud_and_does_not_keep_back_the_rest(server, source, kind):
    content, reason = DAMAGE[kind]
    directory = getattr(server, source)
    deliver(directory, ONE, THREE)
    put(directory / TWO, content())
    result = server.run("archive-wal", check=False)
    assert result.status == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"ERROR: WAL file {TWO} of server 'main' is not archived: ")
    assert "moved to " in line
    assert errors(server) == {TWO: reason}
    assert server.archived_wals() == listed(server) == [ONE, THREE]
    deliver(directory, TWO)
    server.run("archive-wal")
    assert server.archived_wals() == sorted(listed(server)) == [ONE, TWO, THREE]
    assert stored(server, TWO).read_bytes() == segment(TWO)


@pytest.mark.parametrize(("name", "content"), [(f"{ONE}.00000028.backup", b"x"), ("00000002.history", b"no history")])
def test_damaged_labels_and_histories_are_found(server, name, content):
    put(server.incoming / name, content)
    assert server.run("archive-wal", check=False).status == 1
    assert errors(server) == {name: "damaged"}


def test_the_identity_of_the_backups_decides_which_cluster_is_right(server):
    put(server.directory / "identity.json", json.dumps({"systemid": OTHER_SYSTEM_ID, "version": "15"}).encode())
    deliver(server.incoming, ONE)
    deliver(server.incoming, TWO, system_id=OTHER_SYSTEM_ID)
    assert server.run("archive-wal", check=False).status == 1
    assert errors(server) == {ONE: "foreign"}
    assert listed(server) == [TWO]


def test_before_the_first_backup_the_archive_decides(server):
    deliver(server.incoming, TWO)
    server.run("archive-wal")
    deliver(server.incoming, ONE, system_id=OTHER_SYSTEM_ID)
    deliver(server.incoming, THREE, system_id=SYSTEM_ID)
    assert server.run("archive-wal", check=False).status == 1
    assert errors(server) == {ONE: "foreign"}
    assert listed(server) == [TWO, THREE]


def test_batches_are_limited(server):
    server.set(archiver_batch_size=2)
    deliver(server.incoming, THREE, ONE, TWO)
    assert "from file archival for main (batch size: 2)" in server.run("archive-wal").stdout
    assert listed(server) == [ONE, TWO]
    server.run("archive-wal")
    assert listed(server) == [ONE, TWO, THREE]


def test_a_source_that_is_off_is_not_looked_at(server):
    server.set(streaming_archiver="off")
    deliver(server.streaming, ONE)
    server.run("archive-wal")
    assert listed(server) == []
    assert left(server.streaming) == [ONE]


def test_the_last_streamed_segment_is_archived_at_once_and_stays_until_it_is_not_needed(server):
    deliver(server.streaming, ONE, TWO)
    assert f"\t{TWO}" in server.run("archive-wal").stdout
    assert listed(server) == [ONE, TWO]
    assert left(server.streaming) == [TWO], "pg_receivewal goes on from it"
    assert f"\t{TWO}" not in server.run("archive-wal").stdout
    assert listed(server) == [ONE, TWO]
    deliver(server.streaming, f"{THREE}.partial")
    server.run("archive-wal")
    assert left(server.streaming) == [f"{THREE}.partial"]
    assert listed(server) == [ONE, TWO]
    assert errors(server) == {}


def test_lower_partial_segments_are_archived_and_blank_ones_dropped(server):
    deliver(server.streaming, f"{ONE}.partial", THREE)
    put(server.streaming / f"{TWO}.partial", bytes(MIB))
    deliver(server.streaming, f"{FOUR}.partial")
    server.run("archive-wal")
    assert sorted(listed(server)) == [f"{ONE}.partial", THREE]
    assert left(server.streaming) == [f"{FOUR}.partial"]
    assert errors(server) == {}


def test_a_file_that_is_still_being_written_is_left_for_later(server):
    path = put(server.incoming / ONE, segment(ONE)[:1000])
    with path.open("ab"):
        result = server.run("archive-wal")
        assert result.stderr == ""
        assert errors(server) == {}
        assert left(server.incoming) == [ONE]
    put(path, segment(ONE))
    server.run("archive-wal")
    assert listed(server) == [ONE]


def test_lower_case_names_are_archived_in_upper_case(server):
    name = name_of(0xAB)
    put(server.incoming / name.lower(), segment(name))
    put(server.incoming / name, segment(name))
    server.run("archive-wal")
    assert listed(server) == server.archived_wals() == [name]
    assert left(server.incoming) == []


def test_archived_wal_without_a_line_gets_its_line(server):
    deliver(server.incoming, ONE)
    server.run("archive-wal")
    deliver(server.incoming, TWO)
    stored(server, TWO).write_bytes(segment(TWO))
    give(stored(server, TWO))
    server.run("archive-wal")
    assert listed(server) == [ONE, TWO]
    assert left(server.incoming) == []


def test_a_source_on_another_file_system_is_copied(server):
    elsewhere = "/dev/shm" if os.stat("/dev/shm").st_dev != os.stat(server.directory).st_dev else "/var/tmp"
    if os.stat(elsewhere).st_dev == os.stat(server.directory).st_dev:
        pytest.skip("there is only one file system")
    incoming = subprocess.run(
        ["mktemp", "-d", "-p", elsewhere], check=True, capture_output=True, text=True
    ).stdout.strip()
    try:
        give(Path(incoming))
        server.set(incoming_wals_directory=incoming)
        put(Path(incoming) / ONE, segment(ONE))
        server.run("archive-wal")
        assert stored(server, ONE).read_bytes() == segment(ONE)
        assert left(Path(incoming)) == []
    finally:
        shutil.rmtree(incoming)


def test_while_another_archives_it_leaves_in_peace(server):
    lock = server.home.path / ".main-archive-wal.lock"
    put(lock, b"")
    deliver(server.incoming, ONE)
    with subprocess.Popen(["flock", lock, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        holder.stdin.write(b"x\n")
        holder.stdin.flush()
        assert holder.stdout.read(1) == b"x"
        result = server.run("archive-wal")
        holder.stdin.close()
    assert "already archiving" in result.stdout
    assert left(server.incoming) == [ONE]


def hook(server, name: str, status: int = 0) -> Path:
    """Configure a hook that appends its view of a file to a log, and return the log."""
    log = server.home.directory / name
    line = "$BARMAN_SEGMENT $BARMAN_FILE $BARMAN_SIZE $BARMAN_COMPRESSION,$BARMAN_ERROR"
    script = server.home.directory / f"{name}.sh"
    script.write_text(f'#!/bin/sh\necho "{line}" >> {log}\nexit {status}\n')
    script.chmod(0o755)
    server.set(**{name: str(script)})
    return log


def test_hooks_see_each_file_before_and_after(server):
    server.set(compression="gzip", compression_level=1)
    before, after = hook(server, "pre_archive_script"), hook(server, "post_archive_retry_script")
    deliver(server.incoming, ONE, TWO)
    server.run("archive-wal")
    sizes = [stored(server, name).stat().st_size for name in (ONE, TWO)]
    assert before.read_text().splitlines() == [
        f"{ONE} {server.incoming / ONE} {MIB} ,",
        f"{TWO} {server.incoming / TWO} {MIB} ,",
    ]
    assert after.read_text().splitlines() == [
        f"{ONE} {stored(server, ONE)} {sizes[0]} gzip,",
        f"{TWO} {stored(server, TWO)} {sizes[1]} gzip,",
    ]


def test_a_hook_can_stop_the_run(server):
    log = hook(server, "pre_archive_retry_script", 63)
    deliver(server.incoming, ONE, TWO)
    put(server.incoming / "junk", b"")
    result = server.run("archive-wal")
    assert result.stderr == ""
    assert len(log.read_text().splitlines()) == 1
    assert left(server.incoming) == [ONE, TWO, "junk"]
    assert listed(server) == []


def test_after_a_conflict_hooks_learn_of_the_error(server):
    deliver(server.incoming, ONE)
    server.run("archive-wal")
    log = hook(server, "post_archive_script")
    put(server.incoming / ONE, segment(ONE, filling=1))
    server.run("archive-wal")
    assert log.read_text().rpartition(",")[2].strip() != ""


@pytest.mark.parametrize("option", ["wals_directory", "incoming_wals_directory"])
def test_a_directory_that_cannot_be_used_is_one_line(server, option):
    deliver(server.incoming, ONE)
    blocked = put(server.home.directory / "blocked", b"")
    server.set(**{option: blocked / "sub"})
    result = server.run("archive-wal", check=False)
    assert result.status == 1
    assert "Traceback" not in result.text
    assert str(blocked) in result.stderr or ONE in result.stderr


def test_a_compressor_that_is_missing_ends_the_run(server):
    server.set(compression="custom", custom_compression_filter="no-such-filter", custom_decompression_filter="cat")
    deliver(server.incoming, ONE, TWO)
    result = server.run("archive-wal", check=False)
    assert result.status == 1
    assert "no-such-filter" in result.stderr
    assert left(server.incoming) == [ONE, TWO]
    assert server.archived_wals() == []


def test_the_original_goes_on_with_what_we_archived_and_the_other_way_round(server, reference):
    deliver(server.incoming, ONE, TWO)
    server.run("archive-wal")
    deliver(server.incoming, TWO, THREE)
    mine, server.home.programs = server.home.programs, reference
    try:
        server.run("archive-wal")
    finally:
        server.home.programs = mine
    deliver(server.incoming, THREE, FOUR)
    server.run("archive-wal")
    assert server.archived_wals() == listed(server) == [ONE, TWO, THREE, FOUR]
    assert errors(server) == {}


def test_an_errors_directory_that_cannot_be_used_loses_and_hides_nothing(server):
    deliver(server.incoming, ONE)
    server.run("archive-wal")
    put(server.directory / "errors", b"in the way")
    put(server.incoming / ONE, segment(ONE, filling=1))
    put(server.incoming / TWO, b"")
    put(server.incoming / "junk", b"")
    deliver(server.incoming, THREE)
    result = server.run("archive-wal", check=False)
    assert result.status == 1
    for name in (ONE, TWO, "junk"):
        assert [line for line in result.stderr.splitlines() if line.startswith("ERROR: ") and name in line]
    assert listed(server) == [ONE, THREE]
    assert left(server.incoming) == [ONE, TWO, "junk"]
