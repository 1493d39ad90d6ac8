"""archive_command and restore_command must start quickly: what their programs may import is a list."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import cache

import pytest

from barman.client.acknowledged import Acknowledgements
from tests.budget.programs import run_program, write_configuration
from tests.support.wal import name_of, segment

# what hot-safe modules may import, and so what comes with it
ALLOWED = (
    "__future__", "argparse", "bz2", "collections", "contextlib", "enum", "errno", "fcntl", "functools", "gc",
    "hashlib", "io", "itertools", "lzma", "os", "pwd", "re", "shlex", "shutil", "signal", "stat", "struct",
    "subprocess", "sys", "tarfile", "time", "types", "typing", "zlib",
)  # fmt: skip
FORBIDDEN = (
    "asyncio", "click", "concurrent", "configparser", "dataclasses", "datetime", "inspect", "json", "logging",
    "multiprocessing", "pathlib", "psycopg", "tempfile", "urllib",
)  # fmt: skip
CEILING = 110
WAL = "000000010000000000000001"


@pytest.fixture(autouse=True)
def ssh_of_our_own(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def programs(scratch):
    conf = write_configuration(scratch)
    archived = scratch / "home" / "main" / "wals" / WAL[:16]
    archived.mkdir(parents=True)
    (archived / WAL).write_bytes(segment(WAL))
    spool = fill_spool(scratch, archived / WAL)
    ssh = scratch / "ssh"
    ssh.write_text("#!/bin/sh\ncat > /dev/null\n")
    ssh.chmod(0o755)
    return {
        "put-wal --test": ("barman", "-c", conf, "put-wal", "--test", "main"),
        "put-wal of a broken stream": ("barman", "-c", conf, "put-wal", "main"),
        "get-wal": ("barman", "-c", conf, "get-wal", "main", WAL),
        "get-wal of a missing file": ("barman", "-c", conf, "get-wal", "main", "0000000100000000000000FF"),
        "get-wal --peek": ("barman", "-c", conf, "get-wal", "--peek", "2", "main", WAL),
        "barman-wal-archive": ("barman_wal_archive", "host", "main", archived / WAL),
        "barman-wal-archive of what is sent": (
            "barman_wal_archive",
            "--batch",
            "9",
            "--spool-dir",
            spool,
            "host",
            "main",
            archived / WAL,
        ),
        "barman-wal-restore from the spool": (
            "barman_wal_restore",
            "-p",
            "3",
            "--spool-dir",
            spool,
            "host",
            "main",
            WAL,
            scratch / "RECOVERYXLOG",
        ),
        "get-wal --stream": ("barman", "-c", conf, "get-wal", "--stream", "2", "main", WAL),
        "barman-wal-restore": ("barman_wal_restore", "host", "main", WAL, scratch / "RECOVERYXLOG"),
    }


def fill_spool(scratch, wal):
    """A directory in which everything is ready: nobody needs to connect, and the spool is full."""
    spool = scratch / "spool"
    spool.mkdir()
    for number in (1, 2, 3):
        (spool / name_of(number)).write_bytes(segment(name_of(number)))
    known = Acknowledgements(str(spool), "main barman@host")
    known.add(str(wal), wal.stat(), time.time_ns() + 10**9)
    return spool


NAMES = (
    "put-wal --test", "put-wal of a broken stream", "get-wal", "get-wal of a missing file", "get-wal --peek",
    "get-wal --stream", "barman-wal-archive", "barman-wal-archive of what is sent", "barman-wal-restore",
    "barman-wal-restore from the spool",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_hot_program_loads_only_what_is_on_the_list(tmp_path, name):
    entry, *words = programs(tmp_path)[name]
    loaded = run_program(tmp_path, *words, entry=entry).loaded
    foreign = sorted(one for one in loaded - come_with(ALLOWED) if one.split(".")[0] != "barman")
    assert foreign == []


@pytest.mark.parametrize("name", NAMES)
def test_a_hot_program_loads_none_of_the_slow_modules_and_not_many_in_all(tmp_path, name):
    entry, *words = programs(tmp_path)[name]
    run = run_program(tmp_path, *words, entry=entry)
    assert [one for one in FORBIDDEN if run.loads(one)] == []
    assert len(run.loaded) <= CEILING


def test_commands_other_than_the_hot_ones_go_through_click(tmp_path):
    assert run_program(tmp_path, "--version").loads("click")


@cache
def come_with(modules):
    """All modules that a bare interpreter holds once these are imported."""
    code = f"import {', '.join(modules)}, sys\nprint(*sys.modules)"
    printed = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, check=True, timeout=60)
    return frozenset(printed.stdout.decode().split())
