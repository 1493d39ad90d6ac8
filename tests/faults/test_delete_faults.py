"""delete is killed at every step, runs out of space, meets broken disks; then it, or cron, runs again.

The surviving backup keeps every file and all its WAL; what is listed as a backup is one; and it converges.
"""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.support import file_systems
from tests.support.catalogs import HISTORY, HandMade, backup_id, label, segment
from tests.support.faults import find_points, needs_strace, run_to_point, run_with_fault
from tests.support.processes import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.faults import Point
    from tests.support.homes import BarmanServer
    from tests.support.processes import Result

pytestmark = pytest.mark.timeout(900)

ROOT, CHILD, SURVIVOR = backup_id(1), backup_id(2), backup_id(3)
ALL_WAL = [segment(1), segment(2), label(2), *(segment(number) for number in range(3, 11)), label(8), HISTORY]
NEEDED = sorted([*(segment(number) for number in range(8, 11)), label(8), HISTORY])

STEPS = {
    "rename": {"rename", "replace"},
    "fsync": {"fsync", "fdatasync"},
    "unlink": {"unlink", "remove", "rmdir"},
}


@pytest.fixture
def make_server(make_home) -> Iterator[Callable[[], BarmanServer]]:
    """Return a function that makes a server with a chain to be deleted and a backup that is to stay."""
    count = itertools.count()

    def make() -> BarmanServer:
        home = make_home(f"home{next(count)}")
        server = home.server(conninfo="host=/nonexistent", archiver="on", backup_method="postgres")
        catalog = catalog_of(server)
        catalog.make_directories()
        catalog.add_backup(1, 2, 3, children_backup_ids=(CHILD,))
        catalog.add_backup(2, 5, 5, parent_backup_id=ROOT)
        catalog.add_backup(3, 8, 9)
        catalog.add_wal(ALL_WAL)
        return server

    return make


def catalog_of(server: BarmanServer) -> HandMade:
    return HandMade(server.directory)


def require_promises(server: BarmanServer) -> None:
    """Whatever happened: nothing needed is lost, and nothing that is no backup any more is called one."""
    catalog = catalog_of(server)
    records = catalog.backups.load()
    assert records[SURVIVOR].is_done
    assert set(NEEDED) <= set(catalog.listed())
    assert set(NEEDED) <= set(catalog.archived())
    assert not [record.damage for record in records.values() if record.damage]
    for record in records.values():
        assert not record.is_done or catalog.is_whole(record), f"{record.backup_id} is listed and not whole"
    doomed = any(record.doomed for record in records.values())
    assert doomed or set(catalog.listed()) == set(catalog.archived()), "the catalogue is not the archive"
    if CHILD in records and not records[CHILD].doomed:
        assert records[ROOT].is_done, "an incremental backup has lost what it is based on"


def require_convergence(server: BarmanServer, *, by_cron: bool) -> None:
    """After a run that nothing disturbs, what was to be deleted is gone without a trace."""
    if by_cron:
        server.home.cron()
        require_promises(server)
        assert not catalog_of(server).backups.deletion_marks()
    # The first run may have come to its end before it was killed.
    again = server.run("delete", ROOT, check=False)
    assert again.status == 0 or "Unknown backup" in again.stderr, again
    require_gone(server)


def require_gone(server: BarmanServer) -> None:
    catalog = catalog_of(server)
    require_promises(server)
    assert sorted(path.name for path in catalog.paths.meta.iterdir()) == [f"{SURVIVOR}-backup.info"]
    assert [path.name for path in catalog.paths.base.iterdir()] == [SURVIVOR]
    assert catalog.archived() == sorted(catalog.listed()) == NEEDED


def run_disturbed(server: BarmanServer, **fault: object) -> Result:
    home = server.home
    return run_with_fault(
        home.argv("delete", "main", ROOT), env=home.environment(), cwd=home.directory, threads=True, **fault
    )


def points_of(server: BarmanServer, step: str) -> list[Point]:
    """Every call of this kind that the deletion makes; server: one with the backup, which is gone afterwards."""
    points = [point for point in find_points(server.home, "delete", "main", ROOT) if point.call in STEPS[step]]
    assert points, "nothing is disturbed"
    return points


@pytest.mark.parametrize("by_cron", [False, True], ids=["again", "cron"])
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_the_next_run_completes_it(make_server, step, by_cron):
    for point in points_of(make_server(), step):
        server = make_server()
        run_to_point(server.home, point, "kill", "delete", "main", ROOT)
        require_promises(server)
        require_convergence(server, by_cron=by_cron)


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
@pytest.mark.parametrize("step", STEPS)
def test_an_error_at_any_step_is_told_and_the_next_run_completes_it(make_server, step, error):
    for point in points_of(make_server(), step):
        server = make_server()
        result = run_to_point(server.home, point, error, "delete", "main", ROOT)
        require_promises(server)
        require_said(server, result)
        require_convergence(server, by_cron=False)


@needs_strace
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_after_an_error_at_any_write_the_next_run_completes_it(make_server, error):
    calls = "write,pwrite64,writev,ftruncate"
    steps = count_calls(make_server(), calls)
    assert steps > 3
    for number in range(1, steps + 1):
        server = make_server()
        run_disturbed(server, calls=calls, fault=f"error={error}", when=str(number))
        require_promises(server)
        require_convergence(server, by_cron=False)


def count_calls(server: BarmanServer, calls: str) -> int:
    """Return how many of these calls a thread of an undisturbed deletion makes at most."""
    home = server.home
    log = home.directory / "calls"
    words = ["strace", "-f", "-qq", "-o", log, "-e", f"trace={calls}", "-e", "signal=none"]
    run([*words, *home.argv("delete", "main", ROOT)], env=home.environment(), cwd=home.directory, check=True)
    return max(Counter(line.split()[0] for line in log.read_text().splitlines()).values())


def require_said(server: BarmanServer, result: Result) -> None:
    """A failure has one line that names the backup or a file of it, and no stack trace; else all is done."""
    assert "Traceback" not in result.text, result
    if result.status == 0:
        require_gone(server)
        return
    assert result.status == 1, result
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("ERROR: ")]
    assert ROOT in line or CHILD in line or "/" in line or segment(1)[:8] in line, f"about what? {line}"
    assert len(line) < 400


@needs_strace
def test_on_a_disk_without_a_free_block_a_backup_can_be_deleted(make_server):
    server = make_server()

    result = run_disturbed(server, calls="write,pwrite64", fault="error=ENOSPC", when="1+", path=mark_of(server))

    assert result.status == 0, result
    require_gone(server)


def mark_of(server: BarmanServer) -> Path:
    return server.directory / "meta"


@pytest.mark.skipif(not file_systems.is_possible("ext4"), reason="no file system can be mounted here")
def test_on_a_really_full_disk_a_backup_can_be_deleted(make_home, tmp_path):
    home = make_home("full")
    server = home.server(conninfo="host=/nonexistent", archiver="on", backup_method="postgres")
    server.directory.mkdir()
    with file_systems.mounted("ext4", server.directory, tmp_path / "image", 8):
        shutil.rmtree(server.directory / "lost+found")
        catalog = catalog_of(server)
        catalog.make_directories()
        catalog.add_backup(1, 2, 3, children_backup_ids=(CHILD,))
        catalog.add_backup(2, 5, 5, parent_backup_id=ROOT)
        catalog.add_backup(3, 8, 9)
        catalog.add_wal(ALL_WAL)
        fill(server.directory / "filling")

        server.run("delete", ROOT)

        require_gone(server)


def fill(path: Path) -> None:
    """Write until not a byte more fits."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 10, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
