"""barman ends while one of its hook scripts runs: killed, asked to end, or because the script never does.

What the hook was about is as before, or done; every other backup and its WAL keep every byte; the next run ends well.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support import wal
from tests.support.catalogs import HandMade, backup_id, segment
from tests.support.processes import is_alive, wait_until
from tests.support.users import give

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.support.homes import BarmanServer
    from tests.support.processes import Result

pytestmark = pytest.mark.timeout(900)

PLACES = [("pre", "script"), ("pre", "retry_script"), ("post", "retry_script"), ("post", "script")]
FIRST, SECOND = backup_id(1), backup_id(2)
KILL, TERM, INT = signal.SIGKILL, signal.SIGTERM, signal.SIGINT


class Striking:
    """Hook scripts that end the barman that runs them, once each, and then leave it in peace."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def script(self, option: str, number: signal.Signals) -> str:
        """Shell text for option; PPID is the barman that runs it."""
        mark = self._directory / f"{option}-{number.name}"
        strike = f"touch {mark}; echo $$ > {mark}.pid; kill -{number.value} $PPID; sleep 100"
        return f"test -e {mark} || {{ {strike}; }}"

    def require_over(self, option: str, number: signal.Signals) -> None:
        """The hook has run, and ended with its barman."""
        pid = int((self._directory / f"{option}-{number.name}.pid").read_text())
        wait_until(lambda: not is_alive(pid), "the hook has ended, too", timeout_s=60)

    def forget(self, option: str, number: signal.Signals) -> None:
        """The hook will strike again."""
        (self._directory / f"{option}-{number.name}").unlink()


@pytest.fixture
def striking(scratch) -> Striking:
    directory = scratch / "striking"
    directory.mkdir()
    give(directory)
    return Striking(directory)


def require_ended(result: Result, number: signal.Signals) -> None:
    told = {TERM: "ERROR: terminated\n", INT: "ERROR: interrupted\n"}
    assert (result.status, result.stderr) == ((-KILL, "") if number is KILL else (1, told[number])), result


def content_of(server: BarmanServer) -> Mapping[Path, bytes]:
    """Every file of the second backup, its record and its WAL, with what is in it."""
    paths = HandMade(server.directory).paths
    wal = [path for path in paths.wals.rglob(f"{segment(5)[:8]}*") if path.name >= segment(5) and path.is_file()]
    data = [path for path in paths.backup_dir(SECOND).rglob("*") if path.is_file()]
    return {path: path.read_bytes() for path in (*wal, *data, paths.record_file(SECOND))}


@pytest.mark.parametrize("number", [KILL, TERM, INT], ids=lambda number: number.name)
@pytest.mark.parametrize("event", ["delete", "wal_delete"])
@pytest.mark.parametrize("by_cron", [False, True], ids=["by hand", "cron"])
def test_a_deletion(make_home, striking, number, event, by_cron):
    for phase, kind in PLACES:
        option = f"{phase}_{event}_{kind}"
        home = make_home(option)
        server = home.server(conninfo="host=/nonexistent", archiver="on", backup_method="postgres")
        server.set(retention_policy="REDUNDANCY 1", **{option: striking.script(f"{option}", number)})
        catalog = HandMade(server.directory)
        catalog.make_directories()
        catalog.add_backup(1, 2, 3)
        catalog.add_backup(2, 5, 6)
        catalog.add_wal(segment(one) for one in range(1, 9))
        words = ["cron"] if by_cron else ["delete", "main", FIRST]
        before = content_of(server)

        require_ended(home.run(*words, check=False), number)

        striking.require_over(option, number)
        assert content_of(server) == before
        record = catalog.backups.load().get(FIRST)
        assert record is None or record.doomed or catalog.is_whole(record)
        assert (record is not None and not record.doomed) == (option.startswith("pre_delete"))
        again = home.run(*words, check=False)
        assert again.status == 0 or (record is None and "Unknown backup" in again.stderr), again
        assert content_of(server) == before
        assert sorted(path.name for path in catalog.paths.meta.iterdir()) == [f"{SECOND}-backup.info"]
        assert catalog.archived() == sorted(catalog.listed()) == [segment(one) for one in range(5, 9)]
        striking.forget(option, number)


