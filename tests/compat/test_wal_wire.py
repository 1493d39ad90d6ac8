"""WAL travels between either client and either Barman host: ours and the reference's."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import subprocess
import sys

import cramjam
import lz4.frame
import pytest
import zstandard

from tests.support.places import PROJECT
from tests.support.wal import MIB, name_of, segment
from tests.support.wire import Site

SIZE = 16 * MIB
WAL = name_of(1, size=SIZE)
NEXT = name_of(2, size=SIZE)
CONTENT = segment(WAL, size=SIZE)
COMPRESS = {
    "plain": bytes,
    "gzip": lambda data: gzip.compress(data, 1),
    "bzip2": lambda data: bz2.compress(data, 1),
    "xz": lambda data: lzma.compress(data, preset=0),
    "zstd": zstandard.ZstdCompressor().compress,
    "lz4": lz4.frame.compress,
    "snappy": lambda data: bytes(cramjam.snappy.compress(data)),
}
OPTIONS = ("-z", "--gzip", "-j", "--bzip2", "--xz", "--snappy", "--zstd", "--lz4")


OURS_NEAR = "our client, their host"


@pytest.fixture(params=[OURS_NEAR, "their client, our host"])
def wire(request, tmp_path, reference):
    """Return the site, and how to run a client program against it."""
    ours_near = request.param == OURS_NEAR
    site = Site(tmp_path, program=reference / "barman" if ours_near else None)

    def run(program, *words):
        if ours_near:
            code = (
                f"import sys; sys.path.insert(0, {str(PROJECT)!r}); import barman.entrypoints as e;"
                f" sys.exit(e.{program.replace('-', '_')}())"
            )
            argv = [sys.executable, "-c", code]
        else:
            argv = [str(reference / program)]
        environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        command = [*argv, "-c", str(site.conf), *map(str, words)]
        return subprocess.run(command, env=environment, capture_output=True, timeout=120, check=False).returncode

    site.run = run
    return site


LEVELS = [["--zstd", "--compression-level", "high"], ["-z", "--compression-level", "1"], ["--md5", "--xz"]]


@pytest.mark.parametrize("options", [[], ["--md5"], *([option] for option in OPTIONS), *LEVELS], ids=" ".join)
def test_a_segment_is_sent_and_fetched_again(wire, tmp_path, options):
    wal = tmp_path / WAL
    wal.write_bytes(CONTENT)
    for _ in range(2):
        assert wire.run("barman-wal-archive", *options, "host", "main", wal) == 0
    assert list(wire.incoming()) == [WAL]
    assert wire.run("barman-wal-restore", "host", "main", WAL, wire.destination) == 0
    assert wire.destination.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("options", "stored"),
    [
        *(([], stored) for stored in COMPRESS),
        *((["--keep-compression"], stored) for stored in COMPRESS),
        *(([option], stored) for option in ("-z", "--gzip", "-j", "--bzip2", "-P") for stored in ("plain", "gzip")),
    ],
    ids=str,
)
def test_a_segment_of_the_archive_is_fetched(wire, options, stored):
    wire.archive(WAL, COMPRESS[stored](CONTENT))
    assert wire.run("barman-wal-restore", *options, "host", "main", WAL, wire.destination) == 0
    assert wire.destination.read_bytes() == CONTENT


def test_segments_are_fetched_ahead(wire):
    wire.archive(WAL, CONTENT)
    wire.archive(NEXT, segment(NEXT, size=SIZE))
    for name, content in ((WAL, CONTENT), (NEXT, segment(NEXT, size=SIZE))):
        assert (
            wire.run("barman-wal-restore", "-p", "2", "--spool-dir", wire.spool, "host", "main", name, wire.destination)
            == 0
        )
        assert wire.destination.read_bytes() == content


@pytest.mark.parametrize("wire", [OURS_NEAR], indirect=True)
@pytest.mark.parametrize(
    "options", [[], ["--md5"], *([option] for option in OPTIONS if option[1] == "-")], ids=" ".join
)
def test_files_that_wait_are_sent_together_to_either_host(wire, tmp_path, options):
    pg_wal = tmp_path / "pg_wal"
    (pg_wal / "archive_status").mkdir(parents=True)
    names = [name_of(number, size=SIZE) for number in range(1, 5)]
    for name in names:
        (pg_wal / name).write_bytes(segment(name, size=SIZE))
        (pg_wal / "archive_status" / f"{name}.ready").touch()
    for name in names:
        words = ["--batch", "3", "--spool-dir", wire.spool, *options]
        assert wire.run("barman-wal-archive", *words, "host", "main", pg_wal / name) == 0
        (pg_wal / "archive_status" / f"{name}.ready").unlink()
    assert sorted(wire.incoming()) == names
    assert len(wire.calls()) == 2
    for name in names:
        assert wire.run("barman-wal-restore", "--keep-compression", "host", "main", name, wire.destination) == 0
        assert wire.destination.read_bytes() == segment(name, size=SIZE)


def test_the_exit_codes_agree(wire, tmp_path):
    (tmp_path / WAL).write_bytes(CONTENT)
    assert wire.run("barman-wal-archive", "-t", "host", "main", "any") == 0
    # 2 where the pipe to ssh is found broken before its exit code is known
    assert wire.run("barman-wal-archive", "down", "main", tmp_path / WAL) in (2, 3)
    assert wire.run("barman-wal-archive", "host", "nosuch", tmp_path / WAL) in (1, 2)
    assert wire.run("barman-wal-archive", "host", "main", tmp_path) == 2
    assert wire.run("barman-wal-restore", "-t", "host", "main", "any", "any") == 0
    assert wire.run("barman-wal-restore", "host", "main", NEXT, wire.destination) == 1
    assert wire.run("barman-wal-restore", "down", "main", NEXT, wire.destination) == 2
    assert wire.run("barman-wal-restore", "host", "main", "rubbish", wire.destination) == 3
