"""Retention policies: what they say, and which backups they no longer want. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from barman.catalog.chains import descendants, root_id
from barman.catalog.record import BACKUP_ID_FORMAT, KeepTarget, Status
from barman.errors import ConfigError
from barman.wal.needs import has_failed_for_wal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from barman.catalog.record import BackupId, BackupRecord

_REDUNDANCY = re.compile(r"\s*redundancy\s+(\d+)\s*", re.IGNORECASE)
_WINDOW = re.compile(r"\s*recovery\s+window\s+of\s+(\d+)\s+(day|week|month)s?\s*", re.IGNORECASE)
_KEEP = re.compile(r"\s*keep\s+(\d+\s+\w+(?:\s*,\s*\d+\s+\w+)*)\s*", re.IGNORECASE)
_UNIT_DAYS = {"DAY": 1, "WEEK": 7, "MONTH": 31}


@dataclass(frozen=True, slots=True)
class Redundancy:
    """Keep this many backups."""

    backups: int

    def __str__(self) -> str:
        return f"REDUNDANCY {self.backups}"


@dataclass(frozen=True, slots=True)
class RecoveryWindow:
    """Keep what recovery to any moment of the last so many days, weeks or months (of 31 days) needs."""

    count: int
    unit: str

    def __str__(self) -> str:
        return f"RECOVERY WINDOW OF {self.count} {self.unit}S"

    @property
    def length(self) -> timedelta:
        """How far back the window reaches."""
        return timedelta(days=self.count * _UNIT_DAYS[self.unit])


class Period(str, Enum):
    """The periods of which the last backup can be kept; longer ones last, as they are written."""

    DAILY = "DAILY"
    WEEKLY = "WEEKLY"
    MONTHLY = "MONTHLY"
    YEARLY = "YEARLY"

    def of(self, backup_id: BackupId) -> str:
        """Which one a backup belongs to, by its id: the local date when it began. Weeks are those of ISO 8601."""
        day = datetime.strptime(backup_id, BACKUP_ID_FORMAT).date()  # noqa: DTZ007  local, as ids are
        if self is Period.WEEKLY:
            year, week, _ = day.isocalendar()
            return f"{year}-W{week:02d}"
        return day.strftime({Period.DAILY: "%Y-%m-%d", Period.MONTHLY: "%Y-%m"}.get(self, "%Y"))


@dataclass(frozen=True, slots=True)
class LongTerm:
    """Keep the last backup of so many days, weeks, months and years that have one, with its own WAL only."""

    counts: tuple[tuple[Period, int], ...]

    def __str__(self) -> str:
        return "KEEP " + ", ".join(f"{count} {period.value}" for period, count in self.counts)


@dataclass(frozen=True, slots=True)
class Combined:
    """What recovery needs, and behind it backups that stand alone."""

    recovery: Redundancy | RecoveryWindow
    beyond: LongTerm

    def __str__(self) -> str:
        return f"{self.recovery}; {self.beyond}"


Policy = Redundancy | RecoveryWindow | Combined


class Word(str, Enum):
    """What the policy says about a backup; the words list-backups shows."""

    VALID = "VALID"
    VALID_ALONE = "VALID:STANDALONE"
    OBSOLETE = "OBSOLETE"
    POTENTIALLY_OBSOLETE = "OBSOLETE*"
    KEEP_FULL = "KEEP:FULL"
    KEEP_STANDALONE = "KEEP:STANDALONE"
    NONE = "-"


class Verdict(NamedTuple):
    """What the policy says about a backup, and why. alone: whether it stays with its own WAL only."""

    word: Word
    reason: str
    alone: bool = False


def parse_policy(text: str) -> Policy:
    """Return the policy text spells; ConfigError if none.

    REDUNDANCY n, or RECOVERY WINDOW OF n DAYS, WEEKS, MONTHS; either may be followed by a semicolon and KEEP n DAILY,
    n WEEKLY, n MONTHLY, n YEARLY, of which at least one is there, none twice.
    """
    first, separator, second = text.partition(";")
    recovery = _parse_recovery(first)
    beyond = _parse_long_term(second) if separator else None
    if recovery is None or (separator and beyond is None):
        raise ConfigError(
            f"invalid retention policy '{text}'",
            hint="A policy is REDUNDANCY n, or RECOVERY WINDOW OF n DAYS, WEEKS or MONTHS, perhaps followed by "
            "; KEEP n DAILY, n WEEKLY, n MONTHLY, n YEARLY.",
        )
    return recovery if beyond is None else Combined(recovery, beyond)


def _parse_recovery(text: str) -> Redundancy | RecoveryWindow | None:
    match = _REDUNDANCY.fullmatch(text)
    if match:
        return Redundancy(int(match[1]))
    match = _WINDOW.fullmatch(text)
    return RecoveryWindow(int(match[1]), match[2].upper()) if match else None


def _parse_long_term(text: str) -> LongTerm | None:
    match = _KEEP.fullmatch(text)
    if match is None:
        return None
    counts: dict[Period, int] = {}
    for item in match[1].split(","):
        count, word = item.split()
        if word.upper() not in Period.__members__ or Period[word.upper()] in counts:
            return None
        counts[Period[word.upper()]] = int(count)
    return LongTerm(tuple((period, counts[period]) for period in Period if period in counts))


def verdicts(
    records: Mapping[BackupId, BackupRecord],
    keeps: Mapping[BackupId, KeepTarget],
    policy: Policy | None,
    *,
    minimum_redundancy: int,
    now: datetime,
) -> Mapping[BackupId, Verdict]:
    """Return the verdict on every backup.

    Only DONE backups that nobody is deleting count. Incrementals follow the backup their chain begins with. What is
    left of a failed one goes once it is older than all that the policy asks for.
    """
    if policy is None:
        return dict.fromkeys(records, Verdict(Word.NONE, "no retention policy"))
    counted = [record for _, record in sorted(records.items(), reverse=True) if counts(record)]
    recovery = policy.recovery if isinstance(policy, Combined) else policy
    own = dict(_judge(counted, recovery, minimum_redundancy, now))
    alone = _choose(counted, policy.beyond) if isinstance(policy, Combined) else {}
    wanted = (backup_id for backup_id, verdict in own.items() if verdict.word is not Word.OBSOLETE)
    oldest = min(wanted, default=None)
    result = {}
    for backup_id, record in records.items():
        if backup_id in own:
            verdict = own[backup_id]
            if verdict.word is Word.OBSOLETE and backup_id in alone:
                verdict = Verdict(Word.VALID_ALONE, alone[backup_id], alone=True)
            result[backup_id] = _with_keep(verdict, keeps.get(backup_id))
        else:
            result[backup_id] = _inherit(records, record, keeps, own)
    for backup_id, record in records.items():
        if oldest is not None and backup_id < oldest and _is_wreck(records, record, result):
            result[backup_id] = Verdict(Word.OBSOLETE, f"it is FAILED, and older than {oldest}, which is needed")
    return result


def _with_keep(own: Verdict, kept: KeepTarget | None) -> Verdict:
    """Return the verdict on a backup given what the policy by itself says about it.

    As long as the policy wants a backup, recovery may have to go on from it: all WAL behind it stays, although it is
    kept for itself only.
    """
    if kept is None:
        return own
    reason = f"kept ({kept.value})"
    if kept is KeepTarget.FULL:
        return Verdict(Word.KEEP_FULL, reason)
    alone = own.alone or own.word is Word.OBSOLETE
    wal = "with its own WAL only" if alone else f"with the WAL behind it, because it is {own.reason}"
    return Verdict(Word.KEEP_STANDALONE, f"{reason}, {wal}", alone=alone)


def _judge(
    counted: list[BackupRecord],
    policy: Redundancy | RecoveryWindow,
    minimum_redundancy: int,
    now: datetime,
) -> Iterator[tuple[BackupId, Verdict]]:
    """Yield what the policy says about the backups that count, newest first; a kept one is as good as any other."""
    if isinstance(policy, Redundancy):
        places = max(policy.backups, minimum_redundancy)
        raised = " (raised to the minimum redundancy)" if places > policy.backups else ""
        for place, record in enumerate(counted):
            inside = place < places
            reason = f"{'among' if inside else 'not among'} the newest {places}{raised}"
            yield record.backup_id, Verdict(Word.VALID if inside else Word.OBSOLETE, reason)
        return
    point = _reach(now, policy)
    reached = False
    valid = 0
    for record in counted:
        if not reached:
            valid += 1
            reached = record.end_time is not None and record.end_time < point
            reason = "the last one before the window" if reached else "inside the window"
            yield record.backup_id, Verdict(Word.VALID, reason)
        elif valid < minimum_redundancy:
            valid += 1
            reason = f"older than the window, but one of at least {minimum_redundancy}"
            yield record.backup_id, Verdict(Word.POTENTIALLY_OBSOLETE, reason)
        else:
            yield record.backup_id, Verdict(Word.OBSOLETE, "older than the window needs")


def _is_wreck(
    records: Mapping[BackupId, BackupRecord], record: BackupRecord, found: Mapping[BackupId, Verdict]
) -> bool:
    """Whether the backup has failed for good, and whatever is based on it, but for what is or will be deleted anyway.

    found: the verdicts on the backups that have not failed.
    """
    if not _has_failed_for_good(record):
        return False
    below = descendants(records, record.backup_id)
    doomed = [one for one in below if one.doomed]
    lost = {one.backup_id for root in doomed for one in (root, *descendants(records, root.backup_id))}
    left = (one for one in below if one.backup_id not in lost and found[one.backup_id].word is not Word.OBSOLETE)
    return all(_has_failed_for_good(one) for one in left)


def _has_failed_for_good(record: BackupRecord) -> bool:
    return record.status is Status.FAILED and not record.doomed and not has_failed_for_wal(record)


def _choose(counted: list[BackupRecord], policy: LongTerm) -> dict[BackupId, str]:
    """Return which of the backups that count, newest first, the policy keeps for the long term, and why."""
    chosen: dict[BackupId, str] = {}
    for period, count in policy.counts:
        last: dict[str, BackupId] = {}
        for record in counted:
            last.setdefault(period.of(record.backup_id), record.backup_id)
        for number, (name, backup_id) in enumerate(list(last.items())[:count], start=1):
            chosen.setdefault(backup_id, f"the last of {name}, which is number {number} of {count} {period.value}")
    return chosen


def standing_alone(
    found: Mapping[BackupId, Verdict], keeps: Mapping[BackupId, KeepTarget]
) -> Mapping[BackupId, KeepTarget]:
    """Return how backups are kept, as it decides about WAL: STANDALONE are exactly those that need their own only."""
    alone = (backup_id for backup_id, verdict in found.items() if verdict.alone)
    return {**dict.fromkeys(keeps, KeepTarget.FULL), **dict.fromkeys(alone, KeepTarget.STANDALONE)}


def _reach(now: datetime, window: RecoveryWindow) -> datetime:
    try:
        return now - window.length
    except OverflowError:
        # Longer than there is a calendar: everything is inside.
        return datetime.min.replace(tzinfo=timezone.utc)


def _inherit(
    records: Mapping[BackupId, BackupRecord],
    record: BackupRecord,
    keeps: Mapping[BackupId, KeepTarget],
    own: Mapping[BackupId, Verdict],
) -> Verdict:
    """Return the verdict on a backup that does not count itself."""
    if not record.is_done:
        state = "being deleted" if record.doomed else "damaged" if record.damage else record.status.value
        return Verdict(Word.NONE, f"not counted: {state}")
    root = root_id(records, record.backup_id)
    if root not in own:
        return Verdict(Word.NONE, f"based on {root}, which is not counted")
    word = own[root].word
    if root in keeps:
        retained = keeps[root] is KeepTarget.FULL or word is not Word.OBSOLETE
        word = Word.VALID if retained else Word.OBSOLETE
    return Verdict(word, f"based on {root}: {own[root].reason}")


def counts(record: BackupRecord) -> bool:
    """Whether a backup counts, for policies and minimum_redundancy: DONE, not incremental, not being deleted."""
    return record.is_done and not record.is_incremental


def counted_redundancy(records: Mapping[BackupId, BackupRecord]) -> int:
    """Return how many backups count for minimum_redundancy."""
    return sum(map(counts, records.values()))
