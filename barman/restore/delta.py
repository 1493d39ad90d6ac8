"""Making an existing data directory equal to a backup: whether it may be done, and what has to be written. Pure.

What is there must be a cluster's own, so that nothing else is removed: a data directory of the same cluster, or what a
restore to it has left.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from barman.errors import Refused
from barman.restore.exclusions import INCOMPLETE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from barman.restore.destination import Seen, Wanted

# Clocks of file systems tick in steps, and listings of other hosts have whole seconds.
_MARGIN_S = 2
_ALWAYS = 1 << 62
_MARK = re.compile(r"systemid=(\w*)\nhorizon=(\d*)\n?")
_OF_TABLESPACE = re.compile(r"PG_\d[\w.]*")
_OF_WAL = re.compile(r"[0-9A-F]{24}|[0-9A-F]{8}\.history|archive_status")


class Existing(NamedTuple):
    """What a destination that is not empty tells of itself. begin_time: of the backup last restored to it.

    has_pid_file: of a server. system_identifier: in its control file. mark: text of the file that stands in an
    incomplete restore. None: it is not there.
    """

    has_pid_file: bool
    system_identifier: str | None
    mark: str | None
    begin_time: datetime | None


class Kind(Enum):
    """What a name stands for."""

    DIRECTORY = "directory"
    FILE = "file"
    LINK = "link"


class Item(NamedTuple):
    """A name in a directory. size, mtime (whole seconds), mode (permission bits): of files."""

    kind: Kind
    size: int = 0
    mtime: int = 0
    mode: int = 0


@dataclass(frozen=True, slots=True)
class Differences:
    """What has to be done to what is there. removed: with all below them; also links, which are made anew.

    doubtful: they look equal, and may not be: to be compared. kept: equal.
    """

    removed: tuple[str, ...]
    changed: tuple[str, ...]
    doubtful: tuple[str, ...]
    kept: tuple[str, ...]


def require_updatable(
    places: Sequence[Wanted], seen: Sequence[Seen], existing: Existing, *, system_identifier: str | None, host: str
) -> None:
    """Refuse to touch what is there unless it is the cluster's own, and no server runs on it.

    places: the destination first. system_identifier: of the backup, None if unknown. host: "" for this one, or " on …".
    """
    destination = f"{places[0].path}{host}"
    if existing.has_pid_file:
        raise Refused(
            f"a PostgreSQL server uses the destination {destination}: there is postmaster.pid",
            hint="Stop it; if it is not running, remove that file.",
        )
    found = existing.system_identifier
    if existing.mark is not None:
        match = _MARK.fullmatch(existing.mark)
        found = found or (match[1] if match else None)
    # A restore that was killed while it wrote its mark leaves an empty one, alone.
    elif found is None and set(seen[0].names) - {INCOMPLETE}:
        raise Refused(
            f"the destination {destination} is not empty, and holds no cluster that could be made equal to the backup",
            hint="Empty it, or choose another one.",
        )
    if found and system_identifier and found != system_identifier:
        raise Refused(
            f"the destination {destination} holds another cluster (system identifiers {found} and {system_identifier})",
            hint="Empty it, or choose another one.",
        )
    for place, there in list(zip(places, seen, strict=True))[1:]:
        known = _OF_TABLESPACE if place.what.startswith("the location of tablespace") else _OF_WAL
        for name in there.names:
            if not known.fullmatch(name):
                raise Refused(
                    f"{place.what} holds what is not PostgreSQL's: {place.path}{host} (there is {name!r})",
                    hint="Remove it, or choose another place.",
                )


def horizon_of(begin_time: datetime | None, existing: Existing | None) -> int | None:
    """Return the second from which on a file may have changed without its size and time telling so; None: any may.

    begin_time: of the backup. existing: what there is; None if the destination is empty. While a backup is taken its
    files change, also within the second of their last change; so both backups a file may be of count.
    """
    if begin_time is None:
        return None
    own = int(begin_time.timestamp()) - _MARGIN_S
    if existing is None:
        return own
    known = []
    if existing.mark is not None:
        match = _MARK.fullmatch(existing.mark)
        if match is None or not match[2]:
            return None
        known.append(int(match[2]))
    if existing.begin_time is not None:
        known.append(int(existing.begin_time.timestamp()) - _MARGIN_S)
    return min(own, *known) if known else None


def trusted_before(begin_time: datetime | None, existing: Existing | None) -> int | None:
    """Return the horizon for find_differences.

    A complete restore of the same backup has nothing but its files; what was changed since then has another time.
    """
    if existing is not None and existing.mark is None and begin_time is not None and existing.begin_time == begin_time:
        return _ALWAYS
    return horizon_of(begin_time, existing)


def render_mark(system_identifier: str | None, horizon: int | None) -> str:
    """Return the text of the file that stands in a destination as long as the restore is not complete."""
    return f"systemid={system_identifier or ''}\nhorizon={'' if horizon is None else horizon}\n"


def find_differences(wanted: Mapping[str, Item], there: Mapping[str, Item], *, horizon: int | None) -> Differences:
    """Return how to make what is there equal to what is wanted; names are paths with slashes.

    A file is taken for equal if size, time and mode are, and it was last changed before horizon. One of equal size is
    worth comparing: backups made by pg_basebackup have times of their own.
    """
    removed, changed, doubtful, kept = [], [], [], []
    for name, item in there.items():
        aim = wanted.get(name)
        if aim is None or aim.kind is not item.kind or item.kind is Kind.LINK:
            removed.append(name)
    for name, item in wanted.items():
        if item.kind is not Kind.FILE:
            continue
        found = there.get(name)
        if found is None or (found.kind, found.size) != (Kind.FILE, item.size):
            changed.append(name)
        elif horizon is None or item.mtime >= horizon or found != item:
            doubtful.append(name)
        else:
            kept.append(name)
    return Differences(tuple(_topmost(removed)), tuple(changed), tuple(doubtful), tuple(kept))


def _topmost(names: Iterable[str]) -> list[str]:
    """Return the names that are not below another of them."""
    found: list[str] = []
    # A directory comes right before all that is below it.
    for name in sorted(names, key=lambda name: name.split("/")):
        if not found or not name.startswith(f"{found[-1]}/"):
            found.append(name)
    return found
