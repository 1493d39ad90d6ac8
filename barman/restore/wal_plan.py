"""Which WAL files a restore takes from the archive, and what is missing. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from barman.postgres.wal_names import DEFAULT_SEGMENT_SIZE, segment_name
from barman.postgres.wal_runs import follow_path, is_any_later

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from barman.postgres.timelines import TimelineHistory
    from barman.postgres.wal_runs import SegmentRuns


class WalCopy(NamedTuple):
    """One file to be given to recovery. name: for PostgreSQL. stored: in the archive or the streaming directory.

    is_needed: recovery cannot do without it; the others may help and may be left out when they are damaged.
    """

    name: str
    stored: str
    is_needed: bool


@dataclass(frozen=True, slots=True)
class WalPlan:
    """The segments first … last (numbers) along path are there; last < first: not even the first one.

    consistent_at: number of the segment in which the backup ends. needed_until: number of the last segment recovery
    must have to reach the target, None when it takes what there is. partial: stored name of an unfinished segment that
    follows last. is_gap: whether WAL that comes later on the path is archived, so that the next segment is a hole.
    """

    path: TimelineHistory
    segment_size: int
    first: int
    last: int
    consistent_at: int
    needed_until: int | None
    partial: str | None = None
    is_gap: bool = False

    @property
    def missing(self) -> str:
        """The first segment that is not there, complete."""
        return _name(self.path, self.last + 1, self.segment_size)

    @property
    def reaches(self) -> int:
        """The number of the last segment recovery gets, the unfinished one included."""
        return self.last + (self.partial is not None)

    @property
    def is_consistent(self) -> bool:
        """Whether everything from the begin to the end of the backup is there."""
        return self.reaches >= self.consistent_at

    @property
    def reaches_target(self) -> bool:
        """Whether everything is there that is known to be needed for the target."""
        return self.needed_until is None or self.reaches >= self.needed_until

    def copy_of(self, number: int) -> WalCopy:
        """Return the file that holds segment number, which is one of first to reaches."""
        name = _name(self.path, number, self.segment_size)
        stored = self.partial if self.partial is not None and number > self.last else name
        return WalCopy(name, stored, number <= (self.last if self.needed_until is None else self.needed_until))

    @property
    def count(self) -> int:
        """How many files copies() yields."""
        return max(self.reaches - self.first + 1, 0)

    def copies(self) -> Iterator[WalCopy]:
        """Yield the files to be copied, in the order recovery reads them."""
        for number in range(self.first, self.reaches + 1):
            yield self.copy_of(number)


def plan_wal(
    path: TimelineHistory,
    *,
    first: int,
    consistent_at: int,
    segment_size: int,
    runs: SegmentRuns,
    needed_until: int | None = None,
    is_limited: bool = True,
    partials: Collection[str] = (),
) -> WalPlan:
    """Return what recovery along path gets, from segment number first on.

    consistent_at: number of the segment the backup ends in. needed_until: that of the last segment recovery must have;
    None: it takes what there is. If is_limited, the list goes beyond it by 16 MiB, at least one segment: the record at
    a target may end in a later segment than it begins in. partials: stored names of unfinished segments that may be
    used.
    """
    limit = None
    if needed_until is not None:
        needed_until = max(needed_until, consistent_at)
    if needed_until is not None and is_limited:
        limit = needed_until + max(1, DEFAULT_SEGMENT_SIZE // segment_size)
    available = follow_path(path, first, segment_size, runs)
    last = available if limit is None else min(available, limit)
    beyond = last + 1
    partial = _name(path, beyond, segment_size) + ".partial"
    return WalPlan(
        path=path,
        segment_size=segment_size,
        first=first,
        last=last,
        consistent_at=consistent_at,
        needed_until=needed_until,
        partial=partial if partial in partials and (limit is None or beyond <= limit) else None,
        is_gap=last == available and is_any_later(path, available, segment_size, runs),
    )


def _name(path: TimelineHistory, number: int, segment_size: int) -> str:
    """Return the name of the file PostgreSQL reads for segment number."""
    return segment_name(path.timeline_of_segment(number, segment_size), number, segment_size)
