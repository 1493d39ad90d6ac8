"""How far recovery can go, and whether that is far enough: the refusals for want of WAL. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from barman.catalog.record import BackupRecord, Status
from barman.errors import Refused
from barman.postgres.lsn import format_lsn, parse_lsn
from barman.postgres.timelines import TimelineHistory
from barman.postgres.versions import Feature, supports
from barman.postgres.wal_names import segment_number, segment_start
from barman.postgres.wal_runs import follow_path
from barman.restore.targets import TargetKind
from barman.restore.timelines import choose_timeline
from barman.restore.wal_plan import plan_wal

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from barman.postgres.wal_runs import SegmentRuns
    from barman.restore.sighting import Place, Sighting
    from barman.restore.targets import Target, TimelineChoice
    from barman.restore.timelines import Histories
    from barman.restore.wal_plan import WalPlan

_WORDS = {
    TargetKind.TIME: "time",
    TargetKind.XID: "transaction",
    TargetKind.LSN: "LSN",
    TargetKind.NAME: "restore point",
}


def plan_reach(
    record: BackupRecord,
    timeline: TimelineChoice | None,
    *,
    histories: Histories,
    runs: SegmentRuns,
    partials: Collection[str] = (),
) -> WalPlan:
    """Return all WAL recovery could get from the archive, along the timelines it is going to follow.

    partials: unfinished segments that may be used. Refused if the timeline cannot be reached from the backup.
    """
    size = record.xlog_segment_size
    begin_wal, end_wal, own = record.begin_wal, record.end_wal, record.end_timeline
    if begin_wal is None or end_wal is None or own is None or record.version is None:
        raise Refused(f"the record of backup {record.backup_id} does not say which WAL the backup needs")
    path = choose_timeline(
        timeline,
        timeline=own,
        end=end_lsn(record),
        histories=histories,
        follows_latest=supports(record.version, Feature.RECOVERY_SIGNAL),
    )
    return plan_wal(
        path,
        first=segment_number(begin_wal, size),
        consistent_at=segment_number(end_wal, size),
        segment_size=size,
        runs=runs,
        partials=partials,
    )


def limit(
    reach: WalPlan, until: int | None, runs: SegmentRuns, *, is_limited: bool, partials: Collection[str]
) -> WalPlan:
    """Return the part of reach that recovery to segment number until needs; all of it unless is_limited."""
    return plan_wal(
        reach.path,
        first=reach.first,
        consistent_at=reach.consistent_at,
        segment_size=reach.segment_size,
        runs=runs,
        needed_until=until,
        is_limited=is_limited,
        partials=partials,
    )


def begin_lsn(record: BackupRecord) -> int:
    """Return where recovery from the backup begins; the begin of the segment if the record does not say."""
    return _lsn(record.begin_xlog, record.begin_wal, record.xlog_segment_size)


def end_lsn(record: BackupRecord) -> int:
    """Return where the backup ends; the begin of the segment if the record does not say."""
    return _lsn(record.end_xlog, record.end_wal, record.xlog_segment_size)


def find_other_ways(reach: WalPlan, record: BackupRecord, histories: Histories, runs: SegmentRuns) -> Sequence[int]:
    """Return the other timelines on the way to which there is all WAL the backup needs, ascending."""
    own, end = record.end_timeline or 0, end_lsn(record)
    paths = {own: TimelineHistory(own), **histories}
    return [
        timeline
        for timeline, path in sorted(paths.items())
        if timeline != reach.path.timeline
        and path.contains(own, end)
        and follow_path(path, reach.first, reach.segment_size, runs) >= reach.consistent_at
    ]


def judge_reach(
    reach: WalPlan,
    record: BackupRecord,
    target: Target | None,
    sighting: Sighting | None,
    *,
    may_come: bool,
    other_ways: Sequence[int] = (),
) -> Sequence[str]:
    """Refuse what cannot work for want of WAL, naming what can; return warnings about what may fall short.

    other_ways: what find_other_ways found. may_come: whether WAL that is not archived yet can still come while the
    restored cluster recovers.
    """
    may_come = may_come and not reach.is_gap
    if not reach.is_consistent and not (may_come and record.status is Status.WAITING_FOR_WALS):
        raise Refused(
            f"WAL file {reach.missing} is not in the archive, and backup {record.backup_id} needs all up to "
            f"{record.end_wal}",
            hint=f"On the way to timeline {other_ways[-1]} nothing is missing: add --target-tli {other_ways[-1]}."
            if other_ways
            else "Archive it first (barman archive-wal), or choose another backup.",
        )
    if target is None or sighting is None:
        return _gap_warnings(reach)
    words = _WORDS.get(target.kind, target.kind.value)
    if sighting.unread is not None:
        return [f"whether the target {words} {target.text} can be reached is not known: {sighting.unread}"]
    if sighting.until is not None:
        _require_consistent_there(words, record, target, sighting)
        return []
    reason = _why_not_there(reach, record, words, target, sighting)
    if sighting.elsewhere is None and may_come:
        return [f"{reason}; recovery waits for it, or fails, at the end of the WAL that it can fetch"]
    if sighting.elsewhere is None and target.kind is TargetKind.NAME and not reach.is_gap:
        # Barman 3.19 takes any name.
        return [f"{reason}; recovery is going to fail at its end (list-restore-points --names shows what there is)"]
    raise Refused(reason, hint=_hint(reach, target, sighting))


def _require_consistent_there(words: str, record: BackupRecord, target: Target, sighting: Sighting) -> None:
    is_searched = target.kind in (TargetKind.XID, TargetKind.NAME)
    if is_searched and sighting.at is not None and sighting.at < end_lsn(record):
        raise Refused(
            f"the target {words} {target.text} is at {format_lsn(sighting.at)}, before backup {record.backup_id} "
            f"ended, at {record.end_xlog}",
            hint="Choose an earlier backup; the earliest point of this one is its end (--target-immediate).",
        )


def _why_not_there(reach: WalPlan, record: BackupRecord, words: str, target: Target, sighting: Sighting) -> str:
    reason = f"the target {words} {target.text} cannot be reached from backup {record.backup_id}"
    place = sighting.elsewhere
    if place is not None and not _is_on_path(reach, place):
        return (
            f"{reason}: it is on timeline {place.timeline}, at {format_lsn(place.lsn)}, and recovery follows the "
            f"timelines {', '.join(map(str, reach.path.path))}"
        )
    if reach.is_gap:
        return f"{reason}: WAL file {reach.missing} is missing from the archive"
    if target.kind is TargetKind.TIME and sighting.reach is not None and sighting.reach.time is not None:
        return f"{reason}: no transaction in the archive ended after it"
    last = _last_name(reach)
    if target.kind in (TargetKind.XID, TargetKind.NAME):
        return f"{reason}: it is not in the WAL from {reach.copy_of(reach.first).name} to {last}"
    return f"{reason}: the archive ends before it, with WAL file {last}"


def _is_on_path(reach: WalPlan, place: Place) -> bool:
    """Whether recovery would come there, were it not for a hole."""
    return reach.path.timeline_of_segment(place.lsn // reach.segment_size, reach.segment_size) == place.timeline


def _hint(reach: WalPlan, target: Target, sighting: Sighting) -> str:
    place = sighting.elsewhere
    if place is not None and not _is_on_path(reach, place):
        backup = "" if place.timeline in reach.path.path else ", with a backup from which that timeline can be reached"
        return f"Add --target-tli {place.timeline}{backup}."
    last = sighting.reach
    if last is None or last.lsn is None:
        return "Without a target all WAL there is is recovered."
    older = " What came before the backup needs an earlier one." if target.kind is TargetKind.XID else ""
    transaction = "" if last.time is None else f", its last transaction ended at {last.time.isoformat(sep=' ')}"
    return (
        f"The nearest point that can be reached is {format_lsn(last.lsn)}{transaction}; without a target all up to "
        f"there is recovered.{older}"
    )


def _gap_warnings(reach: WalPlan) -> Sequence[str]:
    end = format_lsn((reach.reaches + 1) * reach.segment_size)
    text = f"WAL file {reach.missing} is missing from the archive: recovery cannot go beyond {end}, although later WAL"
    return [f"{text} is archived"] if reach.is_gap else []


def _last_name(reach: WalPlan) -> str:
    return reach.copy_of(reach.reaches).name


def _lsn(text: str | None, segment: str | None, segment_size: int) -> int:
    return parse_lsn(text) if text is not None else segment_start(str(segment), segment_size)
