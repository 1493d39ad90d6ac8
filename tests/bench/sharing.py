"""The space of a backup of a cluster of which one page in a hundred has changed, on XFS (reuse_backup = reflink)."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from tests.bench.measure import measure, print_table
from tests.bench.subjects import OURS
from tests.support import file_systems
from tests.support.clusters import ClusterMaker
from tests.support.homes import BarmanHome
from tests.support.installations import choose
from tests.support.sharing import change_pages, fill_with_pages
from tests.support.sshd import Sshd
from tests.support.users import give

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.support.clusters import Cluster
    from tests.support.homes import BarmanServer

_CLUSTER_MIB = 1024
# One page in so many is changed.
_ONE_IN = 100
_LIMIT_S = 300
_CASES = {
    "here, link": (False, "link"),
    "here, reflink": (False, "reflink"),
    "ssh, link": (True, "link"),
    "ssh, reflink": (True, "reflink"),
}


def main(programs: Mapping[str, Path], scratch: Path, rounds: int, *, scale: float = 1, only: str = "") -> None:
    """Print the table. scale: of the cluster's size. only: those cases that have it in their name."""
    size_mib = max(16, int(_CLUSTER_MIB * scale))
    disk = scratch / "disk"
    disk.mkdir()
    sshd = Sshd(scratch / "sshd")
    clusters = ClusterMaker(scratch)
    try:
        with file_systems.mounted("xfs", disk, scratch / "image", 512 + 4 * size_mib):
            cluster = clusters.make(choose(each=False)[0], "pages")
            fill_with_pages(cluster, size_mib)
            server = _server(scratch / "home", programs[OURS], disk, cluster)
            header = ("backup", "cluster, MiB", "changed pages, MiB", "new on disk, MiB", "of the cluster, %", "s")
            title = f"what a backup adds, on XFS, when 1 page in {_ONE_IN} of a table has changed"
            print_table(title, header, _rows(server, disk, cluster, sshd.command, only))
            cluster.stop()
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        if "mount" not in str(error) and "mkfs" not in str(error):
            raise
        print(f"\nNOT MEASURED: what shared blocks save needs root, mkfs.xfs and loop devices ({error})", flush=True)
    finally:
        clusters.close()
        sshd.close()


def _rows(server: BarmanServer, disk: Path, cluster: Cluster, ssh: str, only: str) -> Iterator[tuple[object, ...]]:
    for number, (case, (is_remote, reuse)) in enumerate(_CASES.items(), 1):
        if only not in case:
            continue
        way = {"backup_method": "rsync", "ssh_command": ssh} if is_remote else {"backup_method": "local-rsync"}
        server.set(reuse_backup=reuse, **way)
        server.run("backup")
        changed = change_pages(cluster, _ONE_IN, row=number)
        before = file_systems.used_bytes(disk)
        measured = measure(server.home.argv("backup", server.name), server.home.environment(), limit_s=_LIMIT_S)
        added = file_systems.used_bytes(disk) - before
        size = int(cluster.value("select sum(pg_database_size(oid))::bigint from pg_database"))
        yield case, size >> 20, changed >> 20, added / (1 << 20), 100 * added / size, measured.seconds
        for backup_id in server.backup_ids():
            server.run("delete", backup_id)


def _server(directory: Path, programs: Path, disk: Path, cluster: Cluster) -> BarmanServer:
    """A server whose backups, and nothing else, are on the disk that is looked at."""
    directory.mkdir()
    give(directory)
    home = BarmanHome(directory, programs=programs, log_level="INFO")
    server = home.copying(cluster, "pages", basebackups_directory=disk)
    server.start_streaming(cluster)
    server.close_and_archive(cluster)
    return server
