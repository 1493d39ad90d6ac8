"""The implementation this one replaces, run as a black box by compatibility tests and benchmarks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

from tests.support.places import cache_directory

VERSION = "3.19.1"
_REQUIREMENT = f"barman[zstandard,lz4,snappy]=={VERSION}"


def reference_programs() -> Path | None:
    """Return the directory of its programs, installed into the test cache on first use; None if that fails.

    BARMAN_TEST_REFERENCE names a directory where they already are.
    """
    named = os.environ.get("BARMAN_TEST_REFERENCE")
    if named:
        return Path(named)
    place = cache_directory() / f"reference-{VERSION}"
    bindir = place / "bin"
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(place.with_suffix(".lock")):
        mark = place / "complete"
        if (not mark.exists() or mark.read_text() != _REQUIREMENT) and not _install(place):
            return None
    return bindir


def _install(place: Path) -> bool:
    steps = [
        [sys.executable, "-m", "venv", "--clear", str(place)],
        [str(place / "bin" / "pip"), "install", "--quiet", _REQUIREMENT],
    ]
    for step in steps:
        if subprocess.run(step, check=False, capture_output=True, umask=0o022).returncode:
            return False
    (place / "complete").write_text(_REQUIREMENT)
    return True
