"""Looking at WAL files before they are archived."""

from __future__ import annotations

import gzip
import lzma

import pytest

from barman.storage.compress.codecs import CustomFilters
from barman.wal.inspect import DAMAGED, FOREIGN, inspect_wal
from tests.support.wal import HISTORY, LABEL, MIB, OTHER_SYSTEM_ID, SYSTEM_ID, name_of, segment

NAME = name_of(5)
GOOD = segment(NAME)
CUSTOM = CustomFilters("rev", "cat", b"CUSTOM")


@pytest.fixture
def look(tmp_path):
    def inspect(content, name=NAME, **options):
        (tmp_path / "file").write_bytes(content)
        return inspect_wal(tmp_path / "file", name=name, **options)

    return inspect


def changed(offset, *new):
    return GOOD[:offset] + bytes(new) + GOOD[offset + len(new) :]


@pytest.mark.parametrize(
    ("content", "name", "compression"),
    [
        pytest.param(GOOD, NAME, None, id="segment"),
        pytest.param(GOOD, f"{NAME}.partial", None, id="partial segment"),
        pytest.param(GOOD, NAME.lower(), None, id="lower case"),
        pytest.param(gzip.compress(GOOD, 1), NAME, "gzip", id="gzip"),
        pytest.param(lzma.compress(GOOD, preset=0), NAME, "xz", id="xz"),
        pytest.param(segment(name_of(5, timeline=2)), name_of(5, timeline=2), None, id="second timeline"),
        pytest.param(segment(NAME), name_of(5, timeline=2), None, id="begun on the parent timeline"),
        pytest.param(LABEL.encode(), f"{NAME}.00000028.backup", None, id="label"),
        pytest.param(gzip.compress(LABEL.encode()), f"{NAME}.00000028.backup", "gzip", id="compressed label"),
        pytest.param(HISTORY.encode(), "00000002.history", None, id="history"),
    ],
)
def test_good_files_have_no_fault(look, content, name, compression):
    seen = look(content, name, system_id=SYSTEM_ID)
    assert (seen.fault, seen.reason, seen.compression, seen.size) == (None, "", compression, len(content))


def test_a_segment_tells_its_cluster(look):
    assert look(GOOD).system_id == SYSTEM_ID
    assert look(HISTORY.encode(), "00000002.history").system_id is None


def test_a_foreign_segment_is_told_from_a_damaged_one(look):
    seen = look(GOOD, system_id=OTHER_SYSTEM_ID)
    assert (seen.fault, seen.system_id) == (FOREIGN, SYSTEM_ID)
    assert OTHER_SYSTEM_ID in seen.reason


@pytest.mark.parametrize(
    ("content", "name", "reason"),
    [
        pytest.param(b"", NAME, "empty", id="empty"),
        pytest.param(GOOD[:20], NAME, "cut short", id="shorter than a header"),
        pytest.param(GOOD[:-1], NAME, f"{MIB - 1} bytes, expected {MIB}", id="truncated"),
        pytest.param(GOOD + b"x", NAME, f"{MIB + 1} bytes", id="too long"),
        pytest.param(bytes(MIB), NAME, "magic number 0000", id="zeros"),
        pytest.param(changed(0, 0x11), NAME, "magic number", id="magic"),
        pytest.param(changed(2, 0xFF), NAME, "flags", id="flags"),
        pytest.param(changed(10, 0xFF), NAME, "content does not match the name", id="page address"),
        pytest.param(GOOD, name_of(6), "content does not match the name", id="other name"),
        pytest.param(segment(name_of(5, timeline=3)), NAME, "timeline 3", id="later timeline"),
        pytest.param(segment(NAME, claimed_size=3 * MIB), NAME, "segment size", id="segment size"),
        pytest.param(segment(NAME, claimed_size=2 * MIB), NAME, "content does not match", id="claims another size"),
        pytest.param(gzip.compress(GOOD, 1)[:-9], NAME, "end too early", id="truncated gzip"),
        pytest.param(gzip.compress(GOOD[:-1], 1), NAME, f"{MIB - 1} bytes", id="truncated before compression"),
        pytest.param(gzip.compress(GOOD, 1)[:-8] + bytes(8), NAME, "damaged", id="wrong checksum"),
        pytest.param(gzip.compress(b""), NAME, "cut short", id="nothing, compressed"),
        pytest.param(GOOD, f"{NAME}.00000028.backup", "no backup label", id="label"),
        pytest.param(b"", f"{NAME}.00000028.backup", "empty", id="empty label"),
        pytest.param(b"no history", "00000002.history", "00000002", id="history"),
        pytest.param(b"3\t0/300000\tx\n", "00000002.history", "sequence", id="history of a later ancestor"),
    ],
)
def test_damage_is_found_and_told(look, content, name, reason):
    seen = look(content, name, system_id=SYSTEM_ID)
    assert seen.fault == DAMAGED
    assert reason in seen.reason


def test_a_known_segment_size_must_be_the_one(look):
    assert look(GOOD, segment_size=16 * MIB).fault == DAMAGED
    assert look(GOOD, segment_size=MIB).fault is None


def test_a_segment_of_another_version_under_the_same_identifier_is_damaged(look):
    assert look(GOOD, system_id=SYSTEM_ID, version="15").fault is None
    assert look(GOOD, system_id=SYSTEM_ID, version="18").fault == DAMAGED
    assert look(GOOD, system_id=OTHER_SYSTEM_ID, version="18").fault == FOREIGN


def test_encrypted_files_are_taken_as_they_are(look):
    seen = look(bytes.fromhex("85010c03") + b"whatever")
    assert (seen.fault, seen.encryption, seen.compression) == (None, "gpg", None)


def test_custom_compression_is_recognised(look):
    seen = look(b"CUSTOM" + b"x" * 100, custom=CUSTOM)
    assert (seen.compression, seen.fault) == ("custom", DAMAGED)


@pytest.mark.parametrize(("content", "is_blank"), [(b"", True), (bytes(MIB), True), (GOOD, False)])
def test_a_place_holder_is_blank(look, content, is_blank):
    assert look(content, f"{NAME}.partial").is_blank is is_blank


def test_size_time_and_mode_are_those_of_the_file(look, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "file").chmod(0o640)
    seen = look(GOOD)
    status = (tmp_path / "file").stat()
    assert (seen.size, seen.mtime_ns, seen.mode) == (MIB, status.st_mtime_ns, 0o640)


def test_a_file_that_is_gone_is_told_by_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        inspect_wal(tmp_path / "missing", name=NAME)
