"""Measuring programs in turn, and printing tables."""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.users import as_user

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

LIMIT_S = 60

# A child's peak memory, as the kernel counts it, begins with that of the process it was forked from: this small one.
# The alarm outlives exec, and nobody handles it: it ends what takes too long.
_STOPWATCH = """
import json, os, signal, sys, time
began = time.monotonic()
pid = os.fork()
if pid == 0:
    silence = os.open(os.devnull, os.O_RDWR)
    os.dup2(silence, 0), os.dup2(silence, 1)
    signal.alarm(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
status, usage = os.wait4(pid, 0)[1:]
cpu_s = usage.ru_utime + usage.ru_stime
print(json.dumps([os.waitstatus_to_exitcode(status), time.monotonic() - began, cpu_s, usage.ru_maxrss]))
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of a program. cpu_s: of all its processes. peak_mib: memory of the largest of them.

    settled_s: until what it left running in the background had ended, too. is_over: it was stopped.
    """

    seconds: float
    cpu_s: float
    peak_mib: float
    settled_s: float
    is_over: bool = False


def measure(
    argv: Sequence[str | Path], env: Mapping[str, str], *, expected: int = 0, limit_s: int = LIMIT_S
) -> Measured:
    """Run argv as the unprivileged user and measure it, for limit_s; another exit status than expected ends it all."""
    command = [sys.executable, "-I", "-S", "-c", _STOPWATCH, str(limit_s), *(str(word) for word in argv)]
    ended = subprocess.run(command, env=dict(env), cwd="/", capture_output=True, text=True, check=True, **as_user())
    status, seconds, cpu_s, peak_kib = json.loads(ended.stdout)
    if status not in {expected, -signal.SIGALRM}:
        raise SystemExit(f"{argv} ended with {status}\n{ended.stderr}")
    return Measured(seconds, cpu_s, peak_kib / 1024, seconds, is_over=status == -signal.SIGALRM)


def interleave(cases: Mapping[str, Callable[[], Measured]], rounds: int) -> dict[str, Measured]:
    """Run every case rounds times, taking turns; return the median of each figure, by case.

    What takes longer than its limit is not tried again.
    """
    runs: dict[str, list[Measured]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            if not any(run.is_over for run in runs[name]):
                runs[name].append(case())
    return {name: _median(measured) for name, measured in runs.items()}


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a Markdown table, each row as soon as rows yields it; floats with as many digits as mean something."""
    widths = [len(name) for name in header]
    print(f"\n{title}\n")
    _print_row(header, widths)
    _print_row(["-" * width for width in widths], widths)
    for row in rows:
        _print_row([_cell(value) for value in row], widths)


def _median(runs: Sequence[Measured]) -> Measured:
    return Measured(
        statistics.median(run.seconds for run in runs),
        statistics.median(run.cpu_s for run in runs),
        statistics.median(run.peak_mib for run in runs),
        statistics.median(run.settled_s for run in runs),
        runs[-1].is_over,
    )


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
    return str(value)


def _print_row(row: Sequence[str], widths: Sequence[int]) -> None:
    print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |", flush=True)
