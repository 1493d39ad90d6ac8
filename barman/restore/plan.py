"""The whole restore as a value: what is copied from where to where, which WAL, which settings. Pure.

Everything that can be refused is refused here or in destination.py, before a byte is copied.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from barman.catalog.record import BackupRecord, Status
from barman.errors import Refused
from barman.postgres.lsn import format_lsn, parse_lsn
from barman.postgres.versions import Feature, supports
from barman.postgres.wal_names import segment_number, segment_start
from barman.restore.exclusions import STAGED_WAL
from barman.restore.recovery import NOTHING_TO_FETCH, Recovery, WalAccess, build_recovery, local_get_wal, staged_wal
from barman.restore.targets import require_reachable
from barman.restore.timelines import choose_timeline
from barman.restore.wal_plan import plan_wal

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from barman.catalog.record import BackupId
    from barman.restore.request import RestoreRequest
    from barman.restore.targets import Target, TimelineChoice
    from barman.restore.timelines import Histories
    from barman.restore.wal_plan import SegmentRuns, WalPlan


class Method(Enum):
    """How the base backup gets into the destination."""

    COPY = "copy"
    EXTRACT = "extract"
    COMBINE = "combine"


class Tarball(NamedTuple):
    """One tar file of a backup, below its data directory. oid: of the tablespace it holds; None: the data directory."""

    name: str
    oid: int | None


@dataclass(frozen=True, slots=True)
class BackupFiles:
    """How a backup lies on disk.

    tarballs: empty for plain files. sizes: of what is in them, in bytes by tablespace oid, None for the data directory;
    empty if unknown. has_stray_links: whether its pg_tblspc links lead elsewhere than to its own tablespaces.
    """

    tarballs: tuple[Tarball, ...] = ()
    sizes: Mapping[int | None, int] = field(default_factory=dict)
    has_stray_links: bool = False


@dataclass(frozen=True, slots=True)
class ArchiveView:
    """What is in the WAL archive, from the begin of the backup on.

    partials: names of unfinished segments, there or in the streaming directory. encrypted: an encrypted segment, if
    there is one.
    """

    histories: Histories
    runs: SegmentRuns = field(default_factory=dict)
    partials: frozenset[str] = frozenset()
    encrypted: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """How the restored cluster finds us. program: barman with its global options, for restore_command."""

    server: str
    program: tuple[str, ...]


class Placement(NamedTuple):
    """Where one tablespace goes. was_in_place: it is a directory in the backup's pg_tblspc, not a link."""

    name: str
    oid: int
    location: Path
    was_in_place: bool


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """What is going to be done, in full.

    chain: the backup and its ancestors, root first. staged: members of the chain that are laid out in the staging
    directory first. placements: tablespaces outside the data directory; those in place are not listed. wal_directory:
    where copied WAL goes; None: none is copied. marks_archived: whether copied WAL is marked as archived, because
    PostgreSQL owns that directory. warnings: what the operator must hear.
    """

    destination: Path
    chain: tuple[BackupRecord, ...]
    method: Method
    staged: tuple[BackupId, ...]
    placements: tuple[Placement, ...]
    target: Target | None
    wal: WalPlan
    wal_directory: Path | None
    marks_archived: bool
    recovery: Recovery
    is_standby: bool
    warnings: tuple[str, ...]

    @property
    def record(self) -> BackupRecord:
        """The backup that is restored."""
        return self.chain[-1]

    @property
    def is_wal_inside(self) -> bool:
        """Whether copied WAL goes to one of the two places in the destination that nothing else uses."""
        return self.wal_directory in (
            self.destination / STAGED_WAL,
            own_wal_directory(self.destination, self.record),
        )


def plan_restore(
    request: RestoreRequest,
    *,
    chain: Sequence[BackupRecord],
    files: Mapping[BackupId, BackupFiles],
    target: Target | None,
    archive: ArchiveView,
    get_wal: bool,
    place: Place,
) -> RestorePlan:
    """Return the plan for request, or raise Refused with what stands against it.

    chain: restorable, root first (select.require_restorable). get_wal: whether PostgreSQL fetches its WAL itself.
    """
    record = chain[-1]
    if target is not None:
        require_reachable(target, record)
    if archive.encrypted is not None and not get_wal:
        raise Refused(f"WAL file {archive.encrypted} is encrypted; restoring encrypted WAL is not available")
    _require_inside(request.recovery_conf_filename)
    warnings = _warnings(request, record, get_wal=get_wal)
    wal = _plan_wal(request, record, target, archive, follows_partial=request.partial_wal and not get_wal)
    warnings += _judge_wal(wal, record, target, get_wal=get_wal)
    directory = None if get_wal else _wal_directory(request, record, target)
    return RestorePlan(
        destination=request.destination,
        chain=tuple(chain),
        method=_method(chain, files),
        staged=_staged(chain, files),
        placements=_placements(request, record),
        target=target,
        wal=wal,
        wal_directory=directory,
        marks_archived=directory == own_wal_directory(request.destination, record),
        recovery=build_recovery(
            version=_version(record),
            target=target,
            action=request.target.action,
            timeline=_timeline_setting(request, record, wal.path.timeline, archive.histories),
            access=_access(request, record, directory, place, get_wal=get_wal),
            is_standby=request.standby_mode,
            file_name=request.recovery_conf_filename or "postgresql.auto.conf",
        ),
        is_standby=request.standby_mode,
        warnings=tuple(warnings),
    )


