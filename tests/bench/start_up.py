"""How long commands take to start: --version, the help of every command, list-servers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from barman.cli.registry import COMMANDS
from tests.bench.catalogues import add_server
from tests.bench.measure import interleave, measure, print_table
from tests.bench.subjects import compare
from tests.support.homes import BarmanHome
from tests.support.processes import run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.bench.measure import Measured


def main(programs: Mapping[str, Path], scratch: Path, rounds: int) -> None:
    """Print the table."""
    homes = {name: BarmanHome(scratch / name, programs=bindir) for name, bindir in programs.items()}
    for home in homes.values():
        add_server(home, "main", backups=1, segments=10)
    calls = [["barman", "--version"], ["barman", "list-servers"]]
    calls += [[program, "--help"] for program in ("barman-wal-archive", "barman-wal-restore")]
    calls += [["barman", command.name, "--help"] for command in COMMANDS]
    header = (f"{'command':35}", "ours", "3.19.1", "times faster")
    print_table("Start-up, milliseconds", header, (_row(homes, call, rounds) for call in calls))


def _row(homes: Mapping[str, BarmanHome], call: list[str], rounds: int) -> tuple[object, ...]:
    able = {name: partial(_run, home, call) for name, home in homes.items() if _can(home, call)}
    return (" ".join(call), *compare(interleave(able, rounds), lambda one: one.seconds * 1000))


def _run(home: BarmanHome, call: list[str]) -> Measured:
    return measure(_argv(home, call), home.environment())


def _can(home: BarmanHome, call: list[str]) -> bool:
    return run(_argv(home, call), env=home.environment()).status == 0


def _argv(home: BarmanHome, call: list[str]) -> list[str]:
    program, *words = call
    return [str(home.programs / program), *words]
