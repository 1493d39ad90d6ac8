"""What may be deleted, and why: the one place that knows what is still needed. Pure.

Everything that deletes backups or WAL asks here first, and does what the answer says, nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from barman.catalog.chains import descendants
from barman.catalog.record import BackupId, BackupRecord, KeepTarget, Status
from barman.catalog.selection import previous_backup
from barman.errors import Refused, WalError
from barman.postgres.wal_names import WalKind, is_segment_name, parse_wal_name
from barman.retention.policy import Verdict, Word, counted_redundancy, counts
from barman.wal.needs import has_failed_for_wal, may_serve

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class Deletion(NamedTuple):
    """One backup to be deleted, and why."""

    backup_id: BackupId
    reason: str


@dataclass(frozen=True, slots=True)
class WalNeeds:
    """Which WAL the surviving backups need.

    since: the begin of the oldest backup that all later WAL belongs to; None: nothing may be removed. ranges: first and
    last segment of the older backups that need only themselves. reason: how since came about.
    """

    since: str | None
    ranges: tuple[tuple[str, str], ...]
    reason: str


def plan_deletion(
    records: Mapping[BackupId, BackupRecord],
    wanted: Sequence[BackupId],
    keeps: Mapping[BackupId, KeepTarget],
    *,
    minimum_redundancy: int,
) -> list[Deletion]:
    """Return what deleting backups by hand takes along: whatever is based on them, each before what it is based on.

    A backup whose deletion has begun is always in the list. Raises Refused if one of the others, or of those that
    would go with them, is kept, or if fewer than minimum_redundancy backups would be left.
    """
    plan: dict[BackupId, Deletion] = {}
    for backup_id in wanted:
        for child in descendants(records, backup_id):
            plan.setdefault(child.backup_id, Deletion(child.backup_id, f"based on {backup_id}"))
        plan.setdefault(backup_id, Deletion(backup_id, "asked for"))
    doomed = {one.backup_id for root in wanted if records[root].doomed for one in descendants(records, root)}
    chosen = [backup_id for backup_id in plan if not records[backup_id].doomed and backup_id not in doomed]
    for backup_id in chosen:
        if backup_id in keeps:
            raise Refused(
                f"backup {backup_id} is kept by a keep mark ({keeps[backup_id].value}) and is not deleted",
                hint="Release it first with 'barman keep --release'.",
            )
    counting = [backup_id for backup_id in chosen if counts(records[backup_id])]
    have = counted_redundancy(records)
    if counting and have - len(counting) < minimum_redundancy:
        raise Refused(
            f"backup {', '.join(counting)} is not deleted: minimum redundancy requires {minimum_redundancy} backups, "
            f"there are {have}"
        )
    return list(plan.values())


def plan_enforcement(
    records: Mapping[BackupId, BackupRecord],
    keeps: Mapping[BackupId, KeepTarget],
    verdicts: Mapping[BackupId, Verdict],
) -> list[Deletion]:
    """Return what is to be deleted without being asked: deletions begun and not finished, then what is obsolete.

    Oldest first, but whatever is based on a backup before it. A chain of which one backup is kept stays.
    """
    roots = [
        *((backup_id, "its deletion has begun") for backup_id in sorted(records) if records[backup_id].doomed),
        *(
            (backup_id, verdicts[backup_id].reason)
            for backup_id in sorted(records)
            if verdicts[backup_id].word is Word.OBSOLETE
        ),
    ]
    plan: dict[BackupId, Deletion] = {}
    for backup_id, reason in roots:
        based_on_it = [child.backup_id for child in descendants(records, backup_id)]
        doomed = records[backup_id].doomed
        if not doomed and any(one in keeps for one in (backup_id, *based_on_it)):
            continue
        for child in based_on_it:
            plan.setdefault(child, Deletion(child, f"based on {backup_id}: {reason}"))
        plan.setdefault(backup_id, Deletion(backup_id, reason))
    return list(plan.values())


def concerns_wal(
    records: Mapping[BackupId, BackupRecord],
    keeps: Mapping[BackupId, KeepTarget],
    record: BackupRecord,
    *,
    by_hand: bool,
) -> bool:
    """Whether deleting record is an occasion to remove WAL: no complete backup is older.

    Older ones that need only themselves do not count, except when the deletion is by hand.
    """
    older = previous_backup(records, record.backup_id)
    while older is not None and not by_hand and keeps.get(older.backup_id) is KeepTarget.STANDALONE:
        older = previous_backup(records, older.backup_id)
    return older is None


def plan_needs_after(
    records: Mapping[BackupId, BackupRecord],
    keeps: Mapping[BackupId, KeepTarget],
    leaving: Sequence[BackupRecord],
    *,
    by_hand: bool,
) -> WalNeeds | None:
    """Return what WAL is needed when all of leaving are deleted, in this order; None if no WAL is to be removed."""
    remaining = dict(records)
    occasion = None
    for record in leaving:
        if concerns_wal(remaining, keeps, record, by_hand=by_hand):
            occasion = record
        del remaining[record.backup_id]
    return None if occasion is None else plan_needs(remaining, keeps, leaving=occasion)


def plan_needs(
    records: Mapping[BackupId, BackupRecord],
    keeps: Mapping[BackupId, KeepTarget],
    *,
    leaving: BackupRecord | None = None,
) -> WalNeeds:
    """Return what WAL the backups in records need, but for leaving, which is being deleted.

    With no backup left the WAL from the begin of leaving on stays: a backup may be running. If a record cannot be
    read, nobody knows what it needs, and everything stays.
    """
    survivors = [
        record
        for _, record in sorted(records.items())
        if not record.doomed and (leaving is None or record.backup_id != leaving.backup_id)
    ]
    unreadable = [record.backup_id for record in survivors if record.damage]
    if unreadable:
        return WalNeeds(None, (), f"the record of backup {unreadable[0]} cannot be read")
    ranges = []
    since: str | None = None
    reason = ""
    for record in filter(_may_be_restored, survivors):
        begin, end = record.begin_wal, record.end_wal
        if begin is None:
            if record.is_copy_done:
                return WalNeeds(None, (), f"the record of backup {record.backup_id} does not say where its WAL begins")
            continue
        if keeps.get(record.backup_id) is KeepTarget.STANDALONE and end is not None and record.status is Status.DONE:
            ranges.append((begin, end))
        elif since is None or begin < since:
            since, reason = begin, f"backup {record.backup_id} begins there"
    if since is None and leaving is not None and leaving.begin_wal is not None:
        since, reason = leaving.begin_wal, f"no other backup is left; {leaving.backup_id} began there"
    return WalNeeds(since, tuple(ranges), reason or "no backup says where its WAL begins")


def plan_wal_removal(names: Iterable[str], needs: WalNeeds) -> list[str]:
    """Return those of names that no backup needs, in the order given.

    History files always stay. A label or partial segment goes with its segment. Names are compared as text: timelines
    above that of needs.since stay whole.
    """
    if needs.since is None:
        return []
    return [name for name in names if not _is_needed(name, needs.since, needs.ranges)]


def _is_needed(name: str, since: str, ranges: Sequence[tuple[str, str]]) -> bool:
    if is_segment_name(name):
        # Nearly all are: a million of them take a second less than by way of their parts.
        return name >= since or any(may_serve(name, first, last) for first, last in ranges)
    try:
        wal = parse_wal_name(name)
    except WalError:
        return True
    if wal.kind is WalKind.HISTORY or wal.segment is None or wal.segment >= since:
        return True
    return any(may_serve(wal.segment, first, last) for first, last in ranges)


def _may_be_restored(record: BackupRecord) -> bool:
    """Whether the backup needs WAL now, or may turn out to."""
    return record.status is not Status.FAILED or has_failed_for_wal(record)
