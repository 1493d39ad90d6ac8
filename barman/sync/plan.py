"""What a passive node has to do to catch up with its primary, and why, in the order it is done. Pure.

Nothing here deletes what the primary deleted: how long a backup stays is for the retention policy of this host.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from barman.catalog.record import BackupId, BackupRecord, KeepTarget, Status
from barman.errors import Refused
from barman.retention.plan import plan_needs, plan_wal_removal
from barman.retention.policy import Policy, Word, standing_alone, verdicts
from barman.wal.needs import has_failed_for_wal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from barman.catalog.xlog_lines import WalEntry
    from barman.sync.document import Position, PrimaryState

COPY_FAILED = "copy from the primary failed: "
# How a copy fails of which even a second attempt brought damaged files.
DAMAGED_THERE = "damaged or missing on the primary"
# Comparing all of a backup takes long, and somebody has to mend it there first.
_REST = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class LocalState:
    """What is here. keeps: of this catalogue. present: backups whose directory is there.

    position: the end of the primary's ledger when all of it was last here. system_id: of the cluster, if known.
    policy, minimum_redundancy: what is kept here. failed_at: when those that are FAILED became so.
    """

    records: Mapping[BackupId, BackupRecord]
    keeps: Mapping[BackupId, KeepTarget]
    present: frozenset[BackupId]
    position: Position | None = None
    system_id: str | None = None
    policy: Policy | None = None
    minimum_redundancy: int = 0
    failed_at: Mapping[BackupId, datetime] = field(default_factory=dict)


class CopyBackup(NamedTuple):
    """Bring a backup over."""

    backup_id: BackupId
    reason: str


class PurgeBackup(NamedTuple):
    """Remove what there is of a backup that was never complete here, and can or should not become so."""

    backup_id: BackupId
    reason: str


class SetKeep(NamedTuple):
    """Keep a backup for ever, as on the primary; None: no longer."""

    backup_id: BackupId
    target: KeepTarget | None
    reason: str


class FetchWal(NamedTuple):
    """Bring a range of WAL files over, in this order."""

    entries: tuple[WalEntry, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """Everything there is to do. skipped: backups of the primary that are not wanted here, with the reason.

    resting: those of copies that are damaged on the primary, or based on one that is, and until when they are not tried
    again. needs_whole_ledger: the WAL cannot be planned from what the primary said; ask it for all its ledger.
    """

    keeps: tuple[SetKeep, ...] = ()
    purges: tuple[PurgeBackup, ...] = ()
    copies: tuple[CopyBackup, ...] = ()
    wal: tuple[FetchWal, ...] = ()
    skipped: Mapping[BackupId, str] = field(default_factory=dict)
    resting: Mapping[BackupId, datetime] = field(default_factory=dict)
    needs_whole_ledger: bool = False

    @property
    def due(self) -> tuple[CopyBackup, ...]:
        """The copies that are to be made now."""
        return tuple(copy for copy in self.copies if copy.backup_id not in self.resting)


def require_same_cluster(primary: PrimaryState, local: LocalState, server: str) -> None:
    """Raise Refused if the primary's server of this name is another cluster than the one copied so far."""
    known = {record.systemid for record in local.records.values() if record.systemid}
    if not known and local.system_id:
        known = {local.system_id}
    offered = primary.system_ids
    if known and offered and not known & offered:
        raise Refused(
            f"the primary's server '{server}' is another cluster (system identifier {', '.join(sorted(offered))}) than "
            f"the one copied here ({', '.join(sorted(known))}); nothing is copied",
            hint="Give one of them another name, or delete the backups and the identity.json of this one.",
        )


