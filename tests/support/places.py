"""Where the tests keep things: a cache that outlives runs, a scratch directory that does not."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]

_ROOMY_BYTES = 4 << 30
_RUN = "BARMAN_TEST_RUN"


def cache_directory() -> Path:
    """Where downloaded PostgreSQLs, the reference and virtual environments are kept between runs.

    BARMAN_TEST_CACHE names it; otherwise root has it where every user can enter, others in their own cache.
    """
    named = os.environ.get("BARMAN_TEST_CACHE")
    if named:
        return Path(named)
    if os.geteuid() == 0:
        return Path("/var/cache/barman-test")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "barman-test"


def is_open_to_all(path: Path) -> bool:
    """Whether any user can reach path: every directory on the way may be traversed."""
    return all(step.stat().st_mode & 0o001 for step in (path.resolve(), *path.resolve().parents) if step.is_dir())


def run_directory() -> Path:
    """The scratch directory of this test run, shared by its worker processes; made on first use.

    In memory when there is room: the tests would otherwise mostly wait for a disk. The name is short because paths
    of Unix sockets below it may have 107 bytes only. BARMAN_TEST_SCRATCH names the directory to make it in.
    """
    known = os.environ.get(_RUN)
    if known:
        return Path(known)
    made = Path(tempfile.mkdtemp(prefix="bt-", dir=os.environ.get("BARMAN_TEST_SCRATCH") or _roomy_place()))
    made.chmod(0o755)
    os.environ[_RUN] = str(made)
    return made


def _roomy_place() -> str:
    memory = "/dev/shm"
    if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _ROOMY_BYTES:
        return memory
    return tempfile.gettempdir()
