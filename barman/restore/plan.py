"""The whole restore as a value: what is copied from where to where, which WAL, which settings. Pure.

Everything that can be refused is refused here or in destination.py, before a byte is copied.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from barman.catalog.record import BackupRecord, Status
from barman.errors import NotFound, Refused
from barman.postgres.versions import Feature, supports
from barman.restore.access import choose_access, choose_wal_directory, own_wal_directory
from barman.restore.advice import advise, find_shortfalls
from barman.restore.exclusions import STAGED_WAL
from barman.restore.placements import Placement, place_tablespaces
from barman.restore.reach import find_other_ways, judge_reach, limit
from barman.restore.recovery import Recovery, build_recovery
from barman.restore.room import Rate, Room, expected_time, measured_rate, plan_room
from barman.restore.settings_plan import SettingsPlan, plan_settings
from barman.restore.targets import TargetAction, TargetKind, require_reachable

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import timedelta
    from pathlib import Path

    from barman.catalog.record import BackupId
    from barman.postgres.wal_runs import SegmentRuns
    from barman.restore.access import Origin
    from barman.restore.request import RestoreRequest, Staging
    from barman.restore.settings_plan import ConfigFiles
    from barman.restore.sighting import Sighting
    from barman.restore.targets import Target, TimelineChoice
    from barman.restore.timelines import Histories
    from barman.restore.wal_plan import WalPlan


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

    tarballs: empty for plain files. sizes: of the files, unpacked, in bytes by tablespace oid, None for the data
    directory; empty if unknown. has_stray_links: whether its pg_tblspc links lead elsewhere than to its own
    tablespaces.
    """

    tarballs: tuple[Tarball, ...] = ()
    sizes: Mapping[int | None, int] = field(default_factory=dict)
    has_stray_links: bool = False


@dataclass(frozen=True, slots=True)
class ArchiveView:
    """What is in the WAL archive, from the begin of the backup on.

    partials: names of unfinished segments, there or in the streaming directory. encrypted: an encrypted segment
    that cannot be decrypted, if there is one.
    """

    histories: Histories
    runs: SegmentRuns = field(default_factory=dict)
    partials: frozenset[str] = frozenset()
    encrypted: str | None = None


