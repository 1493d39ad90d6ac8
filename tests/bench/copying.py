"""File-level backups: here and over ssh, full and unchanged, of large files and of many small ones."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import TYPE_CHECKING

from tests.bench.measure import interleave, measure, print_table
from tests.bench.subjects import compare
from tests.support.clusters import ClusterMaker
from tests.support.homes import BarmanHome
from tests.support.installations import choose
from tests.support.processes import wait_until
from tests.support.sshd import Sshd
from tests.support.users import give

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.bench.measure import Measured
    from tests.support.clusters import Cluster
    from tests.support.homes import BarmanServer

# Files, and the bytes of each.
_SHAPES = {"2 GiB": (8, 256 << 20), "100 000 files": (100_000, 8192)}
_CHUNK = 1 << 20
_LIMIT_S = 300
_AGE_S = 3600
_LINK = {"reuse_backup": "link"}
_CASES: Mapping[str, tuple[bool, Mapping[str, object]]] = {
    "here, full": (False, {}),
    "here, full, 2 jobs": (False, {"parallel_jobs": 2}),
    "here, unchanged": (False, _LINK),
    "ssh, full": (True, {}),
    "ssh, full, 2 jobs": (True, {"parallel_jobs": 2}),
    "ssh, full, compressed": (True, {"network_compression": "true"}),
    "ssh, unchanged": (True, _LINK),
}


def main(programs: Mapping[str, Path], scratch: Path, rounds: int, *, scale: float = 1, only: str = "") -> None:
    """Print the tables. scale: of the shapes' number of files. only: those cases that have it in their name."""
    header = ("backup", "ours, s", "3.19.1, s", "times faster", "ours, MiB", "3.19.1, MiB")
    sshd = Sshd(scratch / "sshd")
    clusters = ClusterMaker(scratch)
    try:
        for shape, (files, size) in _SHAPES.items():
            cluster = clusters.make(choose(each=False)[0], shape.replace(" ", ""))
            _fill(cluster, max(1, int(files * scale)), size)
            rows = _rows(programs, scratch / f"homes-{files}", cluster, sshd.command, rounds, only)
            title = f"backups of a cluster of {shape}{'' if scale == 1 else f' × {scale:g}'}, copied with rsync"
            print_table(title, header, rows)
            cluster.stop()
    finally:
        clusters.close()
        sshd.close()


def _fill(cluster: Cluster, files: int, size: int) -> None:
    """Put files into the data directory that compress about as well as tables do."""
    directory = _made(cluster.data / "base" / "bench")
    for number in range(files):
        with (directory / str(number)).open("wb") as file:
            for offset in range(0, size, _CHUNK):
                amount = min(_CHUNK, size - offset)
                noise = os.urandom(amount // 4)
                file.write((noise + b"\0" * amount)[:amount])
        give(directory / str(number), 0o600)
    # As those of a cluster that was there before: what was written just before a backup is compared by the next one.
    for path in cluster.data.rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - _AGE_S,) * 2)


def _made(path: Path) -> Path:
    path.mkdir()
    return give(path, 0o700)


def _rows(
    programs: Mapping[str, Path], directory: Path, cluster: Cluster, ssh: str, rounds: int, only: str
) -> Iterator[tuple[object, ...]]:
    directory.mkdir()
    give(directory)
    servers = {name: _server(directory / name, bindir, cluster) for name, bindir in programs.items()}
    for case, (is_remote, options) in _CASES.items():
        if only not in case:
            continue
        cases = {name: partial(_run, server, ssh if is_remote else None, options) for name, server in servers.items()}
        found = interleave(cases, rounds)
        peaks = compare(found, lambda one: one.peak_mib)
        yield (case, *compare(found, lambda one: one.seconds), *peaks[:2])


def _server(directory: Path, programs: Path, cluster: Cluster) -> BarmanServer:
    home = BarmanHome(directory, programs=programs, log_level="INFO")
    server = home.copying(cluster, directory.name.replace(".", "_"))
    server.start_streaming(cluster)

    def has_wal() -> bool:
        # Barman 3.19 archives a segment when there is a newer one.
        cluster.switch_wal()
        server.run("archive-wal")
        return bool(server.archived_wals())

    wait_until(has_wal, "WAL is archived", step_s=0.5)
    server.run("backup")
    return server


def _run(server: BarmanServer, ssh: str | None, options: Mapping[str, object]) -> Measured:
    defaults = {"parallel_jobs": None, "reuse_backup": None, "network_compression": None}
    method = {"backup_method": "local-rsync" if ssh is None else "rsync", "ssh_command": ssh}
    server.set(**{**defaults, **method, **options})
    found = measure(server.home.argv("backup", server.name), server.home.environment(), limit_s=_LIMIT_S)
    server.run("delete", server.backup_ids()[-1])
    return found
