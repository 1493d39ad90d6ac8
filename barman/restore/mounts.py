"""How much room there is on this host for what a restore writes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from barman.restore.room import Mount

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from barman.restore.room import Room


def measure_mounts(rooms: Iterable[Room]) -> tuple[Mount, ...]:
    """Return the file systems that hold these directories, or are going to, with what is needed and free on each."""
    found: dict[int, Mount] = {}
    for room in rooms:
        existing = _nearest_existing(room.path)
        device = existing.stat().st_dev
        if device not in found:
            status = os.statvfs(existing)
            found[device] = Mount(os.fspath(existing), 0, status.f_bavail * status.f_frsize)
        found[device] = found[device].with_room(room)
    return tuple(found.values())


def _nearest_existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
