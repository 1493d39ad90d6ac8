"""Servers with backups, and clusters recovered from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.processes import wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.clusters import Cluster, ClusterMaker
    from tests.support.homes import BarmanHome, BarmanServer


@pytest.fixture
def stream(home: BarmanHome) -> Iterator[Callable[..., BarmanServer]]:
    """Makes a server that streams from a cluster, one segment of it archived: stream(cluster, name, **options)."""
    receivers: list[subprocess.Popen[bytes]] = []

    def make(cluster: Cluster, name: str = "main", **options: Any) -> BarmanServer:
        server = home.streaming(cluster, name, **options)
        receivers.append(home.start("receive-wal", name))
        streaming = "select count(*) from pg_stat_replication where state = 'streaming'"
        wait_until(lambda: cluster.value(streaming) > 0, "WAL is being streamed")
        server.close_and_archive(cluster)
        return server

    yield make
    for receiver in receivers:
        receiver.terminate()
        receiver.communicate(timeout=30)


@pytest.fixture
def recover(clusters: ClusterMaker, scratch: Path) -> Callable[..., Cluster]:
    """Restores a backup and starts it until it has recovered: recover(server, cluster, backup, name, *options)."""

    def run(server: BarmanServer, cluster: Cluster, backup: str, name: str, *words: object) -> Cluster:
        data = server.restore(backup, scratch / name / "data", *words)
        return clusters.recover(cluster.installation, data, name=f"server-{name}")

    return run
