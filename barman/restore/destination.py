"""Whether a restore may write where it is asked to: everything that can be known before the first byte."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from barman.errors import Refused
from barman.host.files import make_directories
from barman.human import pretty_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from barman.restore.plan import RestorePlan
    from barman.restore.room import Mount

_ELSEWHERE = "Choose another place."


class Wanted(NamedTuple):
    """A directory to be written to. what: its name in messages."""

    what: str
    path: Path


class Seen(NamedTuple):
    """What there is where a directory is wanted.

    real: the path without links. existing: the nearest directory or file that is there. names: what is in the
    directory, a few of it; nothing if it is not there. problem: why nothing can be made or written there. is_mount:
    whether a file system is mounted right there.
    """

    real: str
    existing: str
    is_directory: bool
    names: tuple[str, ...] = ()
    problem: str | None = None
    is_mount: bool = False


class Allowed(NamedTuple):
    """What the destination may be.

    full: what is there may stay, and be made equal. mount_point: of a file system. kept_out: directories of barman on
    its host, without links, in which nothing may be written.
    """

    full: bool = False
    mount_point: bool = False
    kept_out: frozenset[str] = frozenset()


def wanted_places(plan: RestorePlan) -> list[Wanted]:
    """Return the directories the plan writes to, which must be empty, the destination first."""
    places = [Wanted("the destination", plan.destination)]
    places += [Wanted(f"the location of tablespace '{place.name}'", place.location) for place in plan.placements]
    if plan.wal_directory is not None and not plan.is_wal_inside:
        places.append(Wanted("the WAL staging directory", plan.wal_directory))
    return places


def require_usable(plan: RestorePlan, staging: Path | None, allowed: Allowed) -> list[Seen]:
    """Refuse unless every directory the plan writes to is empty or missing, writable, and none of barman's own.

    None may lie in another, whatever links lead there. Returns what there is, in the order of wanted_places.
    """
    places = wanted_places(plan)
    seen = [look(place.path) for place in places]
    judge_places(places, seen, allowed)
    if staging is not None:
        require_writable(Wanted("the staging path", staging), look(staging))
    return seen


def judge_places(places: Sequence[Wanted], seen: Sequence[Seen], allowed: Allowed) -> None:
    """Refuse the first place that cannot be used, by what there is."""
    destination = places[0].path
    if ":" in str(destination):
        raise Refused(f"the destination must not contain ':': {destination}", hint=_ELSEWHERE)
    if seen[0].is_mount and not seen[0].names and not allowed.mount_point:
        raise Refused(
            f"the destination is a mount point: {destination}",
            hint="PostgreSQL's documentation advises against that: choose a directory below it, or add "
            "--allow-mount-point.",
        )
    _require_apart(places, seen)
    for place, found in zip(places, seen, strict=True):
        if not place.path.is_absolute():
            raise Refused(f"{place.what} is not an absolute path: {place.path}", hint="Write it as /PATH.")
        _require_outside(place, found, allowed.kept_out)
        if not found.is_directory:
            what = "is not a directory" if found.existing == str(place.path) else "cannot be made"
            raise Refused(f"{place.what} {what}: {place.path}: {found.existing} is not a directory", hint=_ELSEWHERE)
        if not allowed.full:
            _require_empty(place, found)
        require_writable(place, found)


def require_writable(place: Wanted, found: Seen) -> None:
    """Refuse a place where nothing can be written."""
    if not found.is_directory:
        raise Refused(f"{place.what} cannot be made: {found.existing} is not a directory", hint=_ELSEWHERE)
    if found.problem is not None:
        raise Refused(
            f"{place.what} cannot be written: {place.path}: {found.problem} in {found.existing}",
            hint="Choose another place, or make it and give it to the user who restores.",
        )


def look(path: Path) -> Seen:
    """Return what there is on this host."""
    existing = path
    while not os.path.lexists(existing) and existing != existing.parent:
        existing = existing.parent
    names: tuple[str, ...] = ()
    problem = None
    if existing == path and path.is_dir():
        try:
            names = tuple(sorted(os.listdir(path)))
        except OSError as error:
            problem = error.strerror
    if existing.is_dir() and not os.access(existing, os.W_OK | os.X_OK):
        # What access(2) says: a permission that is missing, or a file system that is read-only.
        problem = "Read-only file system" if os.statvfs(existing).f_flag & os.ST_RDONLY else "Permission denied"
    real = os.path.realpath(path)
    return Seen(real, str(existing), existing.is_dir(), names, problem, is_mount=os.path.ismount(real))


def require_space(mounts: Iterable[Mount]) -> None:
    """Refuse if a file system has less room than is needed on it."""
    for mount in mounts:
        if mount.needed_bytes > mount.free_bytes:
            raise Refused(
                f"not enough disk space for {mount.path}: {pretty_size(mount.needed_bytes)} needed, "
                f"{pretty_size(mount.free_bytes)} free",
                hint="Choose a destination on a larger file system, or make room.",
            )


def make_places(plan: RestorePlan, modes: Mapping[Path, int]) -> None:
    """Create the directories the plan writes to; modes: permission bits, 0700 where not named."""
    directories: Sequence[Path] = [plan.destination, *(place.location for place in plan.placements)]
    for path in directories:
        make_directories(path)
        path.chmod(modes.get(path, 0o700))


def _require_outside(place: Wanted, found: Seen, kept_out: Iterable[str]) -> None:
    for directory in sorted(kept_out, reverse=True):
        if found.real == directory or found.real.startswith(directory + os.sep):
            raise Refused(f"{place.what} lies in barman's own directory {directory}: {place.path}", hint=_ELSEWHERE)


def _require_apart(places: Sequence[Wanted], seen: Sequence[Seen]) -> None:
    # PostgreSQL removes the WAL staging directory, with all that is in it.
    known: list[tuple[Wanted, str]] = []
    for place, found in zip(places, seen, strict=True):
        for other, real in known:
            if os.path.commonpath([real, found.real]) in (real, found.real):
                raise Refused(
                    f"{place.what} ({place.path}) and {other.what} ({other.path}) would share a directory",
                    hint="Give each a directory of its own.",
                )
        known.append((place, found.real))


def _require_empty(place: Wanted, found: Seen) -> None:
    if not found.names:
        return
    hint = "Empty it, choose another one, or have it made equal to the backup with --delta-restore."
    if place.what.startswith("the location of tablespace"):
        hint = "Empty it, or choose another one with --tablespace NAME:LOCATION."
    if found.is_mount:
        hint = "A file system is mounted there: choose a directory below it."
    raise Refused(f"{place.what} is not empty: {place.path} (there is {found.names[0]!r})", hint=hint)