def plan_sync(primary: PrimaryState, before: PrimaryState | None, local: LocalState, now: datetime) -> SyncPlan:
    """Return what has to be done. before: what the primary said last, None if it never spoke.

    Backups: newest first, but every backup after the one it is based on. WAL: what the newest backup needs first.
    """
    marks = tuple(_plan_keeps(primary, before, local))
    keeps = {**local.keeps, **{mark.backup_id: mark.target for mark in marks if mark.target is not None}}
    for mark in marks:
        if mark.target is None:
            keeps.pop(mark.backup_id, None)
    hoped = _as_if_copied(primary, local)
    hoped_keeps = {**(primary.keeps or {}), **keeps}
    words = verdicts(hoped, hoped_keeps, local.policy, minimum_redundancy=local.minimum_redundancy, now=now)
    wanted: dict[BackupId, str] = {}
    skipped: dict[BackupId, str] = {}
    for backup_id in sorted(primary.backups, reverse=True):
        reason = _why_to_copy(backup_id, local)
        if reason is None:
            continue
        if words[backup_id].word is Word.OBSOLETE:
            skipped[backup_id] = f"obsolete here: {words[backup_id].reason}"
        else:
            wanted[backup_id] = reason
    copies = tuple(_in_order(wanted, primary, local))
    for copy in copies:
        # Obsolete by itself, and yet something that is wanted is based on it.
        skipped.pop(copy.backup_id, None)
    resting = _plan_rest(copies, primary, local, now)
    purges = tuple(_plan_purges(primary, local, skipped))
    gone = {*skipped, *(purge.backup_id for purge in purges)}
    remaining = {backup_id: record for backup_id, record in hoped.items() if backup_id not in gone}
    return SyncPlan(
        keeps=marks,
        purges=purges,
        copies=copies,
        wal=tuple(_plan_wal(primary.wals, remaining, standing_alone(words, hoped_keeps))),
        skipped=skipped,
        resting=resting,
        needs_whole_ledger=_reaches_back([copy for copy in copies if copy.backup_id not in resting], local),
    )


def is_seamless(known: Position, answer: PrimaryState, lengths: Sequence[int], known_length: int | None) -> bool:
    """Whether the answer to a question for what stands behind known leaves nothing out.

    A ledger that was written anew since then may hold late lines before the one that is known. lengths: of the lines
    in the answer, in bytes, with their ends; known_length: of the known line, None if nobody knows.
    """
    if not answer.wals:
        return answer.position == known
    if known_length is None:
        return False
    return known.offset + known_length + sum(lengths[:-1]) == answer.position.offset


def judge_backup(primary: PrimaryState, local: LocalState, backup_id: BackupId) -> str | None:
    """Return why a backup that was asked for by name is to be copied; None if it is here.

    Refused if it cannot be: the primary does not have it, it is being deleted here, or what it is based on is missing.
    """
    record = primary.backups.get(backup_id)
    here = local.records.get(backup_id)
    if record is None:
        raise Refused(f"the primary has no backup {backup_id} to copy")
    if here is not None and here.doomed:
        raise Refused(f"backup {backup_id} is being deleted here")
    parent = record.parent_backup_id
    if parent is not None and not _is_here(parent, local):
        raise Refused(
            f"backup {backup_id} is based on {parent}, which is not here yet", hint=f"Copy backup {parent} first."
        )
    return _why_to_copy(backup_id, local)


def _is_here(backup_id: BackupId, local: LocalState) -> bool:
    record = local.records.get(backup_id)
    if record is None or record.doomed or backup_id not in local.present:
        return False
    return record.is_copy_done or has_failed_for_wal(record)


def _why_to_copy(backup_id: BackupId, local: LocalState) -> str | None:
    """Return why a backup of the primary is to be copied; None if it is here, or is being deleted here."""
    here = local.records.get(backup_id)
    if here is None:
        return "it is not here"
    if here.doomed or _is_here(backup_id, local):
        return None
    if here.damage:
        return "its record here is damaged"
    if here.is_copy_done:
        return "its files here are gone"
    if here.status is Status.FAILED:
        return f"it failed here: {here.error}"
    return "its copy was interrupted"


def _as_if_copied(primary: PrimaryState, local: LocalState) -> dict[BackupId, BackupRecord]:
    """Return the catalogue as it would be with every backup of the primary in it."""
    here = {backup_id: record for backup_id, record in local.records.items() if not record.damage}
    coming = {one: record for one, record in primary.backups.items() if _why_to_copy(one, local) is not None}
    return {**here, **coming}


