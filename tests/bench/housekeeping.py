"""Deleting a backup with its WAL, the retention policy on a large catalogue, and checking many servers."""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING

from tests.bench.catalogues import add_server, add_wal_files
from tests.bench.measure import interleave, measure, print_table
from tests.bench.subjects import compare
from tests.support.homes import BarmanHome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.bench.measure import Measured

_HEADER = ("case                                            ", "ours, s", "3.19.1, s", "times faster", "ours, CPU s",
           "3.19.1, CPU s", "ours, MiB", "3.19.1, MiB")  # fmt: skip


def main(programs: Mapping[str, Path], scratch: Path, rounds: int) -> None:
    """Print the table."""
    print_table("Housekeeping; PostgreSQL is not running", _HEADER, _rows(programs, scratch, rounds))


def _rows(programs: Mapping[str, Path], scratch: Path, rounds: int) -> Iterator[tuple[object, ...]]:
    cases: dict[str, Callable[[Path, Path], Callable[[], Measured]]] = {
        "delete, 20 000 WAL files": _delete,
        "cron, 1 000 backups, 10^6 WAL, nothing obsolete": partial(_enforce, obsolete=0),
        "cron, 1 000 backups, 10^6 WAL, 20 obsolete": partial(_enforce, obsolete=20),
        "check all, 50 servers": _check,
    }
    for title, prepare in cases.items():
        runs = {
            name: prepare(scratch / f"{name}-{title[:5]}-{len(title)}", bindir) for name, bindir in programs.items()
        }
        found = interleave(runs, rounds)
        cpu, peaks = compare(found, lambda one: one.cpu_s), compare(found, lambda one: one.peak_mib)
        yield (title, *compare(found, lambda one: one.seconds), *cpu[:2], *peaks[:2])


def _delete(directory: Path, programs: Path) -> Callable[[], Measured]:
    """Each run deletes the older one of two backups of a server of its own."""
    home = BarmanHome(directory, programs=programs, log_level="INFO")
    numbers = itertools.count()

    def run() -> Measured:
        server = add_server(home, f"server{next(numbers)}", backups=2, segments=40_000)
        add_wal_files(server, 20_001)
        return measure(home.argv("delete", server.name, "oldest"), home.environment())

    return run


def _enforce(directory: Path, programs: Path, *, obsolete: int) -> Callable[[], Measured]:
    home = BarmanHome(directory, programs=programs, log_level="INFO")
    numbers = itertools.count()

    def run() -> Measured:
        name = f"server{next(numbers)}"
        server = add_server(home, name, backups=1_000, segments=1_000_000, policy=f"REDUNDANCY {1_000 - obsolete}")
        add_wal_files(server, obsolete * 1_000 + 1)
        found = measure(home.argv("cron"), home.environment())
        server.set(active="false")
        return found

    return run


def _check(directory: Path, programs: Path) -> Callable[[], Measured]:
    home = BarmanHome(directory, programs=programs, log_level="INFO")
    for number in range(50):
        add_server(home, f"server{number}", backups=10, segments=10_000)
    return partial(measure, home.argv("check", "all"), home.environment(), expected=1)