def own_wal_directory(destination: Path, record: BackupRecord) -> Path:
    """Return where a cluster of the backup's version keeps its WAL."""
    return destination / ("pg_wal" if supports(_version(record), Feature.WAL_WORDING) else "pg_xlog")


def _version(record: BackupRecord) -> int:
    if record.version is None:
        raise Refused(f"the record of backup {record.backup_id} does not say which PostgreSQL version it is of")
    return record.version


def _warnings(request: RestoreRequest, record: BackupRecord, *, get_wal: bool) -> list[str]:
    warnings = []
    if record.status is Status.WAITING_FOR_WALS:
        warnings.append(
            f"backup {record.backup_id} is in status WAITING_FOR_WALS: not all its WAL is known to be archived"
        )
    if request.restore_command is not None and not get_wal:
        warnings.append("--restore-command has no effect without get-wal")
    if request.partial_wal and get_wal:
        warnings.append("--partial-wal has no effect with get-wal")
    if request.staging_wal_directory is not None and get_wal:
        warnings.append("--staging-wal-directory has no effect with get-wal")
    if request.recovery_conf_filename is not None and not supports(_version(record), Feature.RECOVERY_SIGNAL):
        warnings.append("--recovery-conf-filename has no effect before PostgreSQL 12")
    return warnings


def _require_inside(name: str | None) -> None:
    """Refuse a file for the recovery settings that does not lie in the restored data directory."""
    if name is not None and (name.startswith("/") or name.endswith("/") or ".." in name.split("/")):
        raise Refused(f"--recovery-conf-filename must name a file in the destination, not {name!r}")


def _plan_wal(
    request: RestoreRequest,
    record: BackupRecord,
    target: Target | None,
    archive: ArchiveView,
    *,
    follows_partial: bool,
) -> WalPlan:
    size = record.xlog_segment_size
    begin_wal, end_wal, timeline = record.begin_wal, record.end_wal, record.end_timeline
    if begin_wal is None or end_wal is None or timeline is None:
        raise Refused(f"the record of backup {record.backup_id} does not say which WAL the backup needs")
    path = choose_timeline(
        request.target.timeline,
        timeline=timeline,
        end=_lsn(record.end_xlog, end_wal, size),
        histories=archive.histories,
        follows_latest=supports(_version(record), Feature.RECOVERY_SIGNAL),
    )
    return plan_wal(
        path,
        first=segment_number(begin_wal, size),
        consistent_at=segment_number(end_wal, size),
        segment_size=size,
        runs=archive.runs,
        target=target,
        partials=archive.partials if follows_partial else frozenset(),
    )


def _lsn(text: str | None, segment: str, segment_size: int) -> int:
    return parse_lsn(text) if text is not None else segment_start(segment, segment_size)


def _judge_wal(wal: WalPlan, record: BackupRecord, target: Target | None, *, get_wal: bool) -> list[str]:
    """Refuse what cannot work for want of WAL; return warnings about what may fall short."""
    missing = f"WAL file {wal.missing}"
    reach = format_lsn((wal.reaches + 1) * wal.segment_size)
    # What is still on its way, get-wal may find when recovery asks for it.
    may_come = get_wal and not wal.is_gap
    if not wal.is_consistent and not (may_come and record.status is Status.WAITING_FOR_WALS):
        raise Refused(
            f"{missing} is not in the archive, and backup {record.backup_id} needs all up to {record.end_wal}",
            hint="Archive it first (barman archive-wal), or choose another backup.",
        )
    if not wal.reaches_target and not may_come and target is not None:
        if wal.is_gap:
            reason = f"{missing}, which is needed for it, is missing from the archive"
        else:
            reason = f"the archive ends before {missing}"
        raise Refused(
            f"the target {target.kind.value} {target.text} cannot be reached: {reason}",
            hint=f"WAL up to {reach} is there.",
        )
    if wal.is_gap and wal.needed_until is None:
        return [
            f"{missing} is missing from the archive: recovery cannot go beyond {reach}, although later WAL is archived"
        ]
    return []


