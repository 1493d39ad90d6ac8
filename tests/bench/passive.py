"""A passive node: the first copy of a primary, and a tick that finds nothing to do."""

from __future__ import annotations

import os
import shutil
import time
from functools import partial
from typing import TYPE_CHECKING

from tests.bench.measure import Measured, interleave, measure, print_table
from tests.bench.subjects import compare
from tests.support.archiving import archiving_server, listed
from tests.support.catalogs import HandMade, segment
from tests.support.homes import BarmanHome
from tests.support.passive import login_to, passive_server
from tests.support.processes import processes_of, wait_until
from tests.support.wal import page_header

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.support.homes import BarmanServer
    from tests.support.sshd import Sshd

_FILES = 8
_FILE_BYTES = 256 << 20
_SEGMENTS = 2000
# As large as a segment of a busy server is when it is compressed.
_SEGMENT_BYTES = 256 << 10
_CHUNK = 1 << 20
_LIMIT_S = 600


def main(programs: Mapping[str, Path], scratch: Path, rounds: int, *, scale: float = 1) -> None:
    """Print the table. scale: of the files and the segments."""
    logins: list[Sshd] = []
    try:
        primaries = {}
        for name, bindir in programs.items():
            primary = _primary(scratch / f"primary-{name}", bindir, scale)
            logins.append(login_to(primary.home))
            primaries[name] = (primary, logins[-1])
        shown = "" if scale == 1 else f" × {scale:g}"
        title = f"copying a primary with a backup of 2 GiB and {_SEGMENTS} WAL files{shown} over ssh to a passive node"
        print_table(title, ("what", "ours, s", "3.19.1, s", "times faster"), _rows(primaries, scratch, rounds))
    finally:
        for login in logins:
            login.close()


def _primary(directory: Path, programs: Path, scale: float) -> BarmanServer:
    server = archiving_server(BarmanHome(directory, programs=programs, log_level="INFO"))
    made = HandMade(server.directory)
    made.make_directories()
    last = max(2, int(_SEGMENTS * scale))
    record = made.add_backup(1, 1, 2)
    for number in range(_FILES):
        path = made.paths.data_dir(record.backup_id) / "base" / "1" / str(number)
        with path.open("wb") as file:
            for _ in range(max(1, int(_FILE_BYTES * scale) // _CHUNK)):
                file.write(os.urandom(_CHUNK // 4) + bytes(_CHUNK - _CHUNK // 4))
        path.chmod(0o644)
    filling = os.urandom(_SEGMENT_BYTES - len(page_header(segment(1))))
    made.add_wal([segment(number) for number in range(1, last + 1)], lambda name: page_header(name) + filling)
    return server


def _rows(
    primaries: Mapping[str, tuple[BarmanServer, Sshd]], scratch: Path, rounds: int
) -> Iterator[tuple[object, ...]]:
    for jobs in (1, 2):
        first = {
            name: partial(_copy, primary, login, scratch / f"passive-{name}", jobs)
            for name, (primary, login) in primaries.items()
        }
        found = interleave(first, rounds)
        yield (f"first copy, parallel_jobs = {jobs}", *compare(found, lambda one: one.settled_s))
    nothing = {name: partial(_tick, scratch / f"passive-{name}", primary) for name, (primary, _) in primaries.items()}
    found = interleave(nothing, rounds)
    yield ("a tick with nothing to do", *compare(found, lambda one: one.settled_s))


def _copy(primary: BarmanServer, login: Sshd, directory: Path, jobs: int) -> Measured:
    """Copy everything to a new passive node, with as many ticks as it takes, one right after the other."""
    shutil.rmtree(directory, ignore_errors=True)
    home = BarmanHome(directory, programs=primary.home.programs, log_level="INFO")
    node = passive_server(home, primary, login, parallel_jobs=jobs)
    wanted = len(listed(primary))
    began = time.monotonic()
    while True:
        found = _tick(directory, primary)
        has_wal = len(set(listed(node))) == wanted
        if has_wal and all("status=DONE" in path.read_text() for path in (node.directory / "meta").glob("*.info")):
            break
    elapsed = time.monotonic() - began
    return Measured(elapsed, found.cpu_s, found.peak_mib, elapsed)


def _tick(directory: Path, primary: BarmanServer) -> Measured:
    home = _at(directory, primary)
    began = time.monotonic()
    found = measure([home.programs / "barman", "-c", home.conf, "cron"], home.environment(), limit_s=_LIMIT_S)
    wait_until(lambda: not processes_of(directory), "what cron started ends", timeout_s=_LIMIT_S, step_s=0.01)
    return Measured(found.seconds, found.cpu_s, found.peak_mib, time.monotonic() - began)


def _at(directory: Path, primary: BarmanServer) -> BarmanHome:
    return BarmanHome(directory, programs=primary.home.programs, log_level="INFO")
