"""What a server says of damaged pages while pg_basebackup copies them."""

from __future__ import annotations

from barman.backup.damage_lines import DamageLines


def test_named_pages_and_totals_make_the_report():
    lines = DamageLines(1000)
    for text in (
        'pg_basebackup: WARNING:  checksum verification failed in file "./base/5/16384.2", block 3: calculated 1A',
        'WARNING:  checksum verification failed in file "./global/1260", block 0: calculated 1A but expected 2B',
        'WARNING:  file "./base/5/16384.2" has a total of 9 checksum verification failures',
        "WARNING:  10 total checksum verification failures",
    ):
        lines.take(text)
    report = lines.report()
    assert (report.verified, report.damaged) == (None, 10)
    assert list(report.lines()) == ["base/5/16384.2: block 2003", "global/1260: block 0"]


def test_a_server_that_speaks_another_language_is_believed_that_something_is_damaged():
    assert DamageLines(1000).report().damaged == 1
