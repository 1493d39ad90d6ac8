"""The Nagios line, by table."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from barman.cli.render.nagios import nagios_lines
from barman.monitor.check import CheckReport
from barman.monitor.check_items import CheckItem


def _report(name, *failed, active=True, size=10, wals=20):
    items = [
        CheckItem("PostgreSQL", ok=True),
        CheckItem("backup minimum size", ok=True, size_bytes=size),
        CheckItem("wal size", ok=True, size_bytes=wals),
        *(CheckItem(one, ok=False, hint=f"no {one}") for one in failed),
    ]
    return CheckReport(name, is_active=active, is_disabled=False, items=tuple(items))


def test_ages_are_behind_what_barman_3_19_tells():
    ages = [
        CheckItem("backup maximum age", ok=True, age=timedelta(hours=1)),
        CheckItem("wal maximum age", ok=True, age=timedelta(seconds=-3)),
    ]
    report = replace(_report("a"), items=(*_report("a").items, *ages))

    lines, _ = nagios_lines([report, _report("b")])

    assert lines[0].endswith("|a=10B a_wals=20B b=10B b_wals=20B a_backup_age=3600s a_wal_age=0s")


@pytest.mark.parametrize(
    ("reports", "errors", "lines", "code"),
    [
        pytest.param(
            [_report("main")],
            [],
            ["BARMAN OK - Ready to serve the Espresso backup for main|main=10B main_wals=20B"],
            0,
            id="one",
        ),
        pytest.param(
            [_report("a"), _report("b")],
            [],
            ["BARMAN OK - Ready to serve the Espresso backup for 2 servers * a * b|a=10B a_wals=20B b=10B b_wals=20B"],
            0,
            id="two",
        ),
        pytest.param(
            [_report("main", "x", "y")],
            [],
            [
                "BARMAN CRITICAL - server main has issues * main FAILED: x, y|main=10B main_wals=20B",
                "main.x: FAILED (no x)",
                "main.y: FAILED (no y)",
            ],
            2,
            id="one fails",
        ),
        pytest.param(
            [_report("a", "x"), _report("b"), _report("c", "y")],
            [],
            [
                (
                    "BARMAN CRITICAL - 2 server out of 3 have issues * a FAILED: x * c FAILED: y"
                    "|a=10B a_wals=20B b=10B b_wals=20B c=10B c_wals=20B"
                ),
                "a.x: FAILED (no x)",
                "c.y: FAILED (no y)",
            ],
            2,
            id="two of three fail",
        ),
        pytest.param(
            [_report("a"), _report("b", "x", active=False)],
            [],
            [
                (
                    "BARMAN OK - Ready to serve the Espresso backup for 2 servers * a * IGNORING: b"
                    "|a=10B a_wals=20B b=10B b_wals=20B"
                )
            ],
            0,
            id="failures of an inactive one",
        ),
        pytest.param([], ["why"], ["BARMAN CRITICAL - Global configuration errors", "why"], 2, id="errors"),
        pytest.param(
            [_report("a")],
            ["Unknown server 'b'"],
            ["BARMAN CRITICAL - Global configuration errors|a=10B a_wals=20B", "Unknown server 'b'"],
            2,
            id="one is well, one unknown",
        ),
        pytest.param(
            [_report("a", "x")],
            ["Unknown server 'b'"],
            [
                "BARMAN CRITICAL - server a has issues * a FAILED: x|a=10B a_wals=20B",
                "a.x: FAILED (no x)",
                "Unknown server 'b'",
            ],
            2,
            id="one fails, one unknown",
        ),
        pytest.param([], [], ["BARMAN OK - No server configured"], 0, id="no servers"),
    ],
)
def test_the_line_tells_all(reports, errors, lines, code):
    assert nagios_lines(reports, errors=errors) == (lines, code)
