"""Looking into archived segments: whether every page and every record is as PostgreSQL wrote it.

pg_waldump of the version that wrote them checks the checksum of each record, also of those that go on in the next
segment. Without it the pages are checked, and that each record leads to the next.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from typing import TYPE_CHECKING, NamedTuple

from barman.errors import BarmanError, CommandError, Encrypted, NotFound, StorageError, WalError
from barman.host import runner
from barman.host.scratch import scratch_directory
from barman.postgres.lsn import format_lsn, parse_lsn
from barman.postgres.tools import find_tool, pg_waldump_argv, program_directories
from barman.postgres.versions import major_version
from barman.postgres.wal_header import LONG_HEADER_SIZE, parse_page_header
from barman.postgres.wal_names import WalKind, next_segment, parse_wal_name, segment_at, timeline_of
from barman.postgres.wal_records import SegmentRecords
from barman.wal.inspect import inspect_wal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from barman.catalog.wal_archive import WalArchive
    from barman.postgres.tools import Tool

_TIMEOUT_S = 600
_CHUNK = 1 << 20
_NAMED_SEGMENT = re.compile(r"segment ([0-9A-F]{24})")
_POSITION = re.compile(r"(?:at|after) ([0-9A-F]+/[0-9A-F]+)")


class Cluster(NamedTuple):
    """What all segments must have in common; None where that is not known. version: major, as text."""

    segment_size: int
    system_id: str | None = None
    version: str | None = None


class SegmentChecker:
    """Checks segments of one cluster. May be used by several threads."""

    def __init__(self, archive: WalArchive, cluster: Cluster, waldump: Tool | None) -> None:
        """waldump: of the version that wrote the segments, None to do without."""
        self._archive = archive
        self._cluster = cluster
        self.waldump = waldump
        # Names of files that cannot be decrypted, so that nothing is known of their content.
        self.encrypted: set[str] = set()

    def check(self, names: Sequence[str], *, overlap: str | None = None) -> dict[str, str]:
        """Return what is wrong with archived files, by name.

        Those that vanished meanwhile are passed over, and those that cannot be decrypted (encrypted has their names).

        names: of any kind; segments that follow each other are checked together. overlap: the segment that follows the
        last, for the record they share; nothing is said of it unless it is that record.
        """
        faults: dict[str, str] = {}
        with scratch_directory("barman-verify-") as scratch:
            fit = []
            for name in (*names, *([overlap] if overlap is not None else [])):
                fault = self._lay_out(name, scratch / name)
                if fault is None:
                    fit.append(name)
                elif name != overlap and fault:
                    faults[name] = fault
            faults |= self._check_records(scratch, fit)
        return faults

    def check_files(self, directory: Path, names: Sequence[str]) -> dict[str, str]:
        """Return what is wrong with segments that lie in directory as PostgreSQL wrote them, by name."""
        faults = {name: fault for name in names if (fault := self._inspect(directory / name, name))}
        return faults | self._check_records(directory, [name for name in names if name not in faults])

    def _lay_out(self, name: str, target: Path) -> str | None:
        """Put a file as PostgreSQL wrote it at target, and look at it; return what is wrong, "" if nobody can tell."""
        try:
            with self._archive.open_decoded(name) as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy, _CHUNK)
            return self._inspect(target, name)
        except NotFound:
            return ""
        except Encrypted:
            self.encrypted.add(name)
            return ""
        except BarmanError as error:
            return error.message
        except OSError as error:
            raise StorageError(f"{target}: {error.strerror}") from error

    def _inspect(self, path: Path, name: str) -> str | None:
        cluster = self._cluster
        found = inspect_wal(
            path,
            name=name,
            segment_size=cluster.segment_size,
            system_id=cluster.system_id,
            version=cluster.version,
        )
        return None if found.fault is None else found.reason

    def _check_records(self, directory: Path, names: Sequence[str]) -> dict[str, str]:
        faults: dict[str, str] = {}
        segments = [name for name in names if parse_wal_name(name).kind is WalKind.SEGMENT]
        for run in _runs(segments, self._cluster.segment_size):
            if self.waldump is None:
                faults |= {name: fault for name in run if (fault := _walk(directory / name))}
            else:
                faults |= self._dump(self.waldump, directory, run)
        return faults

    def _dump(self, waldump: Tool, directory: Path, names: Sequence[str]) -> dict[str, str]:
        """Have pg_waldump read the segments, and go on behind each that it cannot read."""
        faults: dict[str, str] = {}
        start = 0
        while start < len(names):
            message = _waldump_message(waldump, directory, names[start], names[-1])
            if message is None:
                break
            culprit = _culprit(message, names[start:], self._cluster.segment_size)
            faults[names[culprit + start]] = message
            following = start + culprit + 1
            alone = _waldump_message(waldump, directory, names[following - 1], names[following - 1])
            if alone is None and following < len(names):
                # The record that both share: either may be the one.
                faults[names[following]] = message
            start = following
        return faults


def find_waldump(path_prefix: str | None, version: str | None) -> Tool | None:
    """Return pg_waldump of that major version; None if there is none. WAL of another one it cannot read."""
    if version is None:
        return None
    places = [path_prefix, *program_directories(version)]
    with contextlib.suppress(CommandError):
        tool = find_tool("pg_waldump", ":".join(filter(None, places)))
        return tool if major_version(tool.version_num) == version else None
    return None


def cluster_of(archive: WalArchive, name: str, known: Mapping[str, str | None]) -> Cluster | None:
    """Return what the header of segment name tells of its cluster, but known, where it is known; None: nothing."""
    try:
        with archive.open_decoded(name) as file:
            header = parse_page_header(file.read(LONG_HEADER_SIZE))
    except (StorageError, WalError):
        return None
    if header.segment_size is None or header.version is None:
        return None
    return Cluster(header.segment_size, known.get("system_id"), known.get("version") or header.version)


def _runs(names: Sequence[str], segment_size: int) -> list[list[str]]:
    runs: list[list[str]] = []
    for name in names:
        if runs and next_segment(runs[-1][-1], segment_size) == name:
            runs[-1].append(name)
        else:
            runs.append([name])
    return runs


def _walk(path: Path) -> str | None:
    try:
        broken_at = SegmentRecords(path.read_bytes()).broken_at
    except WalError as error:
        return error.message
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error
    return None if broken_at is None else f"no valid record at {format_lsn(broken_at)}"


def _waldump_message(waldump: Tool, directory: Path, first: str, last: str) -> str | None:
    """Return what pg_waldump complains of, None if it reads everything."""
    done = runner.run(
        pg_waldump_argv(waldump, directory=directory, first=first, last=last),
        timeout_s=_TIMEOUT_S,
        env=runner.environment(LC_ALL="C"),
        check=False,
    )
    if done.status == 0:
        return None
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    last_line = lines[-1] if lines else f"pg_waldump ended with status {done.status}"
    return last_line.rpartition("error: ")[2].strip()


def _culprit(message: str, names: Sequence[str], segment_size: int) -> int:
    """Return the index of the segment a message of pg_waldump is about; the first one, if it does not say."""
    named = _NAMED_SEGMENT.search(message)
    positions = _POSITION.findall(message)
    name = names[0]
    if named is not None:
        name = named[1]
    elif positions:
        name = segment_at(parse_lsn(positions[-1]), timeline_of(names[0]), segment_size)
    return names.index(name) if name in names else 0
