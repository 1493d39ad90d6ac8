"""Tar archives on a pipe: the same bytes as tarfile's, and nothing taken for whole that is cut."""

from __future__ import annotations

import io
import tarfile

import pytest

from barman.errors import WalError
from barman.wal.tar_stream import CHUNK, TarReader, TarWriter

FILES = [("a", b""), ("b", b"x" * 511), ("c", b"y" * 512), ("d", b"z" * (CHUNK + 1)), ("e" * 120, b"long name")]
HEADERS = {"BARMAN.report": "1"}


def info_of(name, content, *, mtime=1700000000.25):
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(content), 0o640, mtime
    return info


def by_tarfile(files=FILES, *, form=tarfile.PAX_FORMAT, headers=None):
    target = io.BytesIO()
    with tarfile.open(mode="w|", fileobj=target, format=form, pax_headers=headers) as archive:
        for name, content in files:
            archive.addfile(info_of(name, content), io.BytesIO(content))
    return target.getvalue()


def by_writer(files=FILES, headers=None):
    target = io.BytesIO()
    writer = TarWriter(target, headers)
    for name, content in files:
        assert writer.add(name, io.BytesIO(content), len(content), mtime=1700000000.25, mode=0o640)
    writer.finish()
    return target.getvalue()


def read(stream):
    reader = TarReader(io.BytesIO(stream))
    found = []
    while (member := reader.next_member()) is not None:
        parts = []
        reader.copy(member.size, lambda piece, parts=parts: parts.append(bytes(piece)))
        found.append((member, b"".join(parts)))
    reader.drain()
    return reader, found


@pytest.mark.parametrize("headers", [None, HEADERS], ids=["plain", "with global headers"])
def test_what_is_written_is_to_the_byte_what_tarfile_writes(headers):
    assert by_writer(headers=headers) == by_tarfile(headers=headers)


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT])
def test_what_tarfile_writes_in_any_format_is_read(form):
    files = FILES[:-1]
    _, found = read(by_tarfile(files, form=form))
    assert [(member.name, content) for member, content in found] == files
    assert all(member.is_file and member.mode == 0o640 for member, _ in found)
    assert {member.mtime for member, _ in found} == {1700000000.25 if form == tarfile.PAX_FORMAT else 1700000000}


def test_long_names_and_global_headers_are_read():
    reader, found = read(by_tarfile(headers=HEADERS))
    assert [member.name for member, _ in found] == [name for name, _ in FILES]
    assert reader.headers == HEADERS


def test_a_stream_that_is_cut_anywhere_in_a_file_is_refused():
    files = [("a", b"x" * 1000)]
    whole = by_tarfile(files)
    end = whole.index(b"x" * 100) + 1024
    for length in (*range(1, end, 37), end - 1):
        if length % 512 or length >= end - 1024:
            with pytest.raises(WalError, match="not a complete tar archive"):
                read(whole[:length])


def test_a_source_that_is_shorter_than_told_is_told():
    writer = TarWriter(io.BytesIO())
    assert not writer.add("a", io.BytesIO(b"12"), 3)


def test_links_and_directories_are_no_files():
    target = io.BytesIO()
    with tarfile.open(mode="w|", fileobj=target) as archive:
        link = tarfile.TarInfo("l")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    _, found = read(target.getvalue())
    assert [member.is_file for member, _ in found] == [False]


@pytest.mark.parametrize(
    "headers",
    [{"size": "-1"}, {"size": "many"}, {"mtime": "nan"}, {"mtime": "1e300"}, {"path": "x" * (1 << 17)}],
    ids=["negative size", "no size", "no time", "far future", "endless header"],
)
def test_headers_that_make_no_sense_are_refused(headers):
    target = io.BytesIO()
    with tarfile.open(mode="w|", fileobj=target, format=tarfile.PAX_FORMAT) as archive:
        info = info_of("a", b"")
        info.pax_headers = headers
        archive.addfile(info, io.BytesIO(b""))
    with pytest.raises(WalError, match="not a complete tar archive"):
        read(target.getvalue())


def test_records_of_a_header_that_overlap_its_end_are_left_alone():
    block = tarfile.TarInfo("h")
    records = b"30 path=x\n99999 mtime=1\n"
    block.type, block.size = tarfile.XHDTYPE, len(records)
    stream = (
        block.tobuf(tarfile.USTAR_FORMAT)
        + records.ljust(512, b"\0")
        + info_of("a", b"", mtime=5).tobuf(tarfile.USTAR_FORMAT)
    )
    _, found = read(stream + bytes(1024))
    assert [member.mtime for member, _ in found] == [5]
