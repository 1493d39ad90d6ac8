"""archive-wal is killed at every step, runs out of space, meets broken disks; then it runs again.

Nothing may be lost or doubled, the catalogue must equal the archive, and whatever went wrong must have been said.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
from typing import TYPE_CHECKING

import pytest

from barman.storage.compress.decoded import open_decoded
from tests.support import file_systems
from tests.support.archiving import archiving_server, deliver, errors, left, listed, put, stored
from tests.support.faults import find_points, needs_strace, run_to_point, run_with_fault
from tests.support.processes import run, run_for_peak
from tests.support.users import give
from tests.support.wal import HISTORY, MIB, name_of, segment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.faults import Point
    from tests.support.homes import BarmanServer
    from tests.support.processes import Result

pytestmark = pytest.mark.timeout(900)

STREAMED = [name_of(number) for number in (1, 2, 3)]
PARTIAL = f"{name_of(4)}.partial"
SENT = [name_of(number) for number in (3, 5, 6)]
CONFLICT = name_of(7)
HISTORY_NAME = "00000002.history"
ALL = sorted({*STREAMED, *SENT, CONFLICT, HISTORY_NAME})

_KILLED = {-9, 137}
STEPS = {
    "rename": {"rename", "replace"},
    "link": {"link"},
    "fsync": {"fsync", "fdatasync"},
    "unlink": {"unlink", "remove", "rmdir"},
    "mkdir": {"mkdir"},
}


def content_of(name: str) -> bytes:
    return HISTORY.encode() if name == HISTORY_NAME else segment(name[:24])


@pytest.fixture
def make_server(make_home) -> Iterator[object]:
    """Return a function that makes a server with work to do of every kind."""
    count = itertools.count()

    def make(**options: object) -> BarmanServer:
        server = archiving_server(make_home(f"home{next(count)}"), **options)
        deliver(server.incoming, CONFLICT)
        server.run("archive-wal")
        shutil.rmtree(server.directory / "errors", ignore_errors=True)
        deliver(server.streaming, *STREAMED, PARTIAL)
        deliver(server.incoming, *SENT)
        put(server.incoming / HISTORY_NAME, HISTORY.encode())
        put(server.incoming / CONFLICT, segment(CONFLICT, filling=1))
        put(server.incoming / "junk", b"junk")
        return server

    return make


def read_archived(server: BarmanServer, name: str) -> bytes:
    with open_decoded(stored(server, name).open("rb")) as file:
        return file.read()


def require_consistency(server: BarmanServer) -> None:
    """Whatever happened: what has its final name is whole, what is listed is there, the rest is where it came to."""
    names = [name for name in server.archived_wals() if not name.startswith(".")]
    for name in names:
        assert read_archived(server, name) == content_of(name), f"{name} is not what was sent"
    lines = listed(server)
    assert set(lines) <= set(names), "the catalogue has what the archive has not"
    assert len(set(lines)) == len(lines), "a line is doubled"
    for name in ALL:
        waits = (server.incoming / name).exists() or (server.streaming / name).exists()
        assert waits or name in lines, f"{name} is lost"
    assert (server.streaming / PARTIAL).exists()


def require_convergence(server: BarmanServer) -> None:
    """After a run that nothing disturbs all is in its place."""
    server.run("archive-wal")
    require_consistency(server)
    assert server.archived_wals() == sorted(listed(server)) == ALL
    assert left(server.incoming) == []
    assert left(server.streaming) == [PARTIAL]
    assert errors(server) == {CONFLICT: "duplicate", "junk": "unknown"}
    (kept,) = (server.directory / "errors").glob(f"{CONFLICT}.*")
    assert kept.read_bytes() == segment(CONFLICT, filling=1)


def run_disturbed(server: BarmanServer, **fault: object) -> tuple[Result, bool]:
    """Run archive-wal with a fault; return how it ended, and whether the fault was met."""
    home = server.home
    log = home.directory / "calls"
    result = run_with_fault(
        home.argv("archive-wal", "main"),
        env=home.environment(),
        cwd=home.directory,
        threads=True,
        log=log,
        **fault,  # type: ignore[arg-type]
    )
    return result, result.status in _KILLED or "(INJECTED)" in log.read_text()


def points_of(server: BarmanServer, step: str) -> list[Point]:
    """Every call of this kind that archiving makes; server: one with work to do, which is done afterwards."""
    points = [point for point in find_points(server.home, "archive-wal", "main") if point.call in STEPS[step]]
    # Compressed files are new ones; others get a second name where they are.
    assert points or (step == "link" and "compression = zstd" in server.home.conf_d.joinpath("main.conf").read_text())
    return points


@pytest.mark.parametrize("compression", [None, "zstd"])
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_the_next_run_completes_it(make_server, step, compression):
    for point in points_of(make_server(compression=compression), step):
        server = make_server(compression=compression)
        run_to_point(server.home, point, "kill", "archive-wal", "main")
        require_consistency(server)
        require_convergence(server)


@pytest.mark.parametrize("compression", [None, "zstd"])
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
@pytest.mark.parametrize("step", STEPS)
def test_an_error_at_any_step_is_told_and_the_next_run_completes_it(make_server, step, error, compression):
    for point in points_of(make_server(compression=compression), step):
        server = make_server(compression=compression)
        result = run_to_point(server.home, point, error, "archive-wal", "main")
        require_consistency(server)
        require_said(server, result)
        require_convergence(server)


@needs_strace
@pytest.mark.parametrize("compression", [None, "zstd"])
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_after_an_error_at_any_write_the_next_run_completes_it(make_server, error, compression):
    calls = "write,writev,pwrite64,copy_file_range,sendfile"
    for number in itertools.count(1):
        server = make_server(compression=compression)
        _, met = run_disturbed(server, calls=calls, fault=f"error={error}", when=str(number))
        require_consistency(server)
        require_convergence(server)
        if not met:
            break
    assert number > 1, "nothing was disturbed"


def require_said(server: BarmanServer, result: Result) -> None:
    """A failure has one line that names a file, and no stack trace; without a failure all is done."""
    assert "Traceback" not in result.text, result
    if result.status == 0:
        assert sorted(listed(server)) == ALL, f"not all is archived, and nothing was said\n{result}"
        return
    assert result.status == 1, result
    lines = [line for line in result.stderr.splitlines() if line.startswith("ERROR: ")]
    assert lines, result
    for line in lines:
        assert "/" in line or re.search(r"0000000[12]", line), f"which file? {line}"
        assert len(line) < 400


@needs_strace
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_file_that_cannot_be_read_does_not_keep_back_the_others(make_server, compression):
    server = make_server(compression=compression)
    victim = server.incoming / SENT[1]
    result, _ = run_disturbed(server, calls="read,pread64", fault="error=EIO", when="1+", path=victim)
    assert result.status == 1, result
    assert SENT[1] in result.stderr
    assert "Input/output error" in result.stderr
    require_consistency(server)
    assert sorted(listed(server)) == sorted({*ALL} - {SENT[1]})
    require_convergence(server)


@needs_strace
def test_everything_is_durable_before_a_source_is_removed(make_server):
    """Source data, name, line: each is synced before the next step, in this order. Seen in the calls it makes."""
    for compression in (None, "zstd"):
        server = make_server(compression=compression)
        home = server.home
        log = home.directory / "calls"
        calls = "openat,write,rename,link,fsync,fdatasync,unlink"
        words = ["strace", "-f", "-y", "-qq", "-s", "0", "-o", log, "-e", f"trace={calls}"]
        run([*words, *home.argv("archive-wal", "main")], env=home.environment(), cwd=home.directory, check=True)
        trace = log.read_text().splitlines()
        for name in (STREAMED[0], SENT[1]):
            final = str(stored(server, name))
            require_order(trace, server, final, name)


def require_order(trace: list[str], server: BarmanServer, final: str, name: str) -> None:
    def first(pattern: str, after: int = -1) -> int:
        found = next((at for at, line in enumerate(trace) if at > after and re.search(pattern, line)), None)
        assert found is not None, f"no {pattern} after line {after}"
        return found

    directory = re.escape(os.path.dirname(final))
    # Another thread's call may come between the beginning and the end of this one.
    named = first(rf'(link|rename)\(.*"{re.escape(final)}"(\)| <unfinished)')
    source = re.search(r'\("([^"]+)"', trace[named])[1]
    synced = first(rf"fsync\(\d+<{re.escape(source)}>")
    assert synced < named, "its content was not synced before it got its name"
    directory_synced = first(rf"fsync\(\d+<{directory}>", named)
    ledger_written = first(r"write\(\d+<.*main-xlog\.db>", directory_synced)
    ledger_synced = first(r"fsync\(\d+<.*main-xlog\.db>", ledger_written)
    assert first(rf'unlink\(".*/(incoming|streaming)/{name}"') > ledger_synced


@pytest.fixture
def small_disk(scratch) -> Iterator[Path]:
    """A file system of 6 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    directory = scratch / "small"
    directory.mkdir()
    with file_systems.small_disk(directory, "size=6m"):
        yield directory


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_full_disk_is_one_line_and_costs_nothing(small_disk, make_home, compression):
    server = archiving_server(make_home("full"), wals_directory=small_disk, compression=compression)
    names = [name_of(number) for number in range(1, 17)]
    deliver(server.incoming, *names)
    result = server.run("archive-wal", check=False)
    assert result.status == 1
    assert len(result.stderr.splitlines()) == 1, result
    assert re.match(r"ERROR: .*No space left on device", result.stderr)
    archive = [path for path in small_disk.rglob("0*") if path.is_file()]
    for path in archive:
        with open_decoded(path.open("rb")) as file:
            assert file.read() == segment(path.name)
    assert not list(small_disk.rglob(".*.tmp")), "half files are gone"
    kept = set(left(server.incoming))
    lines = {line.split("\t")[0] for line in (small_disk / "main-xlog.db").read_text().splitlines()}
    assert kept | lines == set(names)
    assert lines <= {path.name for path in archive}
    file_systems.remount(small_disk, "size=40m")
    server.run("archive-wal")
    lines = [line.split("\t")[0] for line in (small_disk / "main-xlog.db").read_text().splitlines()]
    assert sorted(lines) == sorted(path.name for path in small_disk.rglob("0*") if path.is_file()) == names
    assert left(server.incoming) == []


