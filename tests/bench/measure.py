"""Measuring programs in turn, and printing tables."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.users import as_user

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

# A child's peak memory, as the kernel counts it, begins with that of the process it was forked from: this small one.
_STOPWATCH = """
import json, os, sys, time
began = time.monotonic()
pid = os.fork()
if pid == 0:
    silence = os.open(os.devnull, os.O_RDWR)
    os.dup2(silence, 0), os.dup2(silence, 1)
    os.execv(sys.argv[1], sys.argv[1:])
status, usage = os.wait4(pid, 0)[1:]
seconds = time.monotonic() - began
print(json.dumps([os.waitstatus_to_exitcode(status), seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss]))
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of a program. cpu_s: its own and its children's; peak_mib: of the largest of them.

    settled_s: until what it left running in the background had ended, too.
    """

    seconds: float
    cpu_s: float
    peak_mib: float
    settled_s: float


def measure(argv: Sequence[str | Path], env: Mapping[str, str]) -> Measured:
    """Run argv as the unprivileged user and measure it; a failure of it ends the benchmark."""
    command = [sys.executable, "-I", "-S", "-c", _STOPWATCH, *(str(word) for word in argv)]
    ended = subprocess.run(command, env=dict(env), cwd="/", capture_output=True, text=True, check=True, **as_user())
    status, seconds, cpu_s, peak_kib = json.loads(ended.stdout)
    if status:
        raise SystemExit(f"{argv} ended with {status}\n{ended.stderr}")
    return Measured(seconds, cpu_s, peak_kib / 1024, seconds)


def interleave(cases: Mapping[str, Callable[[], Measured]], rounds: int) -> dict[str, Measured]:
    """Run every case rounds times, taking turns; return the median of each figure, by case."""
    runs: dict[str, list[Measured]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            runs[name].append(case())
            sys.stderr.write(f"\r{name}: {runs[name][-1].seconds:.2f} s\033[K")
    return {name: _median(measured) for name, measured in runs.items()}


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows as a Markdown table; floats with as many digits as mean something."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(row[column]) for row in [list(header), *cells]) for column in range(len(header))]
    print(f"\n{title}\n")
    _print_row(header, widths)
    _print_row(["-" * width for width in widths], widths)
    for row in cells:
        _print_row(row, widths)


def _median(runs: Sequence[Measured]) -> Measured:
    return Measured(
        statistics.median(run.seconds for run in runs),
        statistics.median(run.cpu_s for run in runs),
        statistics.median(run.peak_mib for run in runs),
        statistics.median(run.settled_s for run in runs),
    )


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
    return str(value)


def _print_row(row: Sequence[str], widths: Sequence[int]) -> None:
    print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |", flush=True)
