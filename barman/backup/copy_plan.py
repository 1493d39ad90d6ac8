"""What of a listed directory has to be brought over, and in which portions. Pure."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from barman.backup.listing import Selection
from barman.host.rsync import MOST_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from barman.backup.listing import Listing
    from barman.backup.source_tree import Tree
    from barman.host.rsync import Entry

# rsync lists whole seconds; and a file system's clock is read a little before the server's, and ticks in steps.
_MARGIN_S = 2
_PORTIONS_PER_WORKER = 8
_LEAST_BYTES = 32 << 20
_MOST_BYTES = 10 << 30
# Below this a file is copied as a whole sooner than its changes are found.
_LEAST_UPDATE = 256 << 10


class Known(NamedTuple):
    """A file as the previous backup has it. mtime: whole seconds."""

    size: int
    mtime: int
    mode: int


class Way(Enum):
    """How a portion of files gets into the backup."""

    REUSE = "reuse"  # equal to the previous backup's: from there
    COMPARE = "compare"  # looks equal, and may not be: contents are compared
    UPDATE = "update"  # another than the previous backup's, of which most may be equal: that becomes the new one
    FETCH = "fetch"


@dataclass(frozen=True, slots=True)
class TreePlan:
    """One directory's content, sorted by what is to be done with it."""

    tree: Tree
    directories: Selection
    reused: Selection
    compared: Selection
    updated: Selection
    fetched: Selection

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(self.of(way).bytes for way in Way)

    def of(self, way: Way) -> Selection:
        """Return the files that go this way."""
        return {
            Way.REUSE: self.reused,
            Way.COMPARE: self.compared,
            Way.UPDATE: self.updated,
            Way.FETCH: self.fetched,
        }[way]


class Portion(NamedTuple):
    """Files that one rsync brings over."""

    tree: Tree
    way: Way
    entries: Selection

    @property
    def bytes(self) -> int:
        """Their size."""
        return self.entries.bytes


def safe_horizon(begin_time: datetime) -> int:
    """Return the second from which on a file may have changed without its time telling so, since a backup begun then.

    A file last changed before has the content the backup found, if size and time are those the backup has.
    """
    return int(begin_time.timestamp()) - _MARGIN_S


def plan_tree(
    tree: Tree,
    listing: Listing,
    *,
    known: Callable[[str], Known | None],
    horizon: int | None,
    updates: bool = False,
) -> TreePlan:
    """Return what to do with each file of a listing.

    known: asked for each file by name, relative to tree. horizon: of the backup known is about; None: there is none.
    updates: large files that have changed take the previous backup's as their beginning.
    """
    directories, reused, compared, updated, fetched = (array("L") for _ in range(5))
    for number, entry in enumerate(listing):
        if entry.is_directory:
            directories.append(number)
            continue
        there = None if horizon is None else known(entry.name)
        if there is None or horizon is None or there[:2] != (entry.size, entry.mtime):
            (updated if updates and _is_worth_update(entry, there) else fetched).append(number)
        elif entry.mtime >= horizon or there.mode != entry.mode:
            compared.append(number)
        else:
            reused.append(number)
    return TreePlan(
        tree,
        directories=Selection(listing, directories),
        reused=Selection(listing, reused),
        compared=Selection(listing, compared),
        updated=Selection(listing, updated),
        fetched=Selection(listing, fetched),
    )


def portions_of(plans: Sequence[TreePlan], *, workers: int, ways: Iterable[Way]) -> list[Portion]:
    """Return the files that go these ways in portions, those with the largest files first.

    For one worker a portion is as much of a directory as one rsync can take. For several, portions are small enough
    that all workers are busy until nearly the end, and large enough that starting rsync does not count.
    """
    piles = [(plan.tree, way, entries) for plan in plans for way in ways if (entries := plan.of(way))]
    if workers <= 1:
        return [
            Portion(tree, way, entries[at : at + MOST_NAMES])
            for tree, way, entries in piles
            for at in range(0, len(entries), MOST_NAMES)
        ]
    total = sum(entries.bytes for _, _, entries in piles)
    most = min(max(total // (workers * _PORTIONS_PER_WORKER), _LEAST_BYTES), _MOST_BYTES)
    found = [Portion(tree, way, portion) for tree, way, entries in piles for portion in _cut(entries, most, workers)]
    return sorted(found, key=lambda portion: portion.bytes, reverse=True)


def _is_worth_update(entry: Entry, there: Known | None) -> bool:
    return there is not None and min(entry.size, there.size) >= _LEAST_UPDATE


def _cut(entries: Selection, most_bytes: int, workers: int) -> Iterable[Selection]:
    """Yield portions of no more than most_bytes, unless a single file has more."""
    most_files = min(MOST_NAMES, max(1, -(-len(entries) // workers)))
    ordered = entries.by_size()
    begin = total = 0
    for number, size in enumerate(ordered.sizes()):
        if number > begin and (total + size > most_bytes or number - begin >= most_files):
            yield ordered[begin:number]
            begin, total = number, 0
        total += size
    if len(ordered) > begin:
        yield ordered[begin:]