def test_a_disk_that_is_full_for_the_catalogue_too(small_disk, make_home):
    """Incoming and archive on one file system without a free byte: linking works, listing does not."""
    home = make_home("full")
    incoming, wals = small_disk / "incoming", small_disk / "wals"
    for directory in (incoming, wals):
        directory.mkdir()
        give(directory)
    server = archiving_server(home, wals_directory=wals, incoming_wals_directory=incoming)
    names = [name_of(number) for number in (1, 2, 3)]
    deliver(incoming, *names)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    result = server.run("archive-wal", check=False)
    assert result.status == 1, result
    assert "No space left on device" in result.stderr
    assert left(incoming) == names
    filler.unlink()
    server.run("archive-wal")
    lines = [line.split("\t")[0] for line in (wals / "main-xlog.db").read_text().splitlines()]
    assert lines == names == sorted(path.name for path in wals.rglob("0*") if path.is_file())
    assert left(incoming) == []


def test_a_read_only_archive_is_one_line(small_disk, make_home):
    server = archiving_server(make_home("ro"), wals_directory=small_disk)
    deliver(server.incoming, *STREAMED)
    file_systems.remount(small_disk, "ro")
    result = server.run("archive-wal", check=False)
    assert result.status == 1
    assert re.fullmatch(r"ERROR: .*Read-only file system\n", result.stderr), result
    assert left(server.incoming) == STREAMED


@pytest.mark.parametrize("number", [2, 15], ids=["SIGINT", "SIGTERM"])
def test_asked_to_end_it_ends_without_a_trace_and_loses_nothing(make_server, number):
    server = make_server(
        compression="custom", custom_compression_filter="sleep 60; cat", custom_decompression_filter="cat"
    )
    process = server.home.start("archive-wal", "main")
    try:
        while not list(server.wals.rglob(".*.tmp")):
            assert process.poll() is None
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode not in {0, -9}
    assert b"Traceback" not in out + err
    assert not list(server.wals.rglob(".*.tmp"))
    server.set(compression=None)
    require_convergence(server)


def test_a_gigabyte_passes_in_little_memory(make_home):
    """Segments are streamed: the peak is that of one of 16 MiB."""
    server = archiving_server(make_home("big"), compression="zstd", compression_level="low")
    size = 256 * MIB
    names = [name_of(number, size=size) for number in (1, 2)]
    for name in names:
        put(server.incoming / name, segment(name, size=size)[: size // 2])
        os.truncate(server.incoming / name, size)
    _, peak_kib = run_for_peak(server.home.argv("archive-wal", "main"), env=server.home.environment())
    assert listed(server) == names
    assert peak_kib < 150 * 1024
