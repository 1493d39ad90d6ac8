"""Which backup is restored. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from barman.catalog.chains import is_whole
from barman.catalog.record import BackupRecord, BackupType, Status
from barman.catalog.selection import resolve
from barman.errors import Refused, UnknownBackup
from barman.postgres.lsn import parse_lsn
from barman.restore.targets import Target, TargetKind
from barman.restore.timelines import latest_timeline
from barman.wal.needs import has_failed_for_wal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from barman.catalog.record import BackupId
    from barman.restore.targets import TimelineChoice
    from barman.restore.timelines import Histories

AUTO = "auto"


class Selection(NamedTuple):
    """The backup that is restored. reason: why this one, in words."""

    record: BackupRecord
    reason: str


def select_backup(
    records: Mapping[BackupId, BackupRecord],
    text: str,
    *,
    server: str,
    target: Target | None,
    timeline: TimelineChoice | None,
    histories: Histories,
) -> Selection:
    """Return the backup that text (id, shortcut, name, auto) means.

    auto is the newest backup, all its ancestors there, that ended before the target, on the way to the timeline asked
    for. Without one that is the newest timeline there is: what was left behind at a promotion is not chosen unless it
    is asked for. Raises UnknownBackup when there is none, Refused when auto cannot tell.
    """
    if text != AUTO:
        return Selection(resolve(records, text, server=server), f"asked for as '{text}'")
    if target is not None and target.kind not in (TargetKind.TIME, TargetKind.LSN):
        raise Refused(
            f"backup id 'auto' cannot be used with --target-{target.kind.value}",
            hint="Only times and LSNs tell which backup precedes them; name the backup.",
        )
    if timeline == "current":
        raise Refused("backup id 'auto' cannot be used with --target-tli current", hint="Name the timeline.")
    complete = [
        records[backup_id]
        for backup_id in sorted(records, reverse=True)
        if records[backup_id].is_copy_done and is_whole(records, backup_id)
    ]
    if not complete:
        raise UnknownBackup(f"server {server} has no complete backup", hint=f"Take one with 'barman backup {server}'.")
    wanted = timeline if isinstance(timeline, int) else _newest_timeline(complete, histories)
    before = [record for record in complete if _precedes(record, target)]
    for record in before:
        if _leads_to(record, wanted, histories):
            ended = f" ended before the target {target.kind.value} {target.text} and" if target is not None else ""
            return Selection(record, f"the newest that{ended} leads to timeline {wanted}")
    raise _nothing_fits(before, complete, server=server, target=target, wanted=wanted)


def _newest_timeline(records: Sequence[BackupRecord], histories: Histories) -> int:
    return latest_timeline(max(record.end_timeline or 0 for record in records), histories)


def _nothing_fits(
    before: Sequence[BackupRecord],
    complete: Sequence[BackupRecord],
    *,
    server: str,
    target: Target | None,
    wanted: int,
) -> UnknownBackup:
    if before:
        record = before[0]
        when = "" if target is None else f" ended before the target {target.kind.value} {target.text} and"
        return UnknownBackup(
            f"no backup of server {server}{when} leads to timeline {wanted}",
            hint=f"Backup {record.backup_id} is on timeline {record.end_timeline}: name it, or add --target-tli "
            f"{record.end_timeline}.",
        )
    oldest = complete[-1]
    what = "" if target is None else f" {target.kind.value} {target.text}"
    return UnknownBackup(
        f"no backup of server {server} ended before the target{what}",
        hint=f"The earliest point that can be reached is the end of backup {oldest.backup_id}, {oldest.end_time} "
        f"({oldest.end_xlog}).",
    )


def require_restorable(members: Sequence[BackupRecord], *, server: str, can_decrypt: bool = False) -> None:
    """Refuse a backup that is not complete, or of a kind that cannot be restored here.

    members: the backup with all its ancestors, the root first. can_decrypt: whether there is a passphrase.
    """
    record = members[-1]
    for member in members:
        of = f"backup {member.backup_id} of server {server}"
        if member is not record:
            of += f", which backup {record.backup_id} is based on,"
        if member.damage is not None:
            raise Refused(f"{of} has a damaged record: {member.damage}")
        if member.doomed:
            raise Refused(f"{of} is being deleted", hint="Choose another backup.")
        # Of an ancestor only the files are needed, not its WAL.
        is_copied = member.status in (Status.DONE, Status.WAITING_FOR_WALS)
        if not is_copied and not (member is not record and has_failed_for_wal(member)):
            raise Refused(
                f"{of} is in status {member.status.value} and cannot be restored", hint="Choose another backup."
            )
        if member.type is BackupType.SNAPSHOT:
            raise Refused(f"{of} is a set of disk snapshots; restoring snapshots is not available")
        if member.encryption is not None and not can_decrypt:
            raise Refused(
                f"{of} is encrypted, and there is no passphrase for it", hint="Set encryption_passphrase_command."
            )
    missing = [name for name in ("version", "begin_wal", "end_wal", "timeline") if getattr(record, name) is None]
    if missing:
        raise Refused(f"the record of backup {record.backup_id} of server {server} lacks {', '.join(missing)}")


def _precedes(record: BackupRecord, target: Target | None) -> bool:
    if target is None:
        return True
    if target.time is not None:
        return record.end_time is not None and record.end_time <= target.time
    return target.lsn is not None and record.end_xlog is not None and parse_lsn(record.end_xlog) <= target.lsn


def _leads_to(record: BackupRecord, wanted: int, histories: Histories) -> bool:
    """Whether the way to timeline wanted goes through the end of the backup."""
    own = record.end_timeline
    if own is None or record.end_xlog is None:
        return False
    if wanted == own:
        return True
    history = histories.get(wanted)
    return history is not None and history.contains(own, parse_lsn(record.end_xlog))
