"""What is kept of a look at the page checksums."""

from __future__ import annotations

import pytest

from barman.catalog.page_report import MOST_LISTED, DamagedPage, make_report, parse_report, render_report


def test_pages_are_told_by_file_in_order_and_once():
    pages = [DamagedPage("pgdata", "base/5/1", number) for number in (9, 3, 4, 5, 4)]
    report = make_report(100, [*pages, DamagedPage("apart", "PG_15_1/5/2", 7)])
    assert report.damaged == 5
    assert list(report.lines()) == ["PG_15_1/5/2 (tablespace apart): block 7", "base/5/1: blocks 3-5, 9"]


def test_a_report_comes_back_as_it_was():
    for report in (make_report(None, [DamagedPage("pgdata", "base/5/1", 1)], 17), make_report(3, [])):
        assert parse_report(render_report(report)) == report


def test_what_is_no_report_is_a_value_error():
    for text in (b"", b"{}", b"[]", b'{"verified": 1, "damaged": 1, "pages": [{"x": 1}]}'):
        with pytest.raises(ValueError, match=r"not a report|Expecting"):
            parse_report(text)


def test_a_broken_medium_makes_no_endless_list():
    report = make_report(None, [DamagedPage("pgdata", "base/5/1", number) for number in range(MOST_LISTED + 5)])
    assert (report.damaged, len(report.pages)) == (MOST_LISTED + 5, MOST_LISTED)
