"""What stands behind a line of the ledger that another Barman knows."""

from __future__ import annotations

import pytest

from barman.catalog.xlog_lines import WalEntry, format_entry
from barman.catalog.xlog_tail import read_behind, read_ledger
from barman.errors import UserError
from tests.support.catalogs import segment


def _entry(number, size=16):
    return WalEntry(segment(number), size, 1.5)


@pytest.fixture
def ledger(tmp_path):
    """A function that writes a ledger, and the offsets of its lines."""

    def write(*entries, end=b""):
        lines = [format_entry(entry) for entry in entries]
        path = tmp_path / "xlog.db"
        path.write_bytes(b"".join(lines) + end)
        return path, [sum(map(len, lines[:number])) for number in range(len(lines))]

    return write


def test_an_empty_ledger_ends_nowhere(ledger, tmp_path):
    for path in (ledger()[0], tmp_path / "missing"):
        assert read_ledger(path) == ((), "", 0)
        with pytest.raises(UserError):
            read_behind(path, segment(1))


def test_the_whole_ledger_is_in_order_and_ends_where_its_last_line_begins(ledger):
    path, offsets = ledger(_entry(1), _entry(3), _entry(2), _entry(1, 17))
    assert read_ledger(path) == ((_entry(1, 17), _entry(2), _entry(3)), segment(1), offsets[-1])


@pytest.mark.parametrize("end", [b"", b"00000001000000", b"\0\0\0"], ids=["whole", "torn", "zeroes"])
@pytest.mark.parametrize("place", ["right", "wrong", "unknown"])
def test_what_was_added_behind_a_line_is_returned_as_it_was_added(ledger, place, end):
    path, offsets = ledger(_entry(1), _entry(4), _entry(3), _entry(5), end=end)
    offset = {"right": offsets[1], "wrong": offsets[1] - 7, "unknown": None}[place]
    assert read_behind(path, segment(4), offset) == ((_entry(3), _entry(5)), segment(5), offsets[3])


def test_nothing_is_behind_the_last_line(ledger):
    path, offsets = ledger(_entry(1), _entry(2))
    for offset in (offsets[1], 0, 1, 10_000, None):
        assert read_behind(path, segment(2), offset) == ((), segment(2), offsets[1])


def test_the_first_line_is_found_at_0(ledger):
    path, offsets = ledger(_entry(1), _entry(2))
    assert read_behind(path, segment(1), 0) == ((_entry(2),), segment(2), offsets[1])


def test_a_label_is_not_taken_for_its_segment(ledger):
    known = WalEntry(f"{segment(1)}.00000028.backup", 3, 1.5)
    path, offsets = ledger(_entry(1), known, _entry(2))
    assert read_behind(path, segment(1), offsets[1]).entries == (known, _entry(2))


def test_a_line_that_is_gone_is_replaced_by_what_sorts_behind_it(ledger):
    path, _ = ledger(_entry(1), _entry(5), _entry(3))
    assert read_behind(path, segment(2)).entries == (_entry(3), _entry(5))


@pytest.mark.parametrize(("asked", "reason"), [(0, "older"), (9, "newer")])
def test_a_line_beyond_either_end_is_refused(ledger, asked, reason):
    path, _ = ledger(_entry(1), _entry(5))
    with pytest.raises(UserError, match=reason):
        read_behind(path, segment(asked))


def test_a_last_line_without_its_end_counts_if_nothing_else_is_missing(ledger):
    path, offsets = ledger(_entry(1), _entry(2))
    path.write_bytes(path.read_bytes()[:-1])
    assert read_ledger(path) == ((_entry(1), _entry(2)), segment(2), offsets[1])


def test_what_is_no_name_of_a_wal_file_is_refused_as_that(ledger):
    path, _ = ledger(_entry(1))
    with pytest.raises(UserError, match="'latest' is no name of a WAL file"):
        read_behind(path, "latest")
