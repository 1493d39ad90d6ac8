"""archive_command and restore_command over a real ssh: one by one, in batches, ahead of time."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from tests.bench.measure import Measured, interleave, measure, print_table
from tests.bench.subjects import OURS, REFERENCE
from tests.support.homes import BarmanHome
from tests.support.sshd import Sshd
from tests.support.users import give
from tests.support.wal import SYSTEM_ID, name_of, segment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_SIZE = 16 << 20
_SEGMENTS = 32
_ONE_BY_ONE = 8
# for the reference, which connects for each of them, and which a minute must do for
_FEWER = 16
_JOBS = 8
_FEWEST = 4


def main(programs: Mapping[str, Path], scratch: Path, rounds: int, *, scale: float = 1, only: str = "") -> None:
    """Print the table. scale: of the number of segments. only: cases with this in their name."""
    sshd = Sshd(scratch / "sshd")
    try:
        sites = {name: _Site(scratch / name, bindir, sshd) for name, bindir in programs.items()}
        header = (
            "case",
            "calls",
            "ours, ms/segment",
            "3.19.1, ms/segment",
            "times faster",
            "ours, CPU ms",
            "3.19.1, CPU ms",
        )
        print_table(
            "Segments of 16 MiB over ssh to this host",
            header,
            (_row(case, sites, rounds) for case in _cases(scale) if only in case[0]),
        )
    finally:
        sshd.close()


_Case = tuple[str, int, "Callable[[_Site, int], Measured]", "Callable[[_Site, int], Measured]"]


def _cases(scale: float) -> Sequence[_Case]:
    """Title, number of segments, how the reference does it, how we do it."""
    many, few = max(_FEWEST, round(_SEGMENTS * scale)), max(1, round(_ONE_BY_ONE * scale))
    batch = ("--batch", str(many))
    ahead = ("-p", str(_JOBS))
    kept = ("--keep-connection", "20")
    return (
        ("archive, one by one", few, partial(_archive, ()), partial(_archive, ())),
        ("archive, one by one, connection kept", few, partial(_archive, ()), partial(_archive, kept)),
        ("archive, --zstd, one by one", few, partial(_archive, ("--zstd",)), partial(_archive, ("--zstd",))),
        (f"archive, {' '.join(batch)}", many, partial(_archive, ()), partial(_archive, batch)),
        (f"archive, {' '.join(batch)}, fast path", many, partial(_archive, ()), partial(_archive, batch, fast=True)),
        (
            f"archive, {' '.join(batch)} --zstd, fast path",
            many,
            partial(_archive, ("--zstd",)),
            partial(_archive, (*batch, "--zstd"), fast=True),
        ),
        ("restore, one by one", few, partial(_restore, ()), partial(_restore, ())),
        (f"restore, {' '.join(ahead)}", many, partial(_restore, ahead), partial(_restore, ahead)),
        (f"restore, {' '.join(ahead)}, fast path", many, partial(_restore, ahead), partial(_restore, ahead, fast=True)),
    )


class _Site:
    """A Barman host and a PostgreSQL host, both here, joined by a real ssh."""

    def __init__(self, directory: Path, programs: Path, sshd: Sshd) -> None:
        self.home = BarmanHome(directory, programs=programs, log_level="INFO")
        self.home.server(
            "main", conninfo=f"host={directory}", streaming_conninfo=f"host={directory}", backup_method="postgres",
            archiver="on",
        )  # fmt: skip
        self.main = self.home.path / "main"
        self.near = directory / "n"
        self.path = sshd.program(directory / "bin", programs=programs)
        give(self.path)

    def environment(self) -> dict[str, str]:
        mine = self.home.environment()
        return mine | {"PATH": f"{self.path}:{mine['PATH']}"}

    def clear(self) -> None:
        """Begin anew: empty directories on both sides."""
        shutil.rmtree(self.near, ignore_errors=True)
        shutil.rmtree(self.main, ignore_errors=True)
        for place in ("", "base", "meta", "wals", "incoming", "streaming", "errors"):
            (self.main / place).mkdir()
            give(self.main / place)
        for made in (self.near, self.near / "pg_wal", self.near / "pg_wal" / "archive_status", self.near / "global"):
            made.mkdir()
            give(made)
        (self.near / "global" / "pg_control").write_bytes(int(SYSTEM_ID).to_bytes(8, sys.byteorder))


def _names(count: int) -> list[str]:
    return [name_of(number, size=_SIZE) for number in range(1, count + 1)]


def _row(case: _Case, sites: Mapping[str, _Site], rounds: int) -> tuple[object, ...]:
    title, count, theirs, ours = case
    runs = {OURS: ours, REFERENCE: theirs}
    counts = {OURS: count, REFERENCE: min(count, _FEWER)}
    found = interleave({name: partial(runs[name], site, counts[name]) for name, site in sites.items()}, rounds)
    figures = {name: tuple(s * 1000 / counts[name] for s in (one.seconds, one.cpu_s)) for name, one in found.items()}
    mine = figures[OURS]
    if REFERENCE not in figures:
        return title, count, mine[0], "-", "-", mine[1], "-"
    other = figures[REFERENCE]
    return title, count, mine[0], other[0], other[0] / mine[0], mine[1], other[1]


def _archive(options: Sequence[str], site: _Site, count: int, *, fast: bool = False) -> Measured:
    """What PostgreSQL's archiver does with segments that wait."""
    site.clear()
    pg_wal = site.near / "pg_wal"
    for name in _names(count):
        give(pg_wal / name) if (pg_wal / name).write_bytes(segment(name, size=_SIZE)) else None
        (pg_wal / "archive_status" / f"{name}.ready").touch()
    os.sync()
    spool = site.near / "s"
    extra = ["--spool-dir", str(spool)] if options and options[0].startswith(("--batch", "--keep")) else []
    program = site.home.argv(*options, *extra, "host", "main", program="barman-wal-archive")
    ask = (
        f'grep -qsxF "$(stat -c "main barman@host {site.home.conf} %d %i %s %.9Y %.9Z" $f)" {spool}/${{f##*/}}.sent || '
    )
    script = f"for f in {pg_wal}/0*; do {ask if fast else ''}{' '.join(program)} $f || exit 1; done"
    measured = measure(["/bin/sh", "-c", script], site.environment())
    arrived = sorted(path.name for path in (site.main / "incoming").iterdir())
    if arrived != _names(count):
        raise SystemExit(f"{options}: only {arrived} arrived")
    return measured


