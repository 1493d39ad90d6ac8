"""Making calls fail or kill: any one of a Python program, found beforehand, or system calls, with strace."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.support.processes import run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.support.homes import BarmanHome
    from tests.support.processes import Result

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


def run_with_fault(
    argv: Sequence[str | Path],
    *,
    calls: str,
    fault: str,
    when: str,
    env: Mapping[str, str],
    cwd: Path,
    threads: bool = False,
    path: Path | None = None,
    log: Path | str = "/dev/null",
    timeout_s: float = 120,
) -> Result:
    """Run argv with a fault injected, and return how it ended; a killed program has status -9.

    calls: system calls, joined by commas ("rename,renameat,renameat2"). fault: "signal=SIGKILL" (the call is not made)
    or "error=ENOSPC". when: the how manyeth of these calls ("3"), or all from there on ("3+"), counted for each process
    and thread by itself. threads: also in its threads and the programs it starts. path: only calls about this file.
    log: where the calls are written, those disturbed marked (INJECTED).
    """
    injection = f"inject={calls}:{fault}:when={when}"
    follow = (["-f"] if threads else []) + ([] if path is None else ["-P", str(path)])
    words = ["strace", *follow, "-qq", "-o", str(log), "-e", f"trace={calls}", "-e", "signal=none", "-e", injection]
    # The calls counted are to be those of the program, not those of Python keeping what it compiled.
    return run([*words, *argv], env={**env, "PYTHONDONTWRITEBYTECODE": "1"}, cwd=cwd, timeout_s=timeout_s)


class Point(NamedTuple):
    """One call of a program: the nth about this place, by all its threads. place: without what differs each time."""

    call: str
    place: str
    nth: int


_FAULT_POINT = Path(__file__).parent / "fault_point"
_KILLED = -9
# Of calls about one and the same place, such as the files of a data directory, these are enough.
_SAMPLES = 4


def find_points(home: BarmanHome, *words: object) -> list[Point]:
    """Run barman undisturbed, and return its calls that change what a crash leaves behind, a few of each kind."""
    result, points = _run_watched(home, words, None, "")
    assert result.status == 0, result
    assert points, "no call was seen"
    chosen = []
    for _, group in itertools.groupby(sorted(points), key=lambda point: point[:2]):
        those = list(group)
        few = {0, 1, len(those) // 2, len(those) - 1}
        chosen += those if len(those) <= _SAMPLES else [those[at] for at in sorted(few)]
    return chosen


def run_to_point(home: BarmanHome, point: Point, fault: str, *words: object) -> Result:
    """Run barman, and have the call at point kill it, or fail; AssertionError if it never comes there.

    fault: "kill", or the name of an error: "EIO". The call is not made.
    """
    result, points = _run_watched(home, words, point, fault)
    assert point in points, f"{point} was not reached\n{result}"
    assert (result.status == _KILLED) == (fault == "kill"), result
    return result


def _run_watched(
    home: BarmanHome, words: Sequence[object], point: Point | None, fault: str
) -> tuple[Result, set[Point]]:
    log = home.directory / "points"
    log.unlink(missing_ok=True)
    plan = json.dumps({"root": str(home.directory), "log": str(log), "target": point, "fault": fault})
    # The calls are to be those of the program, not those of Python keeping what it compiled.
    extra = {"BARMAN_TEST_FAULT_POINT": plan, "PYTHONPATH": str(_FAULT_POINT), "PYTHONDONTWRITEBYTECODE": "1"}
    result = home.run(*words, check=False, env=home.environment(**extra))
    return result, {Point(*json.loads(line)) for line in log.read_text().splitlines()}
