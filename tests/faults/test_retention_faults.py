"""cron is killed, or meets errors, at every step of what retention does; and the disk it is to free is full.

Whatever happened, the backups the policy wants and those that are kept have every byte, with their WAL; the next pass
ends where an undisturbed one would have.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from barman.catalog.record import KeepTarget, Status
from tests.support import file_systems
from tests.support.catalogs import HandMade, backup_id, label, segment
from tests.support.faults import needs_strace, run_with_fault
from tests.support.homes import BarmanHome
from tests.support.processes import run
from tests.support.users import give

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from tests.support.homes import BarmanServer

pytestmark = pytest.mark.timeout(1800)

KEPT, ROOT, CHILD, WRECK, OLD, NEW = (backup_id(number) for number in range(1, 7))
POLICY = "REDUNDANCY 1"
STEPS = {
    "rename": "rename,renameat,renameat2",
    "fsync": "fsync,fdatasync",
    "unlink": "unlink,unlinkat,rmdir",
    "write": "write,pwrite64,writev,ftruncate",
}
_POINTS = 8
STAYS = [segment(2), label(2), segment(3), *(segment(number) for number in range(20, 24))]


def make_server(home: BarmanHome) -> BarmanServer:
    """A server of which the policy wants the newest backup; an older one is kept for itself."""
    server = home.server(conninfo="host=/nonexistent", archiver="on", backup_method="postgres", retention_policy=POLICY)
    catalog = HandMade(server.directory)
    catalog.make_directories()
    catalog.add_backup(1, 2, 3)
    catalog.add_backup(2, 6, 7, children_backup_ids=(CHILD,))
    catalog.add_backup(3, 9, 9, parent_backup_id=ROOT)
    catalog.add_backup(4, 11, 11, status=Status.FAILED, error="no space left on device")
    catalog.add_backup(5, 13, 14)
    catalog.add_backup(6, 20, 21)
    catalog.add_wal([segment(1), segment(2), label(2), *(segment(number) for number in range(3, 24))])
    catalog.backups.set_keep(KEPT, KeepTarget.STANDALONE)
    give(catalog.paths.meta / f"{KEPT}-keep")
    return server


def content_that_stays(server: BarmanServer) -> Mapping[Path, bytes]:
    """Every file of the backups that are to stay, with their records and WAL."""
    paths = HandMade(server.directory).paths
    files = [path for one in (KEPT, NEW) for path in paths.backup_dir(one).rglob("*") if path.is_file()]
    files += [paths.record_file(KEPT), paths.record_file(NEW), paths.meta / f"{KEPT}-keep"]
    files += [path for path in paths.wals.rglob("0*") if path.name in STAYS]
    return {path: path.read_bytes() for path in files}


def require_promises(server: BarmanServer, before: Mapping[Path, bytes]) -> None:
    catalog = HandMade(server.directory)
    assert content_that_stays(server) == before
    assert set(STAYS) <= set(catalog.listed())
    records = catalog.backups.load()
    assert not [record.damage for record in records.values() if record.damage]
    for record in records.values():
        assert not record.is_done or catalog.is_whole(record), f"{record.backup_id} is listed and not whole"
    if CHILD in records and not records[CHILD].doomed:
        assert records[ROOT].is_done, "an incremental backup has lost what it is based on"


def require_converged(server: BarmanServer, before: Mapping[Path, bytes]) -> None:
    server.home.cron()
    require_promises(server, before)
    catalog = HandMade(server.directory)
    assert sorted(catalog.backups.load()) == [KEPT, NEW]
    assert sorted(os.listdir(catalog.paths.base)) == [KEPT, NEW]
    assert sorted(os.listdir(catalog.paths.meta)) == sorted(
        [f"{KEPT}-backup.info", f"{KEPT}-keep", f"{NEW}-backup.info"]
    )
    assert catalog.archived() == sorted(catalog.listed()) == sorted(STAYS)


@needs_strace
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_many_steps(make_home, step):
    sweep(make_home, STEPS[step], "signal=SIGKILL", ends={-9})


@needs_strace
@pytest.mark.parametrize(("step", "error"), [("rename", "ENOSPC"), ("fsync", "ENOSPC"), ("unlink", "EIO")])
def test_an_error_at_many_steps(make_home, step, error):
    sweep(make_home, STEPS[step], f"error={error}", ends={0, 1})


def sweep(make_home, calls: str, fault: str, *, ends: Collection[int]) -> None:
    """Disturb retention at steps spread over all it takes, the first and the last among them."""
    home = make_home("undisturbed")
    server = make_server(home)
    before = content_that_stays(server)
    log = home.directory / "calls"
    words = ["strace", "-qq", "-o", log, "-e", f"trace={calls}", "-e", "signal=none", *home.argv("cron")]
    run(words, env=home.environment(PYTHONDONTWRITEBYTECODE="1"), cwd=home.directory, check=True)
    require_converged(server, before)
    # Each kind of call is counted by itself.
    steps = max(Counter(line.partition("(")[0] for line in log.read_text().splitlines()).values())
    assert steps > 1
    for number in sorted({1, *range(2, steps, -(-steps // _POINTS)), steps}):
        home = make_home(f"home{number}")
        server = make_server(home)
        before = content_that_stays(server)
        result = run_with_fault(
            home.argv("cron"), calls=calls, fault=fault, when=str(number), env=home.environment(), cwd=home.directory
        )
        assert "Traceback" not in result.text, result
        # The last steps may be missing in a run that meets other times.
        assert result.status in ends or number > steps - 3, result
        require_promises(server, before)
        require_converged(server, before)


def test_a_disk_that_is_full_with_all_that_barman_has_is_freed(scratch):
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    disk = scratch / "disk"
    disk.mkdir()
    with file_systems.small_disk(disk, "size=6m"):
        # Configuration, log, locks and catalogue: not a byte is left for any of them.
        server = make_server(BarmanHome(disk / "barman"))
        before = content_that_stays(server)
        fill(disk / "filling")

        result = server.home.run("cron", check=False)

        assert "Traceback" not in result.text
        require_converged(server, before)


def fill(path: Path) -> None:
    """Write until not a byte more fits."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
