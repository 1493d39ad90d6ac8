"""verify-wal: whether the archive is what its ledger says, without holes, and every segment is whole."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from barman.catalog.identity import read_identity
from barman.catalog.selection import latest
from barman.catalog.wal_archive import archive_key
from barman.errors import CatalogError, Encrypted, StorageError
from barman.host import clock
from barman.postgres.wal_names import DEFAULT_SEGMENT_SIZE, is_segment_name, is_wal_name, next_segment
from barman.wal.continuity import find_costly_gaps, view_wal
from barman.wal.segment_check import Cluster, SegmentChecker, cluster_of, find_waldump

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from barman.catalog.wal_archive import WalArchive
    from barman.catalog.xlogdb import WalEntry
    from barman.progress import Reporter
    from barman.server import Server
    from barman.storage.storage import Entry
    from barman.wal.continuity import WalView
    from barman.wal.gaps import Gap

# More help nobody, and take memory: an archive that is not mounted lacks everything.
MOST_DEFECTS = 10_000
# So much is decompressed at a time for one check; two segments at least.
_BATCH_BYTES = 64 << 20
_LARGEST_BATCH = 16


class Kind(Enum):
    """What is wrong."""

    MISSING = "missing"
    """The ledger lists it, and it is not there."""
    UNLISTED = "unlisted"
    """It is there, and the ledger does not list it."""
    SIZE = "size"
    """It is not as long as the ledger says."""
    DAMAGED = "damaged"
    GAP = "gap"
    """Segments between others are neither there nor listed, and a backup needs them."""
    HISTORY = "history"
    """It is not known from which timeline this one branched off."""
    UNKNOWN = "unknown"
    """It lies where WAL lies, and is none."""


class Defect(NamedTuple):
    """One thing that is wrong. name: of the file; of the first one that is missing. gap: only of Kind.GAP."""

    kind: Kind
    name: str
    reason: str
    gap: Gap | None = None


@dataclass(slots=True)
class Verification:
    """What was found. files, size_bytes: listed and there. looked_into: by a deep look; encrypted: not looked into.

    checksums: whether the checksum of each record was checked. left_out: how many defects there were beyond those.
    """

    files: int = 0
    size_bytes: int = 0
    looked_into: int = 0
    encrypted: int = 0
    checksums: bool = False
    defects: list[Defect] = field(default_factory=list)
    left_out: int = 0

    def note(self, defect: Defect) -> None:
        """Add a defect, or only count it if there are very many."""
        if len(self.defects) < MOST_DEFECTS:
            self.defects.append(defect)
        else:
            self.left_out += 1


def verify_wal(server: Server, reporter: Reporter, *, deep: bool, jobs: int | None = None) -> Verification:
    """Verify the WAL archive of a server, and change nothing. jobs: how many checks at a time; None: all cores.

    Takes no lock: what is archived or deleted meanwhile is looked at again before it is called a defect.
    """
    cluster = known_cluster(server)
    view = view_wal(server, server.backups.load(), segment_size=cluster.segment_size)
    found = Verification()
    total = sum(last - first + 1 for runs in view.listed.values() for first, last in runs)
    with reporter.bar(f"Verifying WAL of {server.name}", total=total, unit="segments") as bar:
        present = _compare(server, found)
        if not deep:
            for _ in present:
                bar.advance(1)
        else:
            checker = checker_for(server, cluster)
            if checker.waldump is None:
                reporter.warning(
                    f"the checksums of WAL records of server '{server.name}' are not checked: there is no pg_waldump "
                    f"of PostgreSQL {cluster.version or '(unknown version)'}"
                )
            found.checksums = checker.waldump is not None
            names = (line.name for line in present)
            for batch, faults in _look_into(names, checker, cluster.segment_size, jobs or _cores()):
                for name, reason in faults.items():
                    found.note(Defect(Kind.DAMAGED, name, reason))
                found.looked_into += len(batch)
                bar.advance(len(batch))
            found.encrypted = len(checker.encrypted)
            found.looked_into -= found.encrypted
    found.defects = _confirmed(server, found.defects)
    for hole in find_holes(server, view):
        found.note(hole)
    return found


def known_cluster(server: Server) -> Cluster:
    """Return what is known of the cluster whose WAL the archive holds, from its records and from the newest segment."""
    newest_backup = latest(server.backups.load())
    size = DEFAULT_SEGMENT_SIZE if newest_backup is None else newest_backup.xlog_segment_size
    with contextlib.suppress(CatalogError):
        identity = read_identity(server.paths)
        known = {} if identity is None else {"system_id": identity.systemid, "version": identity.version}
        for newest in reversed(server.xlogdb.newest_per_timeline().values()):
            cluster = cluster_of(server.wal_archive, newest.name, known)
            if cluster is not None:
                return cluster
        return Cluster(size, known.get("system_id"), known.get("version"))
    return Cluster(size)


def checker_for(server: Server, cluster: Cluster) -> SegmentChecker:
    """Return the checker of a server's segments, with pg_waldump if there is one that fits."""
    return SegmentChecker(server.wal_archive, cluster, find_waldump(server.settings.path_prefix, cluster.version))


