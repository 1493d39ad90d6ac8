"""Restores: here and over ssh, of plain, compressed and incremental backups, whole and over what is there already."""

from __future__ import annotations

import os
import shutil
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
_CHAIN = 5


class _Case(NamedTuple):
    """One restore. backup: which of a server's. again: over a directory that is equal already."""

    backup: str
    remote: bool
    jobs: int = 1
    again: bool = False

    def __str__(self) -> str:
        words = [self.backup, "over ssh" if self.remote else "here", f"{self.jobs} jobs" if self.jobs > 1 else ""]
        return ", ".join(word for word in (*words, "unchanged" if self.again else "") if word)


_PLAIN = [_Case("plain", remote, jobs, again) for remote in (False, True) for jobs, again in ((1, 0), (2, 0), (1, 1))]
_TARBALLS = [_Case(kind, remote) for kind in ("gzip", "zstd") for remote in (False, True)]
_CHAINS = [_Case("chain", remote) for remote in (False, True)]


def main(programs: Mapping[str, Path], scratch: Path, rounds: int, scale: float = 1) -> None:
    """Print the tables; scale: of the amount of data."""
    header = ("restore", "ours, s", "3.19.1, s", "times faster", "ours, MiB", "3.19.1, MiB")
    newest, packed = _newest(), _packed()
    sshd = Sshd(scratch / "sshd")
    clusters = ClusterMaker(scratch)
    try:
        for number, (shape, size) in enumerate(_SHAPES.items()):
            for installation, cases in ((newest, [*_PLAIN, *_CHAINS]), (packed, _TARBALLS)):
                if installation is None or not (size or cases is not _TARBALLS):
                    continue
                name = f"{number}-{installation.major}"
                cluster = clusters.make(installation, f"cluster-{name}")
                _fill(cluster, int(size * scale))
                rows = _rows(programs, scratch / f"homes-{name}", cluster, sshd.command, cases, rounds)
                print_table(f"restores of {shape}, PostgreSQL {installation.major}", header, rows)
                cluster.stop()
    finally:
        clusters.close()
        sshd.close()


def _newest() -> Installation | None:
    """One that can combine backups."""
    found = [one for one in choose(each=True) if one.major >= 17 and one.has_own_tools]
    return found[-1] if found else None


def _packed() -> Installation | None:
    """One that can compress with zstd."""
    found = [one for one in choose(each=True) if one.major >= 15 and "zstd" in one.built_with]
    return found[-1] if found else None
