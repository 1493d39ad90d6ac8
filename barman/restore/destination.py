"""Whether a restore may write where it is asked to: everything that can be known before the first byte."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

from barman.errors import Refused
from barman.host.files import make_directories
from barman.human import pretty_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from barman.catalog.layout import ServerPaths
    from barman.restore.plan import RestorePlan


def require_usable(plan: RestorePlan, paths: ServerPaths, staging: Path | None) -> None:
    """Refuse unless every directory the plan writes to is empty or missing, writable, and none of barman's own.

    None may lie in another, whatever links lead there.
    """
    if ":" in str(plan.destination):
        raise Refused(f"the destination must not contain ':': {plan.destination}")
    places = [("the destination", plan.destination)]
    places += [(f"the location of tablespace '{place.name}'", place.location) for place in plan.placements]
    if plan.wal_directory is not None and not plan.is_wal_inside:
        places.append(("the WAL staging directory", plan.wal_directory))
    _require_apart(places)
    for what, path in places:
        if not path.is_absolute():
            raise Refused(f"{what} is not an absolute path: {path}")
        _require_outside(what, path, paths)
        _require_empty(what, path)
        _require_writable(what, path)
    if staging is not None:
        _require_writable("the staging path", staging)


def require_space(needed: Iterable[tuple[Path, int]]) -> None:
    """Refuse if a file system has less room than is needed below these directories together, in bytes."""
    totals: dict[int, tuple[Path, int]] = {}
    for path, size in needed:
        existing = _nearest_existing(path)
        device = existing.stat().st_dev
        known = totals.get(device, (existing, 0))
        totals[device] = (known[0], known[1] + size)
    for path, size in totals.values():
        status = os.statvfs(path)
        free = status.f_bavail * status.f_frsize
        if size > free:
            raise Refused(
                f"not enough disk space for {path}: {pretty_size(size)} needed, {pretty_size(free)} free",
                hint="Choose a destination on a larger file system, or make room.",
            )


def make_places(plan: RestorePlan, modes: Mapping[Path, int]) -> None:
    """Create the directories the plan writes to; modes: permission bits, 0700 where not named."""
    directories: Sequence[Path] = [plan.destination, *(place.location for place in plan.placements)]
    for path in directories:
        make_directories(path)
        path.chmod(modes.get(path, 0o700))


def _require_outside(what: str, path: Path, paths: ServerPaths) -> None:
    real = os.path.realpath(path)
    for own in {os.path.realpath(directory) for directory in paths.directories}:
        if real == own or real.startswith(own + os.sep):
            raise Refused(f"{what} lies in barman's own directory {own}: {path}")


def _require_apart(places: Sequence[tuple[str, Path]]) -> None:
    # PostgreSQL removes the WAL staging directory, with all that is in it.
    seen: list[tuple[str, str]] = []
    for what, path in places:
        real = os.path.realpath(path)
        for other, place in seen:
            if os.path.commonpath([real, place]) in (real, place):
                raise Refused(f"{what} ({path}) and {other} ({place}) would share a directory")
        seen.append((what, real))


def _require_empty(what: str, path: Path) -> None:
    try:
        with os.scandir(path) as entries:
            found = next(entries, None)
    except FileNotFoundError:
        return
    except NotADirectoryError as error:
        raise Refused(f"{what} is not a directory: {path}") from error
    except OSError as error:
        raise Refused(f"{what} cannot be read: {path}: {error.strerror}") from error
    if found is not None:
        hint = "Empty it, or choose another one."
        if what.startswith("the location of tablespace"):
            hint = "Empty it, or choose another one with --tablespace NAME:LOCATION."
        raise Refused(f"{what} is not empty: {path} (there is {found.name!r})", hint=hint)


def _require_writable(what: str, path: Path) -> None:
    existing = _nearest_existing(path)
    if not existing.is_dir():
        raise Refused(f"{what} cannot be made: {existing} is not a directory")
    probe = existing / f".barman_write_check-{uuid.uuid4().hex}"
    try:
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise Refused(f"{what} cannot be written: {path}: {error.strerror} in {existing}") from error


def _nearest_existing(path: Path) -> Path:
    while not os.path.lexists(path):
        path = path.parent
    return path
