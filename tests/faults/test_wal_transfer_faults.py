"""Sending WAL while connections, programs and hosts die: what was acknowledged is in the archive, bit for bit."""

from __future__ import annotations

import contextlib
import io
import os
import random
import signal
import subprocess
import tarfile
import threading
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from barman.storage.compress.decoded import open_decoded
from tests.support import file_systems
from tests.support.archiving import archiving_server, deliver
from tests.support.faults import needs_strace, run_with_fault
from tests.support.processes import children_of, processes_of, run, start, wait_until
from tests.support.users import give
from tests.support.wal import name_of, segment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.homes import BarmanServer
    from tests.support.processes import Result

pytestmark = pytest.mark.timeout(600)

NAMES = [name_of(number) for number in range(1, 51)]


class Host:
    """A PostgreSQL host: segments that wait, and somebody who does what PostgreSQL's archiver does."""

    def __init__(self, directory: Path, server: BarmanServer, path: Path, *, filling: int = 0) -> None:
        """path: where its ssh is. filling: what its segments hold."""
        self.directory, self.server, self.path, self.filling = directory, server, path, filling
        self.pg_wal = directory / "pg_wal"
        self.status = self.pg_wal / "archive_status"
        for made in (directory, self.pg_wal, self.status):
            made.mkdir()
            give(made)
        self.acknowledged: list[str] = []
        self.failures = 0
        self.said = ""

    def write(self, names: list[str], *, filling: int | None = None) -> None:
        for name in names:
            content = segment(name, filling=self.filling if filling is None else filling)
            give(self.pg_wal / name) if (self.pg_wal / name).write_bytes(content) else None
            (self.status / f"{name}.ready").touch()
            give(self.status / f"{name}.ready")

    def argv(self, name: str, *options: str) -> list[str]:
        spool = str(self.directory / "spool")
        words = ["--batch", "8", "--spool-dir", spool, *options, "backup", "main", f"pg_wal/{name}"]
        return self.server.home.argv(*words, program="barman-wal-archive")

    def environment(self) -> dict[str, str]:
        mine = self.server.home.environment()
        return mine | {"PATH": f"{self.path}:{mine['PATH']}"}

    def archive(self, name: str, *options: str) -> int:
        """One call of the archive_command; what it acknowledges must be safe at this very moment."""
        ended = run(self.argv(name, *options), env=self.environment(), cwd=self.directory, timeout_s=60)
        if ended.status == 0:
            assert stored(self.server, name) == (self.pg_wal / name).read_bytes(), (
                f"{name} is not what was acknowledged"
            )
            (self.status / f"{name}.ready").rename(self.status / f"{name}.done")
            self.acknowledged.append(name)
        else:
            self.failures += 1
            self.said = ended.text
        return ended.status

    def archive_all(self, *options: str, attempts: int = 30) -> None:
        for name in sorted(path.stem for path in self.status.glob("*.ready")):
            assert any(self.archive(name, *options) == 0 for _ in range(attempts)), (
                f"{name} never got through: {self.said}"
            )


def stored(server: BarmanServer, name: str) -> bytes | None:
    """What the Barman host has of a segment, wherever it is just now."""
    for _ in range(2):
        for place in (server.incoming / name, server.wals / name[:16] / name):
            with contextlib.suppress(FileNotFoundError), open_decoded(place.open("rb")) as file:
                return file.read()
    return None


@pytest.fixture
def server(home) -> BarmanServer:
    return archiving_server(home, compression="zstd")


@pytest.fixture
def make_host(scratch, server, sshd):
    def make(name: str, **options: object) -> Host:
        bindir = sshd.program(scratch / f"{name}-bin", programs=server.home.programs)
        return Host(scratch / name, server, bindir, **options)  # type: ignore[arg-type]

    return make


class Killer:
    """Does harm to one process after the other while the block runs, until there was enough of it."""

    def __init__(self, find, number: int) -> None:
        self._find, self._number = find, number
        self._over = threading.Event()
        self.victims = 0

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _run(self) -> None:
        dice = random.Random(7)
        while self.victims < 8 and not self._over.wait(dice.uniform(0.02, 0.4)):
            for pid in self._find():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, self._number)
                    self.victims += 1


def named(scratch: Path, *words: str) -> list[int]:
    return [pid for pid, line in processes_of(scratch).items() if all(word in line for word in words)]


