"""list-restore-points: what it says can be recovered, against what was written."""

from __future__ import annotations

from datetime import datetime

import pytest

from barman.catalog.wal_archive import archive_key
from barman.postgres.lsn import parse_lsn
from tests.support.catalogs import HandMade, backup_id, segment

MIB = 1 << 20


def _lsn(text):
    return parse_lsn(text)


@pytest.fixture
def archiving(home, clusters, installation):
    cluster = clusters.make(installation, segment_size=MIB)
    server = home.delivering(cluster)
    return server, cluster


def _mark(cluster, name):
    cluster.sql("create table if not exists marks (name text)")
    cluster.sql(f"insert into marks values ('{name}')")
    return str(cluster.value(f"select pg_create_restore_point('{name}')"))


@pytest.mark.pg
def test_named_points_and_the_ends_of_the_window_are_those_of_the_server(archiving):
    server, cluster = archiving
    _mark(cluster, "too early")
    backup = server.backup()
    lsns = {name: _mark(cluster, name) for name in ("first", "größer")}
    server.close_and_archive(cluster)
    lsns["second"] = _mark(cluster, "second")
    last = server.close_and_archive(cluster)
    now = cluster.value("select now()")

    found = server.json("list-restore-points", "--names")["main"]

    (window,) = found["windows"]
    assert (window["timeline"], window["backups"], window["last_wal"]) == (1, [backup], last)
    assert window["missing_wal"] is None
    assert (
        _lsn(window["begin_lsn"])
        <= min(map(_lsn, lsns.values()))
        < max(map(_lsn, lsns.values()))
        < _lsn(window["end_lsn"])
    )
    assert datetime.fromisoformat(window["begin_time"]) < datetime.fromisoformat(window["end_time"]) <= now
    assert window["end_time_exact"]
    points = {point["name"]: point for point in found["restore_points"]}
    assert {"first", "größer", "second"} <= points.keys()
    assert "too early" not in points
    # PostgreSQL gives the end of the record; recovery stops by its name.
    assert all(_lsn(points[name]["lsn"]) < _lsn(lsns[name]) for name in lsns)
    text = server.run("list-restore-points", "--names").stdout
    assert f"end of backup {backup}" in text
    assert any(line.endswith("timeline 1  second") for line in text.splitlines())


@pytest.mark.pg(each=False)
def test_a_timeline_has_windows_of_its_own(archiving, clusters):
    server, cluster = archiving
    backup = server.backup()
    server.close_and_archive(cluster)
    standby = clusters.standby_of(cluster)
    standby.configure(primary_conninfo="")
    standby.restart()
    standby.promote()
    standby.wait_until_recovered()
    _mark(standby, "on the second")
    server.close_and_archive(standby)
    _mark(cluster, "on the first")
    server.close_and_archive(cluster)

    found = server.json("list-restore-points", "--names")["main"]

    assert [(window["timeline"], window["backups"]) for window in found["windows"]] == [(1, [backup]), (2, [backup])]
    named = {point["name"]: point["timeline"] for point in found["restore_points"]}
    assert (named["on the first"], named["on the second"]) == (1, 2)


def _window(found):
    return [(one["begin_lsn"], one["end_lsn"], one["backups"], one["missing_wal"]) for one in found["windows"]]


def test_a_hole_parts_the_window_and_what_cannot_be_read_has_the_time_of_its_file(home):
    server = home.server(conninfo="host=/nonexistent", archiver="on", backup_method="postgres")
    catalog = HandMade(server.directory)
    catalog.make_directories()
    catalog.add_backup(1, 2, 3)
    catalog.add_backup(2, 8, 8)
    catalog.add_wal([segment(number) for number in range(1, 11) if number != 6])

    found = server.json("list-restore-points")["main"]

    hole = {"first": segment(6), "last": segment(6), "files": 1}
    assert _window(found) == [
        ("0/3000100", "0/6000000", [backup_id(1)], hole),
        ("0/8000100", "0/B000000", [backup_id(2)], None),
    ]
    assert not found["windows"][0]["end_time_exact"]
    assert found["restore_points"] is None
    text = server.run("list-restore-points").stdout
    assert f"then missing: {segment(6)}" in text
    assert "not looked for, see --names" in text
    unread = server.run("list-restore-points", "--names")
    assert f"restore points in {segment(3)} are not listed" in unread.stderr


def test_what_a_restore_would_refuse_is_no_window(home):
    server = home.server(conninfo="host=/nonexistent", archiver="on", backup_method="postgres")
    catalog = HandMade(server.directory)
    catalog.make_directories()
    catalog.add_backup(1, 2, 3)
    catalog.add_backup(2, 8, 8, parent_backup_id=backup_id(7))
    catalog.add_wal([*(segment(number) for number in range(1, 11)), "00000002.history"])
    # Listed, but lost.
    (catalog.paths.wals / archive_key(segment(6))).unlink()

    shown = server.run("list-restore-points")
    found = server.json("list-restore-points")["main"]

    assert _window(found) == [
        ("0/3000100", "0/6000000", [backup_id(1)], {"first": segment(6), "last": segment(6), "files": 1}),
    ]
    assert "timeline 2 is left out" in shown.stderr
    assert "Oldest time: " in shown.stdout


def test_without_a_backup_nothing_can_be_recovered(home):
    server = home.server(conninfo="host=/nonexistent", archiver="on", backup_method="postgres")
    server.run("check", check=False)

    assert server.json("list-restore-points")["main"]["windows"] == []
    assert "Nothing can be recovered" in server.run("list-restore-points").stdout