@pytest.mark.parametrize("number", [KILL, TERM], ids=lambda number: number.name)
def test_archiving(home, striking, number):
    options = {
        option: striking.script(option, number) for option in (f"{phase}_archive_{kind}" for phase, kind in PLACES)
    }
    server = home.server(conninfo="host=/nonexistent", archiver="on", backup_method="postgres", **options)
    HandMade(server.directory).make_directories()
    names = [wal.name_of(one, size=16 << 20) for one in range(2, 5)]
    for name in names:
        path = server.incoming / name
        path.write_bytes(wal.segment(name, size=16 << 20))
        give(path)
    contents = {name: (server.incoming / name).read_bytes() for name in names}

    for option in options:
        require_ended(server.run("archive-wal", check=False), number)
        striking.require_over(option, number)
        for name in names:
            found = [path for path in (server.incoming / name, server.wals / name[:16] / name) if path.exists()]
            assert found
            assert all(path.read_bytes() == contents[name] for path in found)

    server.run("archive-wal")
    assert {name: (server.wals / name[:16] / name).read_bytes() for name in names} == contents
    assert HandMade(server.directory).listed() == names
    assert list(server.incoming.iterdir()) == []


def test_a_backup_and_a_restore(cluster, home, striking, scratch):
    options = {
        option: striking.script(option, KILL)
        for option in (f"{phase}_{event}_{kind}" for event in ("backup", "recovery") for phase, kind in PLACES)
    }
    server = home.archiving(cluster, **options)

    def good(one: str) -> Path:
        return server.base / one / "data" / "PG_VERSION"

    for option in (option for option in options if "backup" in option):
        require_ended(server.run("backup", check=False), KILL)
        striking.require_over(option, KILL)
        for line in server.json("list-backups")["main"]:
            assert line["status"] in {"STARTED", "EMPTY", "FAILED", "WAITING_FOR_WALS", "DONE"}
            assert line["status"] not in {"WAITING_FOR_WALS", "DONE"} or good(line["backup_id"]).exists()
    backup = server.backup("--wait", "--wait-timeout", "100")
    home.cron()
    statuses = {line["backup_id"]: line["status"] for line in server.json("list-backups")["main"]}
    assert statuses[backup] == "DONE"
    assert set(statuses.values()) <= {"DONE", "FAILED", "WAITING_FOR_WALS"}

    for option in (option for option in options if "recovery" in option):
        destination = scratch / ("restored" if "pre" in option else option)
        require_ended(server.run("restore", backup, destination, "--target-immediate", check=False), KILL)
        striking.require_over(option, KILL)
        assert not destination.exists() or "post" in option
    server.restore(backup, scratch / "restored", "--target-immediate")
    assert (scratch / "restored" / "PG_VERSION").read_text() == good(backup).read_text()


def test_a_hook_that_never_ends_is_stopped_after_hook_timeout_and_the_deletion_goes_on(home, scratch):
    started = scratch / "started"
    give(scratch)
    script = f"sleep 1000 & echo $! >> {started}; wait"
    server = home.server(
        conninfo="host=/nonexistent", archiver="on", backup_method="postgres", hook_timeout=1, pre_delete_script=script,
        post_wal_delete_script=script,
    )  # fmt: skip
    catalog = HandMade(server.directory)
    catalog.make_directories()
    catalog.add_backup(1, 2, 3)
    catalog.add_backup(2, 5, 6)
    catalog.add_wal(segment(one) for one in range(4, 9))

    server.run("delete", FIRST)

    assert sorted(catalog.backups.load()) == [SECOND]
    assert "did not end within 1 seconds" in home.log_text()
    pids = [int(pid) for pid in started.read_text().split()]
    assert len(pids) == 2
    assert not [pid for pid in pids if is_alive(pid)]
    assert os.listdir(server.directory / "meta") == [f"{SECOND}-backup.info"]
