"""A pass of cron that finds nothing to do, for one and for many servers."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from tests.bench.catalogues import add_server
from tests.bench.measure import interleave, measure, print_table
from tests.bench.subjects import compare
from tests.support.homes import BarmanHome
from tests.support.processes import processes_of, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.bench.measure import Measured

_SIZES = ((1, 10, 10_000), (50, 10, 10_000), (1, 500, 1_000_000))


def main(programs: Mapping[str, Path], scratch: Path, rounds: int) -> None:
    """Print the table."""
    header = (
        "servers", "backups each", "xlog.db lines each", "ours, s", "3.19.1, s", "times faster",
        "ours, s until all is quiet", "3.19.1", "ours, MiB", "3.19.1, MiB",
    )  # fmt: skip
    print_table("cron with nothing to do; PostgreSQL is not running", header, _rows(programs, scratch, rounds))


def _rows(programs: Mapping[str, Path], scratch: Path, rounds: int) -> Iterator[tuple[object, ...]]:
    for servers, backups, segments in _SIZES:
        cases = {}
        for name, bindir in programs.items():
            home = BarmanHome(scratch / f"{name}-{servers}-{segments}", programs=bindir, log_level="INFO")
            for number in range(servers):
                add_server(home, f"server{number}", backups=backups, segments=segments)
            cases[name] = partial(_run, home)
        found = interleave(cases, rounds)
        settled = compare(found, lambda one: one.settled_s)
        peaks = compare(found, lambda one: one.peak_mib)
        yield (servers, backups, segments, *compare(found, lambda one: one.seconds), *settled[:2], *peaks[:2])


def _run(home: BarmanHome) -> Measured:
    began = time.monotonic()
    found = measure(home.argv("cron"), home.environment())
    wait_until(lambda: not processes_of(home.directory), "what cron started ends", timeout_s=300, step_s=0.01)
    return replace(found, settled_s=time.monotonic() - began)
