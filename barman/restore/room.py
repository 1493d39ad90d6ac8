"""How much is written where, and how long that takes. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from barman.catalog.record import BackupRecord
    from barman.restore.placements import Placement

# A copy of less says nothing about the speed of a long one.
_SMALLEST_SAMPLE = 64 << 20


class Room(NamedTuple):
    """What a directory is going to hold. size_bytes: None if nobody knows. is_staging: for a while.

    is_here: on this host, whatever host the restore is to.
    """

    what: str
    path: Path
    size_bytes: int | None
    is_staging: bool = False
    is_wal: bool = False
    is_here: bool = False


class Mount(NamedTuple):
    """A file system that is written to. path: a directory on it. is_all: whether needed_bytes is all that is needed."""

    path: str
    needed_bytes: int
    free_bytes: int
    is_all: bool = True

    def with_room(self, room: Room) -> Mount:
        """Return the same, room being needed too."""
        return self._replace(
            needed_bytes=self.needed_bytes + (room.size_bytes or 0),
            is_all=self.is_all and room.size_bytes is not None,
        )


class Rate(NamedTuple):
    """A speed that was measured. backup_id: while this backup was taken."""

    bytes_per_s: float
    backup_id: str


def plan_room(
    destination: Path,
    placements: Sequence[Placement],
    sizes: Mapping[int | None, int],
    *,
    wal: tuple[Path, int] | None,
    staging: tuple[Path, int | None] | None,
    is_staged_here: bool = True,
) -> tuple[Room, ...]:
    """Return what is written below which directory.

    sizes: of the restored cluster in bytes, by tablespace oid, None for the data directory; a tablespace not in it is
    empty, and without any nothing is known. wal: directory and bytes of copied WAL. staging: directory and bytes of
    what is laid out there for a while. is_staged_here: on this host, not on that of the destination.
    """
    rooms = [Room("data directory", destination, sizes.get(None))]
    for placement in placements:
        size = sizes.get(placement.oid, 0) if sizes else None
        rooms.append(Room(f"tablespace {placement.name}", placement.location, size))
    if wal is not None:
        rooms.append(Room("WAL", *wal, is_wal=True))
    if staging is not None:
        rooms.append(Room("staging", *staging, is_staging=True, is_here=is_staged_here))
    return tuple(rooms)


def written_bytes(rooms: Sequence[Room], *, with_staging: bool = False) -> int | None:
    """Return how large the base backup is, WAL not counted; None if that is not known."""
    sizes = [room.size_bytes for room in rooms if not room.is_wal and (with_staging or not room.is_staging)]
    return None if None in sizes else sum(size or 0 for size in sizes)


def measured_rate(chain: Sequence[BackupRecord]) -> Rate | None:
    """Return how fast the largest backup of a chain was copied; None if that is not known well enough."""
    rates = []
    for record in chain:
        copied = record.deduplicated_size if record.deduplicated_size is not None else record.size
        seconds = (record.copy_stats or {}).get("copy_time")
        if copied is not None and copied >= _SMALLEST_SAMPLE and isinstance(seconds, (int, float)) and seconds > 0:
            rates.append((copied, Rate(copied / seconds, record.backup_id)))
    return max(rates)[1] if rates else None


def expected_time(rooms: Sequence[Room], rate: Rate | None) -> timedelta | None:
    """Return how long writing the base backup takes at that rate, WAL not counted; None if that is not known."""
    size = written_bytes(rooms, with_staging=True)
    return None if rate is None or size is None else timedelta(seconds=round(size / rate.bytes_per_s))