@dataclass(frozen=True, slots=True)
class Configuration:
    """How the cluster was configured. files: None if nobody looked: they are in tarballs, to be unpacked anyway.

    limits: of the server, as the control file has them; {} if that is not known. unread: why something is not known.
    """

    files: ConfigFiles | None
    limits: Mapping[str, int] = field(default_factory=dict)
    unread: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found when the backup and the archive were looked at.

    reach: all WAL there is on the way (reach.plan_reach). sighting: of the target in it; None without one. sizes: of
    the restored cluster, as BackupFiles has them.
    """

    files: Mapping[BackupId, BackupFiles]
    archive: ArchiveView
    reach: WalPlan
    sighting: Sighting | None = None
    sizes: Mapping[int | None, int] = field(default_factory=dict)
    config: Configuration = Configuration(None)


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """What is going to be done, in full.

    reason: why this backup. chain: the backup and its ancestors, root first. staged: members of the chain that are laid
    out in the staging directory first. staging_there: where all of it is laid out and combined, on the host of the
    destination; None: on this one. placements: tablespaces outside the data directory; those in place are not
    listed. wal: what recovery needs of what is there; reach: all there is. wal_directory: where copied WAL goes; None:
    none is copied. marks_archived: whether copied WAL is marked as archived, because PostgreSQL owns that directory.
    settings: what becomes of the configuration files; None: not known before they are unpacked. unread: what of the
    configuration was not read, and why. room: what is written where. rate: how fast, if that was ever measured.
    warnings: what the operator must hear. advice: what to look after before PostgreSQL is started.
    """

    destination: Path
    reason: str
    chain: tuple[BackupRecord, ...]
    method: Method
    staged: tuple[BackupId, ...]
    staging_there: Path | None
    placements: tuple[Placement, ...]
    target: Target | None
    wal: WalPlan
    reach: WalPlan
    wal_directory: Path | None
    marks_archived: bool
    recovery: Recovery
    is_standby: bool
    settings: SettingsPlan | None
    unread: tuple[str, ...]
    room: tuple[Room, ...]
    rate: Rate | None
    warnings: tuple[str, ...]
    advice: tuple[str, ...]

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

    @property
    def expected(self) -> timedelta | None:
        """How long writing the base backup is going to take; None if nothing like it was measured."""
        return expected_time(self.room, self.rate)


def plan_restore(
    request: RestoreRequest,
    *,
    chain: Sequence[BackupRecord],
    reason: str,
    target: Target | None,
    seen: Seen,
    get_wal: bool,
    origin: Origin,
    staging: Staging,
) -> RestorePlan:
    """Return the plan for request, or raise Refused with what stands against it.

    chain: restorable, root first (select.require_restorable). get_wal: whether PostgreSQL fetches its WAL itself.
    staging: where backups are laid out that cannot be read where they are.
    """
    record, archive = chain[-1], seen.archive
    warnings = _judge(request, record, target, seen, get_wal=get_wal)
    wal = _needed_wal(request, target, seen, get_wal=get_wal)
    directory = None if get_wal else choose_wal_directory(request, record, has_target=target is not None)
    placements = place_tablespaces(record, request.destination, request.tablespaces)
    recovery = build_recovery(
        version=_version(record),
        target=target,
        action=request.target.action,
        timeline=_timeline_setting(request, record, wal.path.timeline, archive.histories),
        access=choose_access(request, record, directory, origin),
        is_standby=request.standby_mode,
        file_name=request.recovery_conf_filename or "postgresql.auto.conf",
    )
    method = _method(chain, seen.files)
    goes_there = method is Method.COMBINE and request.remote_ssh_command is not None
    staging_there = staging.there if goes_there else None
    staged = _staged(chain, seen.files, sends_all=staging_there is not None)
    settings, unread = _settings(request, record, seen.config, recovery)
    if settings is not None:
        warnings += find_shortfalls(settings, seen.config.limits)
    return RestorePlan(
        destination=request.destination,
        reason=reason,
        chain=tuple(chain),
        method=method,
        staged=staged,
        staging_there=staging_there,
        placements=placements,
        target=target,
        wal=wal,
        reach=seen.reach,
        wal_directory=directory,
        marks_archived=directory == own_wal_directory(request.destination, record),
        recovery=recovery,
        is_standby=request.standby_mode,
        settings=settings,
        unread=unread,
        room=plan_room(
            request.destination,
            placements,
            seen.sizes,
            wal=None if directory is None else (directory, wal.count * wal.segment_size),
            staging=(staging_there or staging.here, _staged_size(staged, seen.files)) if staged else None,
            is_staged_here=staging_there is None,
        ),
        rate=measured_rate(chain),
        warnings=tuple(warnings),
        advice=tuple(advise(settings)),
    )


def _judge(
    request: RestoreRequest, record: BackupRecord, target: Target | None, seen: Seen, *, get_wal: bool
) -> list[str]:
    """Return what is to be warned of before anything is planned; Refused if the target or its WAL is out of reach."""
    archive = seen.archive
    if target is not None:
        require_reachable(target, record)
    if archive.encrypted is not None and not get_wal:
        raise Refused(
            f"WAL file {archive.encrypted} is encrypted, and there is no passphrase for it",
            hint="Set encryption_passphrase_command.",
        )
    _require_inside(request.recovery_conf_filename)
    return [
        *_warnings(request, record, get_wal=get_wal),
        *judge_reach(
            seen.reach,
            record,
            target,
            seen.sighting,
            may_come=get_wal or request.standby_mode,
            other_ways=find_other_ways(seen.reach, record, archive.histories, archive.runs),
        ),
    ]


def _version(record: BackupRecord) -> int:
    if record.version is None:
        raise Refused(f"the record of backup {record.backup_id} does not say which PostgreSQL version it is of")
    return record.version


def _warnings(request: RestoreRequest, record: BackupRecord, *, get_wal: bool) -> list[str]:
    is_old = not supports(_version(record), Feature.RECOVERY_SIGNAL)
    conditions = {
        f"backup {record.backup_id} is in status WAITING_FOR_WALS: not all its WAL is known to be archived": (
            record.status is Status.WAITING_FOR_WALS
        ),
        "--restore-command has no effect without get-wal": request.restore_command is not None and not get_wal,
        "--partial-wal has no effect with get-wal": request.partial_wal and get_wal,
        "--staging-wal-directory has no effect with get-wal": request.staging_wal_directory is not None and get_wal,
        "--recovery-conf-filename has no effect before PostgreSQL 12": (
            request.recovery_conf_filename is not None and is_old
        ),
        "--recovery-option-port has no effect without get-wal": (
            request.recovery_option_port is not None and request.remote_ssh_command is not None and not get_wal
        ),
    }
    return [text for text, holds in conditions.items() if holds]


def _require_inside(name: str | None) -> None:
    """Refuse a file for the recovery settings that does not lie in the restored data directory."""
    if name is not None and (name.startswith("/") or name.endswith("/") or ".." in name.split("/")):
        raise Refused(f"--recovery-conf-filename must name a file in the destination, not {name!r}")


def _needed_wal(request: RestoreRequest, target: Target | None, seen: Seen, *, get_wal: bool) -> WalPlan:
    """Return the part of reach that is needed.

    Where PostgreSQL pauses at a time, transaction or restore point, which it does unless told otherwise, one may look
    around and go on to a later one: all WAL is given to it.
    """
    if target is None or seen.sighting is None or seen.sighting.until is None:
        return seen.reach
    ends_there = request.target.action in (TargetAction.PROMOTE, TargetAction.SHUTDOWN) and not request.standby_mode
    return limit(
        seen.reach,
        seen.sighting.until,
        seen.archive.runs,
        is_limited=ends_there or target.kind in (TargetKind.LSN, TargetKind.IMMEDIATE),
        partials=usable_partials(request, seen.archive, get_wal=get_wal),
    )


def usable_partials(request: RestoreRequest, archive: ArchiveView, *, get_wal: bool) -> frozenset[str]:
    """Return the unfinished segments that may be given to the restored cluster."""
    return archive.partials if request.partial_wal and not get_wal else frozenset()


def _settings(
    request: RestoreRequest, record: BackupRecord, config: Configuration, recovery: Recovery
) -> tuple[SettingsPlan | None, tuple[str, ...]]:
    """Return what becomes of the settings, None if that is not known, and why something is not known."""
    if config.files is None:
        return None, config.unread
    try:
        settings = plan_settings(
            config.files,
            destination=str(request.destination),
            record=record,
            recovery=recovery,
            is_standby=request.standby_mode,
        )
    except NotFound as error:
        return None, (error.message, *config.unread)
    return settings, config.unread


def _staged_size(staged: Sequence[BackupId], files: Mapping[BackupId, BackupFiles]) -> int | None:
    """Return how many bytes the members of a chain take that are laid out; None if one of them is not known."""
    sizes = [files[backup_id].sizes for backup_id in staged]
    return sum(sum(size.values()) for size in sizes) if all(sizes) else None


def _timeline_setting(
    request: RestoreRequest, record: BackupRecord, chosen: int, histories: Histories
) -> TimelineChoice | None:
    """Return what recovery_target_timeline has to be so that PostgreSQL takes the planned path."""
    choice, own = request.target.timeline, record.timeline
    if choice == "current":
        # PostgreSQL means the timeline on which the backup began.
        return choice if chosen == own else chosen
    if chosen == _latest_found(own or 0, histories):
        if choice == "latest":
            return choice
        if choice is None and (request.standby_mode or chosen == own):
            return None
    # A number needs its history file, which the archive of a once promoted server may lack for its first timeline.
    if chosen == own and own not in histories and (choice is None or own != 1):
        return "current"
    return chosen


def _latest_found(own: int, histories: Histories) -> int:
    """Return what PostgreSQL takes for the latest timeline: it looks for the files of one after the other.

    Source: PostgreSQL source, timeline.c (findNewestTimeLine).
    """
    while own + 1 in histories:
        own += 1
    return own


def _method(chain: Sequence[BackupRecord], files: Mapping[BackupId, BackupFiles]) -> Method:
    if len(chain) > 1:
        return Method.COMBINE
    return Method.EXTRACT if files[chain[0].backup_id].tarballs else Method.COPY


def _staged(
    chain: Sequence[BackupRecord], files: Mapping[BackupId, BackupFiles], *, sends_all: bool
) -> tuple[BackupId, ...]:
    if len(chain) == 1:
        return ()
    return tuple(
        member.backup_id
        for member in chain
        if sends_all or files[member.backup_id].tarballs or files[member.backup_id].has_stray_links
    )


def describe_target(target: Target | None, timeline: TimelineChoice | None) -> str | None:
    """Return what recovery is to stop at, in words; None when it takes all WAL there is."""
    parts: Collection[str] = [
        *([f"Recovery target {target.kind.value}: '{target.text}'"] if target is not None else []),
        *([f"Recovery target timeline: '{timeline}'"] if timeline is not None else []),
    ]
    return "Doing PITR. " + ", ".join(parts) if parts else None