VICTIMS = {
    "the client": lambda scratch, _: named(scratch, "barman-wal-archive"),
    "ssh": lambda scratch, _: named(scratch, "ssh -F none"),
    "the connection": lambda _, sshd: sshd.sessions(),
    "put-wal": lambda scratch, _: named(scratch, "put-wal", "python"),
}


@pytest.mark.parametrize("victim", VICTIMS)
def test_whoever_is_killed_amid_50_segments_nothing_acknowledged_is_lost(scratch, server, sshd, make_host, victim):
    host = make_host("pg")
    host.write(NAMES)
    killer = Killer(lambda: VICTIMS[victim](scratch, sshd), signal.SIGKILL)
    with killer.at_work():
        host.archive_all("--zstd")
    assert killer.victims
    assert host.acknowledged == NAMES
    require_all_archived(server)


def require_all_archived(server: BarmanServer) -> None:
    server.run("archive-wal")
    assert [name for name in server.archived_wals() if not name.startswith(".")] == NAMES
    for name in NAMES:
        assert stored(server, name) == segment(name)
    assert not (server.directory / "errors").exists() or list((server.directory / "errors").iterdir()) == []


def test_a_network_that_is_cut_is_an_error_and_then_the_transfer_goes_on(scratch, server, sshd, make_host):
    host = make_host("pg")
    host.write(NAMES)
    killer = Killer(lambda: sshd.sessions() if host.failures < 2 else [], signal.SIGSTOP)
    with killer.at_work():
        host.archive_all()
    assert killer.victims
    assert host.failures >= 1
    for pid in sshd.sessions():
        os.kill(pid, signal.SIGKILL)
    require_all_archived(server)


def test_an_sshd_that_is_gone_is_exit_code_3_until_it_is_back(server, sshd, make_host):
    host = make_host("pg")
    host.write(NAMES[:3])
    assert host.archive(NAMES[0]) == 0
    sshd.close()
    assert host.archive(NAMES[1]) == 0, "acknowledged before"
    host.write(NAMES[3:])
    assert host.archive(NAMES[3]) == 3
    sshd.start()
    host.archive_all()
    require_all_archived(server)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts file systems")
def test_a_barman_host_that_is_full_says_so_until_there_is_room(server, make_host):
    host = make_host("pg")
    host.write(NAMES)
    with file_systems.small_disk(server.incoming, "size=20m"):
        refused = next(name for name in NAMES if host.archive(name) != 0)
        assert host.archive(refused) == 1
        assert "No space left" in host.said
        arrived = sorted(path.name for path in server.incoming.iterdir())
        assert arrived == host.acknowledged == NAMES[: NAMES.index(refused)], "and nothing by halves"
        file_systems.remount(server.incoming, "size=100m")
        host.archive_all(attempts=1)
        assert sorted(host.acknowledged) == NAMES
        require_all_archived(server)


