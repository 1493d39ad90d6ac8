"""archive-wal on real WAL: segments per second by compression, beside what the codec alone can do."""

from __future__ import annotations

import io
import os
import shutil
import time
from functools import partial
from typing import TYPE_CHECKING

from barman.storage.compress.codecs import CODECS, compress_stream, resolve_level
from tests.bench.measure import interleave, measure, print_table
from tests.bench.subjects import OURS, compare
from tests.support.clusters import ClusterMaker
from tests.support.homes import BarmanHome
from tests.support.installations import choose
from tests.support.processes import run, wait_until
from tests.support.users import give

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.bench.measure import Measured

# By compression: enough to take seconds, beside which the start of the program does not count.
_SEGMENTS = {"none": 256, "gzip": 128, "zstd": 256, "lz4": 64, "bzip2": 16, "xz": 16}
# for the codec's own speed, spread over all: WAL of the loading compresses better than WAL of the work after it
_SAMPLE = 8
_ONE_CORE = "ours, 1 core"


def main(programs: Mapping[str, Path], scratch: Path, rounds: int, *, only: str = "") -> None:
    """Print the table. only: compressions with this in their name."""
    compressions = [one for one in _SEGMENTS if only in one]
    segments = _make_wal(scratch, max(_SEGMENTS[one] for one in compressions))
    cores = len(os.sched_getaffinity(0))
    header = (
        "compression", "segments", "ours, segments/s", "3.19.1, segments/s", "times faster",
        "ours, CPU s", "3.19.1, CPU s",
        "ours, 1 core, segments/s", f"{cores} cores / 1 core",
        "codec alone, 1 core, segments/s", f"ours / ({cores} cores x codec)", "ours, MiB",
    )  # fmt: skip
    rows = (
        _row(one, programs, scratch, rounds, segments[:: len(segments) // _SEGMENTS[one]][: _SEGMENTS[one]])
        for one in compressions
    )
    print_table("archive-wal of segments of 16 MiB from incoming/", header, rows)


def _row(
    compression: str, programs: Mapping[str, Path], scratch: Path, rounds: int, segments: list[Path]
) -> tuple[object, ...]:
    place = scratch / compression
    place.mkdir()
    homes = {name: _home(place / name, bindir, compression) for name, bindir in programs.items()}
    cases = {name: partial(_archive, home, segments) for name, home in homes.items()}
    cases[_ONE_CORE] = partial(_archive, homes[OURS], segments, cores="0")
    found = interleave(cases, rounds)
    shutil.rmtree(place)
    ours, theirs, times = compare(found, lambda one: one.seconds)
    speed = len(segments) / ours
    other = len(segments) / theirs if isinstance(theirs, float) else theirs
    alone = _codec_speed(compression, segments[:: len(segments) // _SAMPLE]) if compression != "none" else "-"
    share = speed / (len(os.sched_getaffinity(0)) * alone) if isinstance(alone, float) else "-"
    cpu = compare(found, lambda one: one.cpu_s)[:2]
    one_core = len(segments) / found[_ONE_CORE].seconds
    ratios = one_core, speed / one_core, alone, share
    return compression, len(segments), speed, other, times, *cpu, *ratios, found[OURS].peak_mib


def _home(directory: Path, programs: Path, compression: str) -> BarmanHome:
    home = BarmanHome(directory, programs=programs, log_level="INFO")
    home.server(
        "main",
        conninfo=f"host={directory}",
        streaming_conninfo=f"host={directory}",
        backup_method="postgres",
        archiver="on",
        compression=None if compression == "none" else compression,
    )
    return home


def _archive(home: BarmanHome, segments: list[Path], *, cores: str | None = None) -> Measured:
    """Have the segments archived. cores: by these of them, as taskset takes it; None: by all."""
    directory = home.path / "main"
    shutil.rmtree(directory, ignore_errors=True)
    for name in ("", "base", "meta", "wals", "incoming", "streaming", "errors"):
        (directory / name).mkdir()
        give(directory / name)
    for segment in segments:
        _deliver(segment, directory / "incoming" / segment.name)
    taskset = [] if cores is None else ["/usr/bin/taskset", "-c", cores]
    measured = measure([*taskset, *home.argv("archive-wal", "main")], home.environment())
    left = sorted(path.name for path in (directory / "incoming").iterdir())
    if left and not measured.is_over:
        raise SystemExit(f"{left} left in incoming\n{home.log_text()[-2000:]}")
    return measured


def _deliver(segment: Path, target: Path) -> None:
    """Copy a segment as archive_command does: it is on disk by the time anybody archives it."""
    with give(shutil.copyfile(segment, target)).open("rb") as copy:
        os.fsync(copy.fileno())


def _make_wal(scratch: Path, count: int) -> list[Path]:
    """So many segments of real WAL, of loading and of work, oldest first."""
    installation = choose(own_tools=True, each=False)[0]
    archive = scratch / "wal"
    archive.mkdir()
    give(archive)
    clusters = ClusterMaker(scratch)
    try:
        cluster = clusters.make(installation, settings={"max_wal_size": "128MB", "checkpoint_timeout": "30s"})
        cluster.archive_with(f"cp %p {archive}/%f.part && mv {archive}/%f.part {archive}/%f")
        pgbench = [str(installation.tools / "pgbench"), "-n", "-d", cluster.conninfo("postgres")]

        def enough() -> bool:
            run([*pgbench, "-i", "-q", "-s", "10"], check=True)
            run([*pgbench, "-c", "2", "-T", "3"], check=True)
            return len(list(archive.glob("?" * 24))) >= count

        wait_until(enough, f"{count} segments of WAL", timeout_s=900)
    finally:
        clusters.close()
    return sorted(archive.glob("?" * 24))[:count]


def _codec_speed(compression: str, segments: list[Path]) -> float:
    """Segments per second of the codec alone, in one thread, from memory to nowhere."""
    codec = CODECS[compression].name
    contents = [segment.read_bytes() for segment in segments]
    began = time.monotonic()
    for content in contents:
        compress_stream(io.BytesIO(content), io.BytesIO(), codec, resolve_level(codec, None))
    return len(segments) / (time.monotonic() - began)
