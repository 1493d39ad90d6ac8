"""list-backups, show-backup and status on one server with a large catalogue: seconds and peak memory."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tests.bench.catalogues import add_server
from tests.bench.measure import interleave, measure, print_table
from tests.bench.subjects import compare
from tests.support.homes import BarmanHome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.bench.measure import Measured

_SIZES = ((1, 0), (50, 10_000), (500, 100_000), (500, 1_000_000))
_COMMANDS = (("list-backups", "main"), ("show-backup", "main", "latest"), ("status", "main"))


def main(programs: Mapping[str, Path], scratch: Path, rounds: int) -> None:
    """Print the table."""
    header = (
        "command     ",
        "backups",
        "xlog.db lines",
        "ours, s",
        "3.19.1, s",
        "times faster",
        "ours, MiB",
        "3.19.1, MiB",
    )
    print_table("One server; PostgreSQL is not running", header, _rows(programs, scratch, rounds))


def _rows(programs: Mapping[str, Path], scratch: Path, rounds: int) -> Iterator[tuple[object, ...]]:
    for backups, segments in _SIZES:
        homes = {name: _home(scratch / f"{name}-{backups}-{segments}", bindir) for name, bindir in programs.items()}
        for home in homes.values():
            add_server(home, "main", backups=backups, segments=segments)
        for words in _COMMANDS:
            found = interleave({name: partial(_run, home, words) for name, home in homes.items()}, rounds)
            seconds, peaks = compare(found, lambda one: one.seconds), compare(found, lambda one: one.peak_mib)
            yield (words[0], backups, segments, *seconds, *peaks[:2])


def _run(home: BarmanHome, words: tuple[str, ...]) -> Measured:
    return measure(home.argv(*words), home.environment())


def _home(directory: Path, programs: Path) -> BarmanHome:
    return BarmanHome(directory, programs=programs, log_level="INFO")
