"""A WAL archive with a backup and a source that still has its WAL, and what one does to such an archive."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.support.archiving import stored

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.clusters import Cluster, ClusterMaker
    from tests.support.homes import BarmanHome, BarmanServer
    from tests.support.installations import Installation

MIB = 1 << 20


class Archived(NamedTuple):
    """names: the segments behind the backup, at least 8; contents: what they held."""

    server: BarmanServer
    cluster: Cluster
    names: list[str]
    contents: dict[str, bytes]


def make_archived(
    home: BarmanHome, clusters: ClusterMaker, installation: Installation, *, keeping: bool = True, **options: object
) -> Archived:
    """Make a server with a backup and segments of 1 MiB behind it. keeping: whether its pg_wal keeps them."""
    settings = {"wal_keep_size": "200MB"} if keeping else {"min_wal_size": "2MB", "max_wal_size": "2MB"}
    cluster = clusters.make(installation, segment_size=MIB, settings=settings)
    server = home.delivering(cluster, "main", compression="gzip", **options)
    server.backup()
    first = server.close_and_archive(cluster)
    cluster.sql("create table filler as select n, md5(n::text) as text from generate_series(1, 120000) n")
    server.close_and_archive(cluster)
    names = [name for name in server.archived_wals() if len(name) == 24 and name > first]
    return Archived(server, cluster, names, {name: content_of(server, name) for name in names})


def content_of(server: BarmanServer, name: str) -> bytes:
    """Return what a file of the archive holds, as get-wal gives it."""
    target = server.home.directory / name
    server.run("get-wal", "-o", target.parent, name)
    content = target.read_bytes()
    target.unlink()
    return content


def verify(server: BarmanServer, *words: object) -> tuple[int, Any]:
    """Run verify-wal; return its exit status and what it found."""
    result = server.home.run("-f", "json", "verify-wal", "main", *words, check=False)
    return result.status, result.json()["main"]


def remove(server: BarmanServer, *names: str) -> None:
    """Remove files with their lines, as if they had never come."""
    for name in names:
        stored(server, name).unlink()
    server.run("rebuild-xlogdb")


def damage(server: BarmanServer, name: str) -> bytes:
    """Cut a file of the archive short; return what is left of it."""
    path: Path = stored(server, name)
    os.truncate(path, path.stat().st_size - 100)
    return path.read_bytes()
