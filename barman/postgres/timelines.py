"""Timeline history files, and which timeline holds which position on the way to a timeline. Pure.

Source: PostgreSQL source, timeline.c (readTimeLineHistory) and xlogrecovery.c (XLogFileReadAnyTLI).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from barman.errors import WalError
from barman.postgres.lsn import parse_lsn
from barman.postgres.wal_names import segment_name

if TYPE_CHECKING:
    from collections.abc import Iterator

_LINE = re.compile(r"(\d+)\s+([0-9A-Fa-f]+/[0-9A-Fa-f]+)(?:\s+(.*))?")


@dataclass(frozen=True, slots=True)
class Branch:
    """A line of a history file: the timeline it names was left at switch_lsn, the first byte that differs."""

    timeline: int
    switch_lsn: int
    reason: str


@dataclass(frozen=True, slots=True)
class TimelineHistory:
    """A timeline and its ancestors, oldest first. The first timeline of a cluster has none, and no history file."""

    timeline: int
    branches: tuple[Branch, ...] = ()

    @property
    def path(self) -> tuple[int, ...]:
        """The timelines from the oldest ancestor to this one."""
        return (*(branch.timeline for branch in self.branches), self.timeline)

    def end_of(self, timeline: int) -> int | None:
        """Return the position where the path leaves timeline; None for the timeline itself, which has no end yet.

        WalError if timeline is not on the path.
        """
        if timeline == self.timeline:
            return None
        for branch in self.branches:
            if branch.timeline == timeline:
                return branch.switch_lsn
        raise WalError(f"timeline {timeline} is not an ancestor of timeline {self.timeline}")

    def contains(self, timeline: int, lsn: int) -> bool:
        """Whether the path goes through this position of timeline: a backup that ends there can reach this one."""
        if timeline not in self.path:
            return False
        end = self.end_of(timeline)
        return end is None or lsn <= end

    def timeline_of_segment(self, number: int, segment_size: int) -> int:
        """Return the timeline whose file holds segment number for recovery along this path.

        The segment in which a timeline begins exists under both timelines; recovery takes the newer one's file.
        """
        for branch in self.branches:
            if number < branch.switch_lsn // segment_size:
                return branch.timeline
        return self.timeline

    def segments(self, first_lsn: int, last_lsn: int, segment_size: int) -> Iterator[str]:
        """Yield the names of the segments recovery reads from the byte at first_lsn to that at last_lsn."""
        for number in range(first_lsn // segment_size, last_lsn // segment_size + 1):
            yield segment_name(self.timeline_of_segment(number, segment_size), number, segment_size)


def history_name(timeline: int) -> str:
    """Return the name of timeline's history file."""
    return f"{timeline:08X}.history"


def parse_history(text: str, timeline: int) -> TimelineHistory:
    """Return the history of timeline from the content of its history file.

    WalError if a line is malformed, or ancestors do not ascend and precede timeline.
    """
    branches = tuple(_branches(text, timeline))
    path = [branch.timeline for branch in branches] + [timeline]
    if any(older >= newer for older, newer in pairwise(path)):
        raise WalError(f"{history_name(timeline)}: timelines {', '.join(map(str, path))} are not in sequence")
    return TimelineHistory(timeline, branches)


def _branches(text: str, timeline: int) -> Iterator[Branch]:
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise WalError(f"{history_name(timeline)}, line {number}: no timeline and switch point in {line[:80]!r}")
        yield Branch(int(match[1]), parse_lsn(match[2]), match[3] or "")
