"""Making system calls fail or kill, with strace."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

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
