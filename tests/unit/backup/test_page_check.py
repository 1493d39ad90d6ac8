"""Looking at the pages of what is copied."""

from __future__ import annotations

import contextlib
import itertools
import struct

import pytest

from barman.backup import page_check
from barman.backup.page_check import PageCheck
from barman.postgres.page_checksums import PAGE_SIZE, wrong_pages

BEGIN, END = 0x5000, 0x9000
NAME = "base/5/16384.1"
SEGMENT = 100


def page(lsn, block=SEGMENT, *, broken=False):
    raw = bytearray(struct.pack("=IIHHHH", 0, lsn, 0, 0, 24, 8000) + bytes(PAGE_SIZE - 16))
    struct.pack_into("=H", raw, 8, wrong_pages(bytes(raw), block)[0].right)
    raw[6000] ^= broken
    return bytes(raw)


@pytest.fixture
def look(tmp_path):
    """Reports on a file with this content: look(content, later, ...), which is what comes when it is copied again."""

    def run(*contents, check=lambda: None):
        path, versions = tmp_path / "file", iter(contents)
        path.write_bytes(next(versions))

        def again():
            fresh = next(versions, None)
            if fresh is not None:
                path.write_bytes(fresh)
            return fresh is not None

        with contextlib.closing(PageCheck(begin_lsn=BEGIN, segment_blocks=SEGMENT, check=check)) as pages:
            pages.submit("pgdata", NAME, str(path), again)
            pages.submit("pgdata", "postgresql.conf", str(path), again)
            pages.finish()
            return pages.report(END)

    return run


def test_good_pages_are_counted(look):
    report = look(page(1) + page(2, SEGMENT + 1) + b"half a page")
    assert (report.verified, report.damaged) == (2, 0)


def test_a_page_that_stays_wrong_is_damaged(look):
    wrong = page(1) + page(2, SEGMENT + 1, broken=True)
    for contents in ((wrong,), (wrong, wrong)):
        report = look(*contents)
        assert list(report.lines()) == [f"{NAME}: block {SEGMENT + 1}"]


def test_a_page_that_was_being_written_is_read_again(look):
    assert look(page(1, broken=True), page(BEGIN + 1)).damaged == 0
    assert look(page(1, broken=True), page(2, broken=True), page(3)).damaged == 0


def test_a_page_newer_than_the_begin_is_replayed_and_not_judged(look):
    assert look(page(BEGIN, broken=True)).damaged == 0


def test_a_page_that_says_it_is_newer_than_the_end_is_damaged(look):
    assert look(page(END + 1, broken=True)).damaged == 1


def test_who_stops_the_work_stops_this(look):
    calls = itertools.count()

    def check():
        if next(calls):
            raise InterruptedError

    with pytest.raises(InterruptedError):
        look(page(1, broken=True), page(1), check=check)


def test_a_damaged_page_is_found_in_little_and_in_much(look, monkeypatch):
    wrong = page(1) + page(2, SEGMENT + 1, broken=True)
    little = look(wrong)
    monkeypatch.setattr(page_check, "_MANY", 1)
    assert list(look(wrong).lines()) == list(little.lines()) == [f"{NAME}: block {SEGMENT + 1}"]
