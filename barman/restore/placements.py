"""Where the tablespaces of a restored cluster go. Pure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from barman.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from barman.catalog.record import BackupRecord


class Placement(NamedTuple):
    """Where one tablespace goes. was_in_place: it is a directory in the backup's pg_tblspc, not a link."""

    name: str
    oid: int
    location: Path
    was_in_place: bool


def place_tablespaces(record: BackupRecord, destination: Path, chosen: Mapping[str, Path]) -> tuple[Placement, ...]:
    """Return the tablespaces outside the data directory: at the location chosen by name, else at their old one.

    Raises Refused for a name the backup does not have, and for locations in each other or in the destination.
    """
    tablespaces = record.tablespaces or ()
    names = [tablespace.name for tablespace in tablespaces]
    for name in chosen:
        if name not in names:
            known = f"It has {', '.join(names)}." if names else "It has none."
            raise Refused(f"backup {record.backup_id} has no tablespace '{name}'", hint=known)
    placements = []
    for tablespace in tablespaces:
        was_in_place = not tablespace.location.startswith("/")
        location = chosen.get(tablespace.name)
        if location is not None or not was_in_place:
            placements.append(
                Placement(tablespace.name, tablespace.oid, location or Path(tablespace.location), was_in_place)
            )
    _require_apart(destination, placements)
    return tuple(placements)


def _require_apart(destination: Path, placements: Sequence[Placement]) -> None:
    """Refuse tablespaces that would lie in each other, or in the data directory, or around it."""
    places: list[tuple[str, Path]] = [("the destination", destination)]
    for placement in placements:
        what = f"tablespace '{placement.name}'"
        if not placement.location.is_absolute():
            raise Refused(f"the location of {what} is not absolute: {placement.location}")
        for other, path in places:
            if path == placement.location or path in placement.location.parents or placement.location in path.parents:
                raise Refused(
                    f"{what} ({placement.location}) and {other} ({path}) would share a directory",
                    hint="Give each a directory of its own, with --tablespace NAME:LOCATION.",
                )
        places.append((what, placement.location))