def test_archiving_goes_on_and_is_killed_while_segments_come(scratch, server, make_host):
    host = make_host("pg")
    host.write(NAMES)
    over = threading.Event()

    def archive() -> None:
        while not over.is_set():
            process = start(server.home.argv("archive-wal", "main"), env=server.home.environment())
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=0.4)
            for pid in (process.pid, *children_of(process.pid)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.communicate()

    archiver = threading.Thread(target=archive)
    archiver.start()
    try:
        host.archive_all("--zstd", attempts=1)
    finally:
        over.set()
        archiver.join()
    require_all_archived(server)


def test_of_two_primaries_that_push_at_once_only_one_gets_a_name(server, make_host):
    old, new = make_host("old"), make_host("new", filling=1)
    same, different = NAMES[:4], NAMES[4:8]
    for host in (old, new):
        host.write(same, filling=0)
        host.write(different)

    def push(host: Host) -> None:
        for name in (*same, *different):
            host.archive(name)

    threads = [threading.Thread(target=push, args=(host,)) for host in (old, new)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(same) <= set(old.acknowledged) & set(new.acknowledged)
    assert set(old.acknowledged) & set(new.acknowledged) == set(same)
    assert set(old.acknowledged) | set(new.acknowledged) == {*same, *different}
    server.run("archive-wal", check=False)
    for host in (old, new):
        for name in host.acknowledged:
            assert stored(server, name) == (host.pg_wal / name).read_bytes()
        for name in set(different) - set(host.acknowledged):
            assert host.archive(name) == 1, "nor once it has been archived"


@needs_strace
def test_a_file_that_cannot_be_read_holds_nobody_up_but_itself(server, make_host):
    host = make_host("pg")
    host.write(NAMES[:3])
    broken = host.pg_wal / NAMES[1]

    def archive(name: str) -> Result:
        words, env, cwd = host.argv(name), host.environment(), host.directory
        return run_with_fault(
            words, calls="read", fault="error=EIO", when="1+", path=broken, env=env, cwd=cwd, threads=True
        )

    assert [archive(name).status for name in NAMES[:3]] == [0, 2, 0]
    assert f"cannot read all of pg_wal/{NAMES[1]}: Input/output error" in archive(NAMES[1]).stderr
    assert sorted(path.name for path in server.incoming.iterdir()) == [NAMES[0], NAMES[2]]
    assert host.archive(NAMES[1]) == 0


# -- the way back

FETCHING = {**VICTIMS, "the client": lambda scratch, _: named(scratch, "barman-wal-restore")}
FETCHING["get-wal"] = lambda scratch, _: named(scratch, "get-wal", "python")
del FETCHING["put-wal"]


@pytest.mark.parametrize("victim", FETCHING)
def test_whoever_is_killed_while_50_segments_are_fetched_none_is_wrong_or_called_missing(
    scratch, server, sshd, make_host, victim
):
    host = make_host("pg")
    deliver(server.incoming, *NAMES)
    server.run("archive-wal")
    target = host.pg_wal / "RECOVERYXLOG"

    def fetch(name: str) -> bool:
        words = ["-p", "8", "--spool-dir", str(host.directory / "ahead"), "backup", "main", name, str(target)]
        argv = server.home.argv(*words, program="barman-wal-restore")
        status = run(argv, env=host.environment(), cwd=host.directory, timeout_s=60).status
        assert status != 1, "that says that there is no such file"
        assert target.exists() or status != 0
        if target.exists():
            assert target.read_bytes() == segment(name)
            target.unlink()
        return status == 0

    killer = Killer(lambda: FETCHING[victim](scratch, sshd), signal.SIGKILL)
    with killer.at_work():
        for name in NAMES:
            assert any(fetch(name) for _ in range(30)), f"{name} never came through"
    assert killer.victims


# -- the far side, call by call

BATCH = NAMES[:4]


def batch_stream() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(mode="w|", fileobj=stream, pax_headers={"BARMAN.report": "1"}) as archive:
        sums = "".join(f"{sha256(segment(name)).hexdigest()} *{name}\n" for name in BATCH)
        for name, content in [*((name, segment(name)) for name in BATCH), ("SHA256SUMS", sums.encode())]:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


@needs_strace
@pytest.mark.parametrize("fault", ["signal=SIGKILL", "error=ENOSPC"])
@pytest.mark.parametrize("calls", ["write", "fsync", "link,linkat"])
def test_put_wal_disturbed_at_any_step_reports_only_what_is_safe(home, server, scratch, calls, fault):
    source = scratch / "stream"
    source.write_bytes(batch_stream())
    give(source)
    for step in steps_of(calls):
        for path in server.incoming.iterdir():
            path.unlink()
        argv = ["sh", "-c", f'exec "$@" < {source}', "sh", *home.argv("put-wal", "main")]
        ended = run_with_fault(
            argv, calls=calls, fault=fault, when=str(step), env=home.environment(), cwd=home.directory, threads=True
        )
        reported = [line.split()[1] for line in ended.stdout.splitlines() if line.startswith("stored ")]
        if ended.status == 0:
            assert reported == BATCH
        for name in reported:
            assert (server.incoming / name).read_bytes() == segment(name)
        for path in server.incoming.iterdir():
            assert path.name.startswith(".") or path.read_bytes() == segment(path.name)
    assert home.run("put-wal", "main", stdin=batch_stream()).stdout.split() == [w for n in BATCH for w in ("stored", n)]
    wait_until(lambda: sorted(path.name for path in server.incoming.iterdir()) == BATCH, "nothing else is left")


def steps_of(calls: str) -> Iterator[int]:
    yield from (2, 4, 7) if calls == "write" else (1, 3)
