"""Where recovery is to stop, and on which timeline: what was asked, checked for sense. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Literal

from barman.errors import Refused, WalError
from barman.postgres.lsn import format_lsn, parse_lsn
from barman.postgres.versions import Feature, supports, version_text

if TYPE_CHECKING:
    from datetime import datetime

    from barman.catalog.record import BackupRecord

# PostgreSQL keeps a restore point's name in this many bytes, one of them for the end. Source: xlog_internal.h.
_NAME_BYTES = 64

TimelineChoice = int | Literal["current", "latest"]


class TargetKind(str, Enum):
    """What the target is measured in; the words of the options."""

    TIME = "time"
    XID = "xid"
    LSN = "lsn"
    NAME = "name"
    IMMEDIATE = "immediate"


class TargetAction(str, Enum):
    """What PostgreSQL does when it reaches the target."""

    PAUSE = "pause"
    SHUTDOWN = "shutdown"
    PROMOTE = "promote"


@dataclass(frozen=True, slots=True)
class TargetOptions:
    """What was asked, each part None, False or empty when it was not. time: aware."""

    time: datetime | None = None
    xid: str | None = None
    lsn: str | None = None
    name: str | None = None
    immediate: bool = False
    exclusive: bool = False
    action: TargetAction | None = None
    timeline: TimelineChoice | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """One point to stop at. time or lsn is set for these kinds; text is what PostgreSQL is told."""

    kind: TargetKind
    text: str
    time: datetime | None = None
    lsn: int | None = None
    inclusive: bool = True


def parse_timeline(text: str) -> TimelineChoice:
    """Return the timeline that text names: a number from 1, `current` or `latest`; Refused if it names none."""
    word = text.strip().lower()
    if word == "current":
        return "current"
    if word == "latest":
        return "latest"
    if word.isascii() and word.isdigit() and 1 <= int(word) <= 0xFFFFFFFF:
        return int(word)
    raise Refused(f"invalid target timeline {text!r}", hint="It is a number from 1 on, 'current' or 'latest'.")


def parse_target(options: TargetOptions) -> Target | None:
    """Return the one point the options name, None if they name none.

    Raises Refused when they name several, when one of them has no meaning, or when they contradict each other.
    """
    targets = [
        target
        for target in (_time(options), _xid(options), _lsn(options), _name(options), _immediate(options))
        if target is not None
    ]
    if len(targets) > 1:
        given = " and ".join(f"--target-{target.kind.value}" for target in targets)
        raise Refused(f"only one recovery target can be given, not {given}", hint="Leave out all but one of them.")
    target = targets[0] if targets else None
    if options.exclusive and (target is None or target.kind in (TargetKind.NAME, TargetKind.IMMEDIATE)):
        raise Refused("--exclusive needs one of --target-time, --target-xid and --target-lsn", hint="Leave it out.")
    if options.action is not None and target is None and options.timeline is None:
        raise Refused(
            "--target-action needs a recovery target",
            hint="Leave it out: without a target recovery ends with a promotion.",
        )
    return target


def require_reachable(target: Target, record: BackupRecord) -> None:
    """Refuse a target that lies before the backup's end, or that its version of PostgreSQL does not know.

    Transaction ids and names tell nothing about their position: they pass.
    """
    backup = f"backup {record.backup_id}"
    if target.time is not None and record.end_time is not None and target.time < record.end_time:
        raise Refused(
            f"the target time {target.text} is before {backup} ended, at {record.end_time}",
            hint="That is the earliest time it can be restored to; backup id 'auto' finds an earlier backup, if there "
            "is one.",
        )
    if target.lsn is None:
        return
    if record.version is not None and not supports(record.version, Feature.RECOVERY_TARGET_LSN):
        raise Refused(f"PostgreSQL {version_text(record.version)} of {backup} does not know recovery targets by LSN")
    if record.end_xlog is not None and target.lsn < parse_lsn(record.end_xlog):
        raise Refused(
            f"the target LSN {target.text} is before {backup} ended, at {record.end_xlog}",
            hint="That is the earliest LSN it can be restored to; backup id 'auto' finds an earlier backup, if there "
            "is one.",
        )


def _time(options: TargetOptions) -> Target | None:
    if options.time is None:
        return None
    text = options.time.isoformat(sep=" ")
    return Target(TargetKind.TIME, text, time=options.time, inclusive=not options.exclusive)


def _xid(options: TargetOptions) -> Target | None:
    if options.xid is None:
        return None
    text = options.xid.strip()
    if not (text.isascii() and text.isdigit() and int(text) <= 0xFFFFFFFFFFFFFFFF):
        raise Refused(f"invalid target transaction id {options.xid!r}", hint="It is a number.")
    return Target(TargetKind.XID, text, inclusive=not options.exclusive)


def _lsn(options: TargetOptions) -> Target | None:
    if options.lsn is None:
        return None
    try:
        lsn = parse_lsn(options.lsn)
    except WalError as error:
        raise Refused(f"invalid target LSN {options.lsn!r}", hint=error.hint) from error
    return Target(TargetKind.LSN, format_lsn(lsn), lsn=lsn, inclusive=not options.exclusive)


def _name(options: TargetOptions) -> Target | None:
    if options.name is None:
        return None
    size = len(options.name.encode("utf-8", "surrogateescape"))
    if not options.name or "\n" in options.name or size >= _NAME_BYTES:
        raise Refused(
            f"invalid target name {options.name!r}", hint=f"Restore points have names of 1 to {_NAME_BYTES - 1} bytes."
        )
    return Target(TargetKind.NAME, options.name)


def _immediate(options: TargetOptions) -> Target | None:
    return Target(TargetKind.IMMEDIATE, "immediate") if options.immediate else None