def _in_order(wanted: Mapping[BackupId, str], primary: PrimaryState, local: LocalState) -> Iterator[CopyBackup]:
    """Yield what is wanted, newest first, each behind what it is based on."""
    done: set[BackupId] = set()
    for newest in wanted:
        chain = [newest]
        while True:
            parent = primary.backups[chain[-1]].parent_backup_id
            if parent is None or parent not in primary.backups or parent in chain or _is_here(parent, local):
                break
            chain.append(parent)
        for backup_id in reversed(chain):
            if backup_id not in done:
                done.add(backup_id)
                yield CopyBackup(backup_id, wanted.get(backup_id) or f"backup {newest} is based on it")


def _plan_rest(
    copies: Iterable[CopyBackup], primary: PrimaryState, local: LocalState, now: datetime
) -> dict[BackupId, datetime]:
    """Return which of the copies are not tried now, and until when; copies: parents first."""
    resting: dict[BackupId, datetime] = {}
    for backup_id, _ in copies:
        here, failed = local.records.get(backup_id), local.failed_at.get(backup_id)
        parent = primary.backups[backup_id].parent_backup_id
        if parent in resting:
            resting[backup_id] = resting[parent]
        elif here is not None and failed is not None and _is_damaged_there(here) and failed <= now < failed + _REST:
            resting[backup_id] = failed + _REST
    return resting


def _is_damaged_there(record: BackupRecord) -> bool:
    return record.status is Status.FAILED and DAMAGED_THERE in (record.error or "")


def _plan_purges(primary: PrimaryState, local: LocalState, skipped: Mapping[BackupId, str]) -> Iterator[PurgeBackup]:
    for backup_id, record in sorted(local.records.items()):
        # A backup that failed while this host still took backups itself is not ours to remove.
        has_failed = record.status is Status.FAILED and (record.error or "").startswith(COPY_FAILED)
        if not (record.status is Status.SYNCING or has_failed) or record.doomed or record.damage:
            continue
        if backup_id in skipped:
            yield PurgeBackup(backup_id, f"its copy is not complete, and it is {skipped[backup_id]}")
        elif backup_id not in primary.backups:
            yield PurgeBackup(backup_id, "its copy is not complete, and the primary has it no longer")


def _plan_keeps(primary: PrimaryState, before: PrimaryState | None, local: LocalState) -> Iterator[SetKeep]:
    """Yield the marks to be changed here because they changed there; one that was changed here stays as it is."""
    if primary.keeps is None:
        return
    known = (before.keeps if before is not None else None) or {}
    for backup_id in sorted(primary.backups):
        there, was, here = primary.keeps.get(backup_id), known.get(backup_id), local.keeps.get(backup_id)
        if there == was or here != was or here == there or not _is_here(backup_id, local):
            continue
        if local.records[backup_id].status is Status.DONE:
            reason = "no longer kept on the primary" if there is None else f"kept on the primary ({there.value})"
            yield SetKeep(backup_id, there, reason)


def _plan_wal(
    entries: Collection[WalEntry], records: Mapping[BackupId, BackupRecord], keeps: Mapping[BackupId, KeepTarget]
) -> Iterator[FetchWal]:
    """Yield the ranges in which WAL is fetched: from each backup to the next newer one, the newest range first."""
    begins = sorted({record.begin_wal for record in records.values() if record.begin_wal}, reverse=True)
    if not begins:
        return
    unneeded = set(plan_wal_removal([entry.name for entry in entries], plan_needs(records, keeps)))
    left = [entry for entry in entries if entry.name not in unneeded]
    histories = tuple(entry for entry in left if entry.name.endswith(".history"))
    if histories:
        yield FetchWal(histories, "timelines")
    left = [entry for entry in left if not entry.name.endswith(".history")]
    for begin in begins:
        inside = tuple(sorted(entry for entry in left if entry.name >= begin))
        if inside:
            yield FetchWal(inside, f"from {begin}, where a backup begins")
        left = [entry for entry in left if entry.name < begin]
    if left:
        yield FetchWal(tuple(sorted(left)), "older WAL that is kept")


def _reaches_back(copies: Sequence[CopyBackup], local: LocalState) -> bool:
    """Whether a backup is to be copied that is older than one which is here: its WAL was passed by long ago."""
    newest = max((backup_id for backup_id in local.records if _is_here(backup_id, local)), default="")
    return any(copy.backup_id < newest for copy in copies)
