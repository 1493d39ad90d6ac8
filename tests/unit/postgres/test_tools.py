from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath as Path

import pytest

from barman.errors import CommandError
from barman.postgres.base_compression import BaseCompression
from barman.postgres.conninfo import parse_conninfo
from barman.postgres.tools import (
    Tool,
    find_tool,
    pg_basebackup_argv,
    pg_combinebackup_argv,
    pg_receivewal_argv,
    require_compatible,
)

TOOL = Tool("pg_basebackup", "/pg/bin/pg_basebackup", 150018)
OLD_TOOL = Tool("pg_basebackup", "/pg/bin/pg_basebackup", 110022)
CONNINFO = parse_conninfo("host=/run user=streaming password=hunter2 keepalives_idle=1 tcp_user_timeout=2")
DSN = "host=/run keepalives_count=6 keepalives_idle=1 keepalives_interval=10 tcp_user_timeout=2 user=streaming"


def test_pg_receivewal_streams_until_it_is_stopped():
    argv = pg_receivewal_argv(TOOL, conninfo=CONNINFO, directory=Path("/b/streaming"), slot=None, synchronous=False)
    assert argv == [
        "/pg/bin/pg_basebackup",
        f"--dbname={DSN}",
        "--verbose",
        "--no-loop",
        "--no-password",
        "--directory=/b/streaming",
    ]


def test_pg_receivewal_uses_the_slot_and_confirms_at_once_where_asked():
    argv = pg_receivewal_argv(TOOL, conninfo=CONNINFO, directory=Path("/b"), slot="barman", synchronous=True)
    assert argv[-2:] == ["--slot=barman", "--synchronous"]


def test_an_old_tool_is_not_given_parameters_its_libpq_does_not_know():
    conninfo = parse_conninfo("host=/run")
    argv = pg_receivewal_argv(OLD_TOOL, conninfo=conninfo, directory=Path("/b"), slot=None, synchronous=False)
    assert argv[1] == "--dbname=host=/run"


def test_pg_basebackup_copies_without_wal():
    argv = pg_basebackup_argv(TOOL, conninfo=CONNINFO, directory=Path("/b/data"), tablespace_mapping={})
    assert argv == [
        "/pg/bin/pg_basebackup",
        f"--dbname={DSN}",
        "--verbose",
        "--no-password",
        "--pgdata=/b/data",
        "--no-slot",
        "--wal-method=none",
    ]


def test_pg_basebackup_takes_every_choice():
    argv = pg_basebackup_argv(
        TOOL,
        conninfo=CONNINFO,
        directory=Path("/b/data"),
        tablespace_mapping={"/ts/a=b": Path("/b/16385")},
        bandwidth_kib_s=100,
        immediate_checkpoint=True,
        parent_manifest=Path("/p/backup_manifest"),
        target_dbid=1,
    )
    assert argv[7:] == [
        r"--tablespace-mapping=/ts/a\=b=/b/16385",
        "--max-rate=100",
        "--incremental=/p/backup_manifest",
        "--checkpoint=fast",
        "--target-gp-dbid=1",
    ]


@pytest.mark.parametrize(
    ("compression", "tool", "options"),
    [
        (BaseCompression("gzip"), TOOL, ["--format=tar", "--compress=client-gzip"]),
        (BaseCompression("gzip", level=-1), TOOL, ["--format=tar", "--compress=client-gzip"]),
        (BaseCompression("lz4", level=3), TOOL, ["--format=tar", "--compress=client-lz4:level=3"]),
        (
            BaseCompression("zstd", level=3, workers=2, location="server", format="plain"),
            TOOL,
            ["--format=plain", "--compress=server-zstd:level=3,workers=2"],
        ),
        (BaseCompression("zstd", workers=2), TOOL, ["--format=tar", "--compress=client-zstd:workers=2"]),
        (BaseCompression("none"), TOOL, ["--format=tar", "--compress=none"]),
        (BaseCompression("gzip"), OLD_TOOL, ["--format=tar", "--gzip"]),
        (BaseCompression("gzip", level=0), OLD_TOOL, ["--format=tar", "--compress=0", "--gzip"]),
        (BaseCompression("none"), OLD_TOOL, ["--format=tar"]),
    ],
)
def test_pg_basebackup_is_told_how_to_pack_in_the_syntax_of_its_version(compression, tool, options):
    conninfo = parse_conninfo("")
    argv = pg_basebackup_argv(
        tool, conninfo=conninfo, directory=Path("/b"), tablespace_mapping={}, compression=compression
    )
    assert argv[7:] == options


@pytest.mark.parametrize(("mode", "options"), [(None, []), ("copy", []), ("link", ["--link"]), ("clone", ["--clone"])])
def test_pg_combinebackup_is_given_the_chain_from_its_root(mode, options):
    argv = pg_combinebackup_argv(
        TOOL, backups=[Path("/a"), Path("/b")], output=Path("/o"), tablespace_mapping={"/x": Path("/y")}, mode=mode
    )
    assert argv[1:] == ["--no-sync", "--output=/o", "--tablespace-mapping=/x=/y", *options, "/a", "/b"]


def test_no_command_line_shows_the_password():
    lines = [
        *pg_basebackup_argv(TOOL, conninfo=CONNINFO, directory=Path("/b"), tablespace_mapping={}),
        *pg_receivewal_argv(TOOL, conninfo=CONNINFO, directory=Path("/b"), slot=None, synchronous=False),
    ]
    assert not any("hunter2" in word for word in lines)


@pytest.fixture
def programs(tmp_path):
    def make(name, version):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
        path.chmod(0o755)
        return path

    return make


def test_a_tool_is_found_with_its_version(programs, tmp_path):
    path = programs("pg_receivewal", "15.18")
    assert find_tool("pg_receivewal", str(tmp_path)) == Tool("pg_receivewal", str(path), 150018)


def test_a_tool_is_asked_once_until_another_one_is_installed(programs, tmp_path):
    path = programs("pg_basebackup", "15.18")
    path.write_text(f"{path.read_text()}echo asked >> {tmp_path}/asked\n")
    with ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(lambda _: find_tool("pg_basebackup", str(tmp_path)).version_num, range(8)))
    assert versions == [150018] * 8
    assert (tmp_path / "asked").read_text() == "asked\n"
    path.unlink()
    path = programs("pg_basebackup", "16.2")
    os.utime(path, (1, 1))
    assert find_tool("pg_basebackup", str(tmp_path)).version_num == 160002


def test_an_old_name_is_accepted_where_the_new_one_is_missing(programs, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin/nowhere:/bin")
    programs("pg_receivexlog", "9.6.24")
    assert find_tool("pg_receivewal_", str(tmp_path), old_name="pg_receivexlog").version_num == 90624


def test_a_missing_tool_is_named_with_a_hint(tmp_path):
    with pytest.raises(CommandError, match=r"pg_nothing not found in path_prefix \(/nowhere\) or PATH") as caught:
        find_tool("pg_nothing", "/nowhere")
    assert "path_prefix" in (caught.value.hint or "")


def test_a_tool_older_than_the_server_is_refused():
    require_compatible(TOOL, 150001)
    with pytest.raises(CommandError, match="of PostgreSQL 15, too old for a server of version 18"):
        require_compatible(TOOL, 180004)
