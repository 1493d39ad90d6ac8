"""Which directories of a cluster are copied, and what is left out of them."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from barman.backup.source_tree import files_outside, trees_of
from barman.host.rsync import Source, list_argv, parse_entry
from barman.postgres.facts import Tablespace

LEFT_OUT = [
    "pg_wal/000000010000000000000001",
    "pg_wal/archive_status/000000010000000000000001.ready",
    "log/postgresql.log",
    "pg_replslot/slot/state",
    "pg_dynshmem/mmap.1",
    "pg_subtrans/0000",
    "pg_stat_tmp/x",
    "global/pg_control",
    "global/pg_internal.init",
    "base/5/pg_internal.init",
    "base/5/t3_16400",
    "base/5/t12_16400_fsm",
    "base/pgsql_tmp/pgsql_tmp1.0",
    "postmaster.pid",
    "postmaster.opts",
    "standby.signal",
    "recovery.conf",
    "postgresql.auto.conf.tmp",
    "backup_manifest",
    "backup_label",
    "tablespace_map",
    "pg_tblspc/16385/PG_15_1/5/1",
    "pg_tblspc/99/left",
    "inside [1]/PG_15_1/5/1",
]
TAKEN = [
    "PG_VERSION",
    "postgresql.conf",
    "postgresql.auto.conf",
    "base/5/16384",
    "base/5/16384_vm",
    "base/5/16384_init",
    "global/pg_filenode.map",
    "pg_xact/0000",
    "pg_logical/mappings/map-1",
    "pg_tblspc/16390/PG_15_1/5/1",
    "inside 1/x",
]
TABLESPACES = (
    Tablespace("away", 16385, "/elsewhere/away/"),
    Tablespace("within", 16386, "{pgdata}/inside [1]"),
    Tablespace("in_place", 16390, "pg_tblspc/16390"),
)


@pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")
def test_the_data_directory_without_what_is_not_the_clusters_own(tmp_path):
    for name in (*LEFT_OUT, *TAKEN):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    tablespaces = [
        Tablespace(one.name, one.oid, one.location.replace("{pgdata}", str(tmp_path))) for one in TABLESPACES
    ]
    tree = trees_of(f"{tmp_path}/", tablespaces, 150018, exclusive=False)[-1]
    argv = list_argv(Source(tree.directory, None), tree.filters)
    lines = subprocess.run(argv, capture_output=True, check=True, text=True).stdout.splitlines()
    found = [entry for entry in map(parse_entry, lines) if entry is not None]
    assert sorted(entry.name for entry in found if not entry.is_directory) == sorted(TAKEN)
    assert {"pg_wal", "log", "pg_replslot", "pg_tblspc", "global"} <= {e.name for e in found if e.is_directory}


def test_tablespaces_come_first_each_with_its_own_directory():
    trees = trees_of("/pg/", [TABLESPACES[0], TABLESPACES[2]], 150018, exclusive=False)
    assert [(tree.label, tree.directory, tree.part) for tree in trees] == [
        ("away", "/elsewhere/away", "16385"),
        ("pgdata", "/pg", "data"),
    ]
    assert "--include=/PG_15_*" in trees[0].filters
    assert trees[0].filters[-1] == "--exclude=/*"


def test_the_label_of_an_exclusive_backup_is_copied():
    concurrent, exclusive = (trees_of("/pg", (), 140000, exclusive=flag)[0].filters for flag in (False, True))
    assert set(concurrent) - set(exclusive) == {"--exclude=/backup_label", "--exclude=/tablespace_map"}


def test_configuration_files_elsewhere_are_found():
    files = {"config_file": "/etc/pg/postgresql.conf", "hba_file": "/pg/data/pg_hba.conf", "ident_file": None}
    assert files_outside("/pg/data/", files) == {"config_file": "/etc/pg/postgresql.conf"}
    assert files_outside("/pg/dat", files) == {
        "config_file": "/etc/pg/postgresql.conf",
        "hba_file": "/pg/data/pg_hba.conf",
    }
