from __future__ import annotations

import os
from pathlib import Path

import pytest

from barman.errors import Permanent, Refused
from barman.restore.delta import render_mark
from barman.restore.remote_host import (
    begin_there,
    finish_there,
    link_tablespaces_there,
    look_closer_there,
    look_there,
    remove_there,
    require_rsync,
)

ODD = "a 'b' $c\n\\d"


def test_every_place_is_described_as_it_is(session, tmp_path):
    full = tmp_path / ODD
    (full / "x").mkdir(parents=True)
    (tmp_path / "link").symlink_to(full)
    (tmp_path / "file").touch()
    places = [full, tmp_path / "link" / "no" / "such", tmp_path / "file" / "x", tmp_path / "link"]

    facts = look_there(session, places)

    assert [seen.is_directory for seen in facts.seen] == [True, True, False, True]
    assert [seen.real for seen in facts.seen[:2]] == [str(full), f"{full}/no/such"]
    assert [seen.existing for seen in facts.seen[1:3]] == [str(tmp_path / "link"), str(tmp_path / "file")]
    assert [seen.names for seen in facts.seen] == [("x",), (), (), ("x",)]
    assert facts.is_this_host == Path("/proc/sys/kernel/random/boot_id").exists()
    assert facts.user_id == os.geteuid()
    assert facts.owners[0] == (os.geteuid(), full.stat().st_gid)
    assert all(free for free in facts.free_bytes)


def test_a_host_without_rsync_is_refused(session, tmp_path):
    with pytest.raises(Refused, match="there is no rsync on h"):
        require_rsync(look_there(session, [tmp_path])._replace(rsync=None), "h")


def test_a_destination_is_marked_and_does_not_start_until_it_is_finished(session, tmp_path):
    data, cold = tmp_path / ODD, tmp_path / "cold"
    (data / "global").mkdir(parents=True)
    (data / "global" / "pg_control").write_bytes((7).to_bytes(8, "little") + b"old")
    (data / "backup_manifest").touch()
    mark = render_mark("7", 5)

    assert look_closer_there(session, data).mark is None
    begin_there(session, data, {data: 0o750, cold: 0o700}, mark=mark)

    assert not (data / "global" / "pg_control").exists()
    assert (data.stat().st_mode & 0o777, cold.stat().st_mode & 0o777) == (0o750, 0o700)
    assert look_closer_there(session, data).mark == mark.rstrip("\n")

    link_tablespaces_there(session, data, {42: cold})
    finish_there(
        session, [data, cold], manifest="backup_manifest.id", syncs="one", owner=None, control_file=(b"new", 0o640)
    )

    assert os.readlink(data / "pg_tblspc" / "42") == str(cold)
    assert (data / "global" / "pg_control").read_bytes() == b"new"
    assert (data / "global" / "pg_control").stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in data.iterdir()) == ["backup_manifest.id", "global", "pg_tblspc"]


def test_without_a_control_file_nothing_is_finished(session, tmp_path):
    (tmp_path / "data" / "global").mkdir(parents=True)

    with pytest.raises(Permanent, match="the restore to there failed: the backup has no global/pg_control"):
        finish_there(session, [tmp_path / "data"], manifest="m", syncs="all", owner=None, control_file=None)


def test_half_a_control_file_gets_no_name(session, tmp_path, monkeypatch):
    (tmp_path / "data" / "global").mkdir(parents=True)
    whole = session.script
    monkeypatch.setattr(session, "script", lambda *words, **how: whole(*words, **{**how, "input": how["input"][:-1]}))

    with pytest.raises(Permanent, match="the connection was cut"):
        finish_there(
            session, [tmp_path / "data"], manifest="m", syncs="all", owner=None, control_file=(b"control", 0o600)
        )
    assert not (tmp_path / "data" / "global" / "pg_control").exists()


def test_names_of_any_bytes_are_removed_and_nothing_else(session, tmp_path):
    for name in (ODD, "-rf", "deep", "stays"):
        (tmp_path / "d" / name).mkdir(parents=True)
    (tmp_path / "d" / "deep" / "file").touch()

    remove_there(session, tmp_path / "d", [ODD, "-rf", "deep", "missing"])
    remove_there(session, tmp_path / "d", [])

    assert [path.name for path in (tmp_path / "d").iterdir()] == ["stays"]


def test_what_is_in_a_control_file_and_a_record_is_read(session, tmp_path):
    (tmp_path / "global").mkdir()
    (tmp_path / "global" / "pg_control").write_bytes((7400000000000000001).to_bytes(8, "little") + b"rest")
    (tmp_path / "postmaster.pid").touch()
    (tmp_path / ".barman-recover.info").write_text("begin_time=2026-11-21 12:00:00+00:00\n")

    found = look_closer_there(session, tmp_path)

    assert (found.has_pid_file, found.system_identifier) == (True, "7400000000000000001")
    assert found.begin_time is not None
    assert found.begin_time.hour == 12