# Ledger and files


def _compare(server: Server, found: Verification) -> Iterator[WalEntry]:
    """Go through ledger and archive side by side; yield the lines whose file is there, note what differs."""
    files = _wal_files(server.wal_archive, found)
    file = next(files, None)
    for line in server.xlogdb.entries():
        while file is not None and _name(file) < line.name:
            found.note(_unlisted(file))
            file = next(files, None)
        if file is None or _name(file) != line.name:
            found.note(Defect(Kind.MISSING, line.name, "xlog.db lists it, and it is not there"))
            continue
        found.files += 1
        found.size_bytes += file.size
        if file.size != line.size:
            found.note(Defect(Kind.SIZE, line.name, f"{file.size} bytes, xlog.db says {line.size}"))
        yield line
        file = next(files, None)
    while file is not None:
        found.note(_unlisted(file))
        file = next(files, None)


def _wal_files(archive: WalArchive, found: Verification) -> Iterator[Entry]:
    for entry in archive.storage.list():
        name = _name(entry)
        if is_wal_name(name) and entry.key == archive_key(name):
            yield entry
        elif "/" in entry.key or is_wal_name(name):
            found.note(Defect(Kind.UNKNOWN, entry.key, "no WAL file belongs there under this name"))


def _name(entry: Entry) -> str:
    return entry.key.rpartition("/")[2]


def _unlisted(entry: Entry) -> Defect:
    return Defect(Kind.UNLISTED, _name(entry), "it is there, and xlog.db does not list it")


def _confirmed(server: Server, defects: Sequence[Defect]) -> list[Defect]:
    """Leave out what came or went while the archive was looked at."""
    names = [defect.name for defect in defects if defect.kind is not Kind.UNKNOWN]
    listed = server.xlogdb.get(names)
    confirmed = []
    for defect in defects:
        is_listed = defect.name in listed
        is_there = defect.kind is Kind.UNKNOWN or server.wal_archive.exists(defect.name)
        if defect.kind is Kind.MISSING:
            holds = is_listed and not is_there
        elif defect.kind is Kind.UNLISTED:
            holds = is_there and not is_listed
        else:
            holds = is_there
        if holds:
            confirmed.append(defect)
    return confirmed


# Holes


def find_holes(server: Server, view: WalView) -> Iterator[Defect]:
    """Yield what is missing between the files that are there, without which a backup cannot be recovered further."""
    findings = find_costly_gaps(server, server.backups.load(), view, clock.now(), patience=timedelta(0))
    for finding in findings:
        gap, stopped = finding.gap, ", ".join(finding.backups)
        files = f"{gap.files} WAL file{'s' * (gap.files > 1)} up to {gap.last}" if gap.files > 1 else "it"
        reason = f"{files} never arrived, or got lost: recovery from {stopped} ends there"
        yield Defect(Kind.GAP, gap.first, reason, gap)
    timelines = sorted(timeline for timeline, runs in view.listed.items() if runs)
    for timeline in timelines[1:]:
        if timeline not in view.histories and not _is_encrypted(server.wal_archive, timeline):
            reason = f"without it timeline {timeline} cannot be reached from any other"
            yield Defect(Kind.HISTORY, f"{timeline:08X}.history", reason)


def _is_encrypted(archive: WalArchive, timeline: int) -> bool:
    """Whether the history file of a timeline is there, for whoever has the passphrase."""
    try:
        archive.history(timeline)
    except Encrypted:
        return True
    except StorageError:
        return False
    return False


# Looking into files


def _look_into(
    names: Iterator[str], checker: SegmentChecker, segment_size: int, jobs: int
) -> Iterator[tuple[Sequence[str], Mapping[str, str]]]:
    """Check the files in batches, several at a time; yield each batch with what is wrong, by name."""
    with ThreadPoolExecutor(jobs, thread_name_prefix="verify") as pool:
        under_way: deque[tuple[list[str], Future[dict[str, str]]]] = deque()
        batches = _batches(names, segment_size)
        for batch, overlap in itertools.chain(batches, [(None, None)]):
            if batch is not None:
                under_way.append((batch, pool.submit(checker.check, batch, overlap=overlap)))
            while under_way and (batch is None or len(under_way) > jobs):
                done, future = under_way.popleft()
                yield done, future.result()


def _batches(names: Iterator[str], segment_size: int) -> Iterator[tuple[list[str], str | None]]:
    """Yield names in portions; with each that ends in a segment, the one that follows it, if that is there."""
    size = max(1, min(_LARGEST_BATCH, _BATCH_BYTES // segment_size) - 1)
    batch = list(itertools.islice(names, size))
    while batch:
        following = list(itertools.islice(names, size))
        yield batch, _overlap(batch, following, segment_size)
        batch = following


def _overlap(batch: Sequence[str], following: Sequence[str], segment_size: int) -> str | None:
    """Return the segment that follows the last one of batch, behind which labels may stand."""
    last = next((name for name in reversed(batch) if is_segment_name(name)), None)
    wanted = None if last is None else next_segment(last, segment_size)
    return wanted if wanted in following else None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