def _restore(options: Sequence[str], site: _Site, count: int, *, fast: bool = False) -> Measured:
    """What PostgreSQL does in recovery, if replay took no time."""
    site.clear()
    digests = {}
    for name in _names(count):
        directory = site.main / "wals" / name[:16]
        directory.mkdir(exist_ok=True)
        content = segment(name, size=_SIZE)
        digests[name] = hashlib.sha256(content).digest()
        (directory / name).write_bytes(content)
    spool = site.near / "spool"
    words = [*options, *(["--spool-dir", str(spool)] if options else []), "host", "main"]
    program = " ".join(site.home.argv(*words, program="barman-wal-restore"))
    target = site.near / "pg_wal"
    known = f'"main barman@host {site.home.conf}$(od -An -tu8 -N8 {site.near}/global/pg_control)"'
    ask = (
        f'{{ read -r known < {spool}/.cluster; }} 2>/dev/null && test "$known" = {known}'
        f" && mv -f {spool}/$f {target}/$f 2>/dev/null || "
    )
    names = " ".join(_names(count))
    script = f"for f in {names}; do {ask if fast else ''}{program} $f {target}/$f || exit 1; done"
    began = time.monotonic()
    measured = measure(["/bin/sh", "-c", script], site.environment())
    for name, digest in digests.items():
        if hashlib.sha256((target / name).read_bytes()).digest() != digest:
            raise SystemExit(f"{options}: {name} is not what was archived, {time.monotonic() - began:.0f} s on")
    return measured
