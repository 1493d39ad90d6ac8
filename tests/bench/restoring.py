"""Restores: here and over ssh, of plain, compressed and incremental backups, whole and over what is there already."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from tests.bench.measure import interleave, measure, print_table
from tests.bench.subjects import compare
from tests.support.clusters import ClusterMaker
from tests.support.homes import BarmanHome
from tests.support.installations import choose
from tests.support.processes import wait_until
from tests.support.sshd import Sshd
from tests.support.users import give

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.bench.measure import Measured
    from tests.support.clusters import Cluster
    from tests.support.homes import BarmanServer
    from tests.support.installations import Installation

# Bytes in tables, beside those of a new cluster.
_SHAPES = {"a new cluster": 0, "2 GiB": 2 << 30}
_ROW_BYTES = 1000
_LIMIT_S = 300
# Members of a chain, the full backup included.
_CHAIN = 5


class _Case(NamedTuple):
    """One restore. backup: which of a server's. again: over a directory that is equal already.

    combined_there: on the other host.
    """

    backup: str
    remote: bool
    jobs: int = 1
    again: bool = False
    combined_there: bool = False

    def __str__(self) -> str:
        words = [self.backup, "over ssh" if self.remote else "here", f"{self.jobs} jobs" if self.jobs > 1 else ""]
        words += ["unchanged" if self.again else "", "combined there" if self.combined_there else ""]
        return ", ".join(word for word in words if word)


_PLAIN = [
    _Case("plain", remote, jobs, again)
    for remote in (False, True)
    for jobs, again in ((1, False), (2, False), (1, True))
]
_TARBALLS = [_Case(kind, remote) for kind in ("gzip", "zstd") for remote in (False, True)]
_CHAINS = [*(_Case("chain", remote) for remote in (False, True)), _Case("chain", remote=True, combined_there=True)]


def main(programs: Mapping[str, Path], scratch: Path, rounds: int, scale: float = 1, only: str = "") -> None:
    """Print the tables; scale: of the amount of data. only: cases with this in their name."""
    header = ("restore", "ours, s", "3.19.1, s", "times faster", "ours, MiB", "3.19.1, MiB")
    newest = choose(versions=">= 17", each=False, own_tools=True)
    packed = choose(versions=">= 15", each=False, own_tools=True, built_with=("zstd",))
    programs_there = ":".join(str(installation.tools) for installation in newest)
    sshd = Sshd(scratch / "sshd", PATH=f"{programs_there}:/usr/bin:/bin")
    clusters = ClusterMaker(scratch)
    try:
        for shape, size in _SHAPES.items():
            for installation, all_cases in _pairs(newest, packed, is_new=not size):
                cases = [case for case in all_cases if only in str(case)]
                if not cases:
                    continue
                name = f"{installation}-{size}"
                cluster = clusters.make(installation, name)
                _fill(cluster, int(size * scale))
                rows = _rows(programs, scratch / f"homes-{name}", cluster, sshd.command, cases, rounds)
                print_table(f"restores of {shape} of PostgreSQL {installation.major}", header, rows)
                cluster.stop()
    finally:
        clusters.close()
        sshd.close()


def _pairs(
    newest: Sequence[Installation], packed: Sequence[Installation], *, is_new: bool
) -> Iterator[tuple[Installation, Sequence[_Case]]]:
    """Yield what is restored, by what it takes to make it; of a new cluster the plain backup tells enough."""
    for installation in newest:
        yield installation, _PLAIN if is_new else [*_PLAIN, *_CHAINS]
    for installation in packed:
        if not is_new:
            yield installation, _TARBALLS


def _fill(cluster: Cluster, size: int) -> None:
    """Make tables that compress about as well as those of most databases."""
    cluster.sql("create table filler (id int, body text)")
    noise = "string_agg(md5(i::text || j::text), '') || repeat(' ', 640)"
    cluster.sql(
        f"insert into filler select i, (select {noise} from generate_series(1, 10) j)"
        f" from generate_series(1, {size // _ROW_BYTES}) i"
    )
    cluster.sql("vacuum freeze filler")
    cluster.sql("checkpoint")


def _rows(
    programs: Mapping[str, Path],
    directory: Path,
    cluster: Cluster,
    ssh: str,
    cases: Sequence[_Case],
    rounds: int,
) -> Iterator[tuple[object, ...]]:
    directory.mkdir()
    give(directory)
    # The chain first: of what changes for it each backup before would have to replay, and copy, the WAL.
    kinds = sorted(dict.fromkeys(case.backup for case in cases), key=lambda kind: kind != "chain")
    servers = {name: _server(directory / name, bindir, cluster) for name, bindir in programs.items()}
    backups = {name: {kind: _back_up(server, cluster, kind) for kind in kinds} for name, server in servers.items()}
    for case in cases:
        turns = {
            name: partial(_run, server, backups[name][case.backup], directory / name / "restored", case, ssh)
            for name, server in servers.items()
        }
        for name, server in servers.items():
            if case.again:
                _run(server, backups[name][case.backup], directory / name / "restored", case._replace(again=False), ssh)
        found = interleave(turns, rounds)
        for name in servers:
            _set_aside(directory / name / "restored")
        peaks = compare(found, lambda one: one.peak_mib)
        yield (str(case), *compare(found, lambda one: one.seconds), *peaks[:2])


def _server(directory: Path, programs: Path, cluster: Cluster) -> BarmanServer:
    home = BarmanHome(directory, programs=programs, log_level="INFO")
    server = home.streaming(cluster, directory.name.replace(".", "_"))
    server.start_streaming(cluster)

    def has_archived() -> bool:
        # Barman 3.19 takes no backup before the first segment is archived, and archives that when there is a newer one.
        cluster.switch_wal()
        server.run("archive-wal")
        return bool(server.archived_wals())

    wait_until(has_archived, "a WAL file is archived", step_s=0.5, timeout_s=120)
    return server


def _back_up(server: BarmanServer, cluster: Cluster, kind: str) -> str:
    """Take a backup of a kind, with all its WAL in the archive; return its id."""
    packing = {"gzip": "gzip", "zstd": "zstd"}.get(kind)
    server.set(
        backup_compression=packing,
        backup_compression_location="server" if packing else None,
        backup_compression_format="tar" if packing else None,
    )
    backup = server.backup()
    for number in range(_CHAIN - 1 if kind == "chain" else 0):
        cluster.sql(f"update filler set id = -id where id % 100 = {number}")
        cluster.sql("checkpoint")
        cluster.switch_wal()
        backup = server.backup("--incremental", backup)

    def has_wal() -> bool:
        cluster.switch_wal()
        server.run("archive-wal")
        # Barman 3.19 leaves an incremental one waiting otherwise
        server.run("check-backup", backup)
        return bool(server.json("show-backup", backup)[server.name]["status"] == "DONE")

    wait_until(has_wal, f"WAL of {server.name} is archived", step_s=0.5, timeout_s=120)
    return backup


def _run(server: BarmanServer, backup: str, destination: Path, case: _Case, ssh: str) -> Measured:
    words = ["--jobs", str(case.jobs)]
    if case.remote:
        words += ["--remote-ssh-command", ssh]
    if case.backup != "plain":
        there = case.combined_there or (case.remote and case.backup != "chain")
        staging = give(_made(server.directory.parent / "staging"))
        words += ["--staging-path", str(staging), "--staging-location", "remote" if there else "local"]
    if case.again:
        words.append("--delta-restore")
    elif destination.exists():
        _set_aside(destination)
    argv = server.home.argv("restore", server.name, backup, destination, *words)
    return measure(argv, server.home.environment(), limit_s=_LIMIT_S)


def _set_aside(directory: Path) -> None:
    """Make room, and give the directory another name, until all is removed.

    For minutes after many files were removed ext4 spends more time on a new one than a restore does. Source: Linux,
    fs/ext4/ialloc.c, recently_deleted.
    """
    for path in directory.rglob("*"):
        if path.is_file() and not path.is_symlink():
            os.truncate(path, 0)
    number = sum(1 for other in directory.parent.iterdir() if other.name.startswith("aside-"))
    directory.rename(directory.parent / f"aside-{number}")


def _made(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path
