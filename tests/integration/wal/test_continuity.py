"""A hole in the WAL archive, from outside: check, status and show-backup say it; no PostgreSQL is needed for it."""

from __future__ import annotations

import pytest

from tests.support.catalogs import HandMade, backup_id, segment
from tests.support.users import give

FIRST, SECOND = backup_id(1), backup_id(2)


@pytest.fixture
def server(home):
    return home.server(conninfo="host=/nonexistent", archiver="on", backup_method="postgres", check_timeout=10)


@pytest.fixture
def catalog(server):
    catalog = HandMade(server.directory)
    catalog.make_directories()
    catalog.add_backup(1, 2, 3)
    return catalog


def _item(server):
    return server.home.run("-f", "json", "check", "main", check=False).json()["main"]["wal_continuity"]


def _missing(*numbers):
    return [segment(number) for number in range(1, 11) if number not in numbers]


def test_a_whole_archive_has_no_gaps(server, catalog):
    catalog.add_wal(_missing())

    assert _item(server) == {"status": "OK", "hint": ""}
    assert server.json("status")["main"]["wal_continuity"]["message"] == "no gaps"
    wal = server.json("show-backup", FIRST)["main"]["wal_information"]
    assert not {"missing_wal", "recoverable_until_lsn"} & wal.keys()


def test_a_hole_behind_the_last_backup_fails_the_check_and_is_shown_everywhere(server, catalog):
    catalog.add_wal(_missing(5, 6))

    item = _item(server)
    assert item["status"] == "FAILED"
    assert item["hint"].startswith("2 WAL files missing since ")
    told = f"{segment(5)} to {segment(6)}; this stops recovery from backup {FIRST}"
    assert item["hint"].endswith(told)
    assert server.json("status")["main"]["wal_continuity"]["message"].endswith(told)
    wal = server.json("show-backup", FIRST)["main"]["wal_information"]
    assert wal["missing_wal"] == {"first": segment(5), "last": segment(6), "files": 2}
    assert wal["recoverable_until_lsn"] == "0/5000000"
    shown = server.run("show-backup", FIRST).stdout
    assert f"Missing WAL          : {segment(5)} to {segment(6)}" in shown
    assert "Recoverable until    : 0/5000000 (about 20" in shown


def test_a_backup_behind_the_hole_is_not_concerned_and_settles_the_check(server, catalog):
    catalog.add_wal(_missing(5))
    catalog.add_backup(2, 7, 8)

    assert _item(server)["status"] == "OK"
    assert segment(5) in _item(server)["hint"]
    assert "missing_wal" in server.json("show-backup", FIRST)["main"]["wal_information"]
    assert "missing_wal" not in server.json("show-backup", SECOND)["main"]["wal_information"]


def test_a_backup_whose_own_wal_has_the_hole_cannot_be_recovered(server, catalog):
    catalog.add_wal(_missing(3))

    assert "Recoverable until    : not at all" in server.run("show-backup", FIRST).stdout
    assert server.json("show-backup", FIRST)["main"]["wal_information"]["recoverable_until_lsn"] is None


def test_what_waits_to_be_archived_is_no_hole(server, catalog):
    catalog.add_wal(_missing(5, 6))
    for number, directory in ((5, catalog.paths.incoming), (6, catalog.paths.streaming)):
        (directory / segment(number)).write_bytes(b"")
        give(directory / segment(number))

    assert _item(server)["status"] == "OK"
    assert _item(server)["hint"] == ""


def test_the_way_leads_over_timelines_and_stops_where_a_history_says(server, catalog):
    catalog.add_wal([*_missing(7, 8, 9, 10), "00000002.history", *(segment(number, 2) for number in (6, 7, 9))])
    (catalog.paths.wals / "00000002.history").write_text("1\t0/6000100\tpromoted\n")

    assert segment(8, 2) in _item(server)["hint"]
    wal = server.json("show-backup", FIRST)["main"]["wal_information"]
    assert (wal["recoverable_until_lsn"], wal["timelines"]) == ("0/8000000", ["2"])


def test_a_backup_of_a_standby_that_followed_a_promotion_knows_the_timelines_behind(server, catalog):
    catalog.add_backup(2, 5, 6, end_wal=segment(6, 2))
    catalog.add_wal(
        [*_missing(), "00000002.history", "00000003.history", *(segment(n, 2) for n in (6, 7)), segment(7, 3)]
    )
    (catalog.paths.wals / "00000002.history").write_text("1\t0/5800000\tpromoted\n")
    (catalog.paths.wals / "00000003.history").write_text("1\t0/5800000\tpromoted\n2\t0/7000100\tpromoted\n")

    assert server.json("show-backup", SECOND)["main"]["wal_information"]["timelines"] == ["3"]


def test_a_ledger_that_cannot_be_read_does_not_end_status(server, catalog):
    catalog.paths.xlogdb.mkdir()
    (catalog.paths.xlogdb / "x").write_bytes(b"")

    assert server.json("status")["main"]["wal_continuity"]["message"].startswith(
        "unknown (cannot read the WAL catalogue"
    )


@pytest.mark.parametrize("content", ["1 nonsense\n", "\x28\xb5\x2f\xfd cut"])
def test_a_history_that_cannot_be_read_counts_for_nothing(content, server, catalog):
    catalog.add_wal([*_missing(7, 8, 9, 10), "00000002.history", segment(9, 2)])
    (catalog.paths.wals / "00000002.history").write_bytes(content.encode("latin-1"))

    assert server.json("status")["main"]["wal_continuity"]["message"] == "no gaps"