def _wal_directory(request: RestoreRequest, record: BackupRecord, target: Target | None) -> Path:
    if request.staging_wal_directory is not None:
        return request.staging_wal_directory
    if target is not None or request.target.timeline is not None:
        return request.destination / STAGED_WAL
    return own_wal_directory(request.destination, record)


def _access(
    request: RestoreRequest, record: BackupRecord, directory: Path | None, place: Place, *, get_wal: bool
) -> WalAccess:
    if get_wal and request.restore_command is not None:
        return WalAccess(request.restore_command)
    if get_wal or directory is None:
        return local_get_wal(place.program, place.server, takes_partial=not request.standby_mode)
    if directory != own_wal_directory(request.destination, record):
        return staged_wal(str(directory))
    if request.standby_mode:
        return WalAccess(None)
    # Recovery from the archive, and not a mere crash recovery, so that the cluster gets a timeline of its own.
    return WalAccess(NOTHING_TO_FETCH, comment="All WAL of the restored backup is in the data directory")


def _timeline_setting(
    request: RestoreRequest, record: BackupRecord, chosen: int, histories: Histories
) -> TimelineChoice | None:
    """Return what recovery_target_timeline has to be so that PostgreSQL takes the planned path."""
    choice = request.target.timeline
    if choice == "current" and chosen != record.timeline:
        # PostgreSQL means the timeline on which the backup began.
        return chosen
    if choice == "current" or choice == "latest":  # noqa: PLR1714 - the comparison narrows the type
        return choice
    own = record.timeline
    if choice is None and (request.standby_mode or not any(own is None or number > own for number in histories)):
        return None
    # A number needs its history file, which the archive of a once promoted server may lack for its first timeline.
    if chosen == own and own not in histories and (choice is None or own != 1):
        return "current"
    return chosen


def _method(chain: Sequence[BackupRecord], files: Mapping[BackupId, BackupFiles]) -> Method:
    if len(chain) > 1:
        return Method.COMBINE
    return Method.EXTRACT if files[chain[0].backup_id].tarballs else Method.COPY


def _staged(chain: Sequence[BackupRecord], files: Mapping[BackupId, BackupFiles]) -> tuple[BackupId, ...]:
    if len(chain) == 1:
        return ()
    return tuple(
        member.backup_id
        for member in chain
        if files[member.backup_id].tarballs or files[member.backup_id].has_stray_links
    )


def _placements(request: RestoreRequest, record: BackupRecord) -> tuple[Placement, ...]:
    tablespaces = record.tablespaces or ()
    names = [tablespace.name for tablespace in tablespaces]
    for name in request.tablespaces:
        if name not in names:
            known = f"It has {', '.join(names)}." if names else "It has none."
            raise Refused(f"backup {record.backup_id} has no tablespace '{name}'", hint=known)
    placements = []
    for tablespace in tablespaces:
        was_in_place = not tablespace.location.startswith("/")
        chosen = request.tablespaces.get(tablespace.name)
        if chosen is not None or not was_in_place:
            location = chosen or Path(tablespace.location)
            placements.append(Placement(tablespace.name, tablespace.oid, location, was_in_place))
    _require_apart(request.destination, placements)
    return tuple(placements)


def _require_apart(destination: Path, placements: Sequence[Placement]) -> None:
    """Refuse tablespaces that would lie in each other, or in the data directory, or around it."""
    places: list[tuple[str, Path]] = [("the destination", destination)]
    for placement in placements:
        what = f"tablespace '{placement.name}'"
        if not placement.location.is_absolute():
            raise Refused(f"the location of {what} is not absolute: {placement.location}")
        for other, path in places:
            if path == placement.location or path in placement.location.parents or placement.location in path.parents:
                raise Refused(f"{what} ({placement.location}) and {other} ({path}) would share a directory")
        places.append((what, placement.location))


def describe_target(target: Target | None, timeline: TimelineChoice | None) -> str | None:
    """Return what recovery is to stop at, in words; None when it takes all WAL there is."""
    parts: Collection[str] = [
        *([f"Recovery target {target.kind.value}: '{target.text}'"] if target is not None else []),
        *([f"Recovery target timeline: '{timeline}'"] if timeline is not None else []),
    ]
    return "Doing PITR. " + ", ".join(parts) if parts else None
