"""Which files of a backup have to be brought over, and which are here in one way or another. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from barman.host.rsync import Entry

SCRATCH = ".copying"
# What lies beside the files of a backup without being part of it, in any layout.
FILTERS = ("--exclude=/backup.info", "--exclude=/.backup.lock", "--exclude=/annotations", f"--exclude=/{SCRATCH}")

# rsync lists whole seconds; and a file system's clock ticks in steps.
_MARGIN_S = 2
_PORTIONS_PER_LANE = 8
_LEAST_BYTES = 32 << 20
_MOST_BYTES = 10 << 30
_MOST_FILES = 5000
_TABLESPACE_LINK = re.compile(r"data/pg_tblspc/(\d+)")


class Found(NamedTuple):
    """A file that is here. mtime: whole seconds."""

    size: int
    mtime: int
    mode: int


class Way(Enum):
    """How a portion of files gets here."""

    FETCH = "fetch"
    CHECK = "check"  # it is here; its content is compared with the primary's, and what differs fetched
    COMPARE = "compare"  # a file of the neighbour's looks equal; linked to it if the content is


@dataclass(frozen=True, slots=True)
class TreePlan:
    """The files of a backup, sorted by what is to be done. tablespaces: those that data/pg_tblspc has links for."""

    directories: tuple[Entry, ...]
    files: tuple[Entry, ...]
    here: tuple[Entry, ...]
    linked: tuple[Entry, ...]
    checked: tuple[Entry, ...]
    compared: tuple[Entry, ...]
    fetched: tuple[Entry, ...]
    tablespaces: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(entry.size for entry in self.files)


class Portion(NamedTuple):
    """Files that one rsync looks after."""

    way: Way
    entries: tuple[Entry, ...]


def horizon_of(one: datetime | None, other: datetime | None) -> int | None:
    """Return the second before which a file last changed is the same in two backups if its size and time are.

    None, if either does not know when it began.
    """
    return None if one is None or other is None else int(min(one, other).timestamp()) - _MARGIN_S


def plan_tree(
    listing: Iterable[Entry],
    *,
    here: Callable[[str], Found | None],
    trusted: bool,
    neighbour: Callable[[str], Found | None],
    horizon: int | None,
) -> TreePlan:
    """Return what to do with each file of a listing.

    here, neighbour: asked for each file of an earlier attempt, and of a backup whose files may serve again. trusted:
    files of an earlier attempt need no comparison, their checksums are verified anyway. horizon: as horizon_of says;
    None: no file of the neighbour serves.
    """
    directories: list[Entry] = []
    files: list[Entry] = []
    piles: dict[str, list[Entry]] = {"here": [], "linked": [], "checked": [], "compared": [], "fetched": []}
    tablespaces: list[str] = []
    for entry in listing:
        link = _TABLESPACE_LINK.fullmatch(entry.name) if entry.is_link else None
        if entry.is_directory:
            directories.append(entry)
        elif link is not None:
            tablespaces.append(link[1])
        elif entry.is_link:
            piles["fetched"].append(entry)
        else:
            files.append(entry)
            beside = None if horizon is None else neighbour(entry.name)
            pile = _pile(entry, here(entry.name), trusted=trusted, beside=beside, horizon=horizon)
            piles[pile].append(entry)
    sorted_out = {pile: tuple(entries) for pile, entries in piles.items()}
    return TreePlan(tuple(directories), tuple(files), **sorted_out, tablespaces=tuple(tablespaces))


def _pile(entry: Entry, here: Found | None, *, trusted: bool, beside: Found | None, horizon: int | None) -> str:
    like = Found(entry.size, entry.mtime, entry.mode)
    if here == like:
        return "here" if trusted else "checked"
    if beside != like or horizon is None:
        return "fetched"
    return "linked" if entry.mtime < horizon else "compared"


def portions_of(plan: TreePlan, *, lanes: int) -> list[Portion]:
    """Return what rsync has to look after in portions for so many workers, those with the largest files first.

    What is compared is in portions for a single worker as well: rsync is silent until it has compared one.
    """
    piles = ((Way.FETCH, plan.fetched), (Way.COMPARE, plan.compared), (Way.CHECK, plan.checked))
    if lanes <= 1:
        fetched = [Portion(Way.FETCH, plan.fetched)] if plan.fetched else []
        return fetched + [Portion(way, part) for way, entries in piles[1:] for part in _cut(entries, _MOST_BYTES, 1)]
    total = sum(entry.size for _, entries in piles for entry in entries)
    most = min(max(total // (lanes * _PORTIONS_PER_LANE), _LEAST_BYTES), _MOST_BYTES)
    found = [Portion(way, part) for way, entries in piles for part in _cut(entries, most, lanes)]
    return sorted(found, key=lambda portion: sum(entry.size for entry in portion.entries), reverse=True)


def _cut(entries: Sequence[Entry], most_bytes: int, lanes: int) -> Iterable[tuple[Entry, ...]]:
    """Yield portions of no more than most_bytes, unless a single file has more."""
    most_files = min(_MOST_FILES, max(1, -(-len(entries) // lanes)))
    portion: list[Entry] = []
    size = 0
    for entry in sorted(entries, key=lambda entry: entry.size, reverse=True):
        if portion and (size + entry.size > most_bytes or len(portion) >= most_files):
            yield tuple(portion)
            portion, size = [], 0
        portion.append(entry)
        size += entry.size
    if portion:
        yield tuple(portion)
