"""What pg_basebackup can be asked to pack, and by which version."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from barman.postgres.base_compression import BaseCompression, base_compression, compression_problems

PG18, PG15, PG14 = 180004, 150018, 140023


@dataclass
class Settings:
    """The options of a server that concern it."""

    backup_compression: str | None = None
    backup_compression_level: int | None = None
    backup_compression_workers: int | None = None
    backup_compression_location: str | None = None
    backup_compression_format: str | None = None


def test_without_backup_compression_there_is_none():
    assert base_compression(Settings(backup_compression_level=5)) is None


def test_what_is_not_said_is_tar_made_by_the_client():
    assert base_compression(Settings("gzip")) == BaseCompression("gzip", location="client", format="tar")


def test_everything_said_is_taken_over():
    settings = Settings("zstd", 5, 2, "server", "plain")
    assert base_compression(settings) == BaseCompression("zstd", 5, 2, "server", "plain")


def test_no_compression_is_always_an_archive():
    assert base_compression(Settings("none", backup_compression_format="plain")) == BaseCompression("none")


@pytest.mark.parametrize(
    ("algorithm", "extension"), [("gzip", "tar.gz"), ("lz4", "tar.lz4"), ("zstd", "tar.zst"), ("none", "tar")]
)
def test_archives_are_named_after_the_algorithm(algorithm, extension):
    assert BaseCompression(algorithm).extension == extension


@pytest.mark.parametrize(
    ("compression", "tool", "server"),
    [
        pytest.param(BaseCompression("gzip", 9), PG14, PG14, id="gzip before 15"),
        pytest.param(BaseCompression("gzip", 0), PG14, PG14, id="gzip 0 before 15"),
        pytest.param(BaseCompression("gzip", -1), PG18, PG18, id="gzip default level"),
        pytest.param(BaseCompression("lz4", 12, None, "server", "plain"), PG15, PG15, id="lz4"),
        pytest.param(BaseCompression("zstd", -131072, 4, "server", "tar"), PG15, PG15, id="zstd"),
        pytest.param(BaseCompression("zstd", 22), PG18, PG14, id="zstd by a newer client"),
        pytest.param(BaseCompression("none", 0), PG14, PG14, id="none"),
        pytest.param(BaseCompression("none", location="server"), PG14, PG14, id="none, wherever"),
        pytest.param(BaseCompression("zstd"), None, None, id="nothing known"),
    ],
)
def test_what_works_has_no_problems(compression, tool, server):
    assert compression_problems(compression, tool_version_num=tool, server_version_num=server) == []


@pytest.mark.parametrize(
    ("compression", "tool", "server", "words"),
    [
        pytest.param(BaseCompression("gzip", 10), PG15, PG15, "level = 10 is out of range for gzip", id="gzip 10"),
        pytest.param(BaseCompression("gzip", 0), PG15, PG15, "level = 0 is out of range for gzip", id="gzip 0"),
        pytest.param(BaseCompression("lz4", 13), PG15, PG15, "out of range for lz4", id="lz4 13"),
        pytest.param(BaseCompression("zstd", 23), PG15, PG15, "out of range for zstd", id="zstd 23"),
        pytest.param(BaseCompression("none", 1), PG15, PG15, "out of range for none", id="none 1"),
        pytest.param(BaseCompression("gzip", workers=2), PG15, PG15, "workers is not possible", id="gzip workers"),
        pytest.param(BaseCompression("zstd", workers=-1), PG15, PG15, "negative", id="zstd workers"),
        pytest.param(BaseCompression("lz4"), PG14, PG14, "requires pg_basebackup 15", id="lz4 by an old client"),
        pytest.param(BaseCompression("zstd", location="server"), PG18, PG14, "requires PostgreSQL 15", id="old server"),
        pytest.param(
            BaseCompression("gzip", location="server"), PG18, PG14, "requires PostgreSQL 15", id="old server 2"
        ),
        pytest.param(
            BaseCompression("gzip", format="plain"), PG15, PG15, "location = server", id="plain by the client"
        ),
    ],
)
def test_what_does_not_work_says_why(compression, tool, server, words):
    problems = compression_problems(compression, tool_version_num=tool, server_version_num=server)
    assert any(words in problem for problem in problems), problems
