"""A server to back up, whose WAL streams in and whose checks pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from barman.catalog.record import parse_record
from tests.support.verify import assert_backup_is_whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from barman.catalog.record import BackupRecord
    from tests.support.clusters import Cluster
    from tests.support.homes import BarmanHome, BarmanServer


@pytest.fixture
def stream(home: BarmanHome) -> Callable[..., BarmanServer]:
    """Makes a server that streams from a cluster, one segment of it archived: stream(cluster, name, **options)."""

    def make(cluster: Cluster, name: str = "main", **options: Any) -> BarmanServer:
        server = home.streaming(cluster, name, **options)
        server.start_streaming(cluster)
        server.close_and_archive(cluster)
        return server

    return make


@pytest.fixture
def record() -> Callable[[BarmanServer, str], BackupRecord]:
    """Reads the record of a backup as it is on disk: record(server, backup_id)."""

    def read(server: BarmanServer, backup_id: str) -> BackupRecord:
        return parse_record((server.directory / "meta" / f"{backup_id}-backup.info").read_text(), backup_id)

    return read


@pytest.fixture
def verify() -> Callable[[Cluster, BarmanServer, str], None]:
    """Compares a plain backup with its manifest: verify(cluster, server, backup_id)."""

    def check(cluster: Cluster, server: BarmanServer, backup_id: str) -> None:
        assert_backup_is_whole(cluster, server.base / backup_id / "data")

    return check
