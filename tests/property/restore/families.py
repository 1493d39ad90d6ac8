"""Random families of timelines."""

from __future__ import annotations

from hypothesis import strategies as st

from barman.postgres.timelines import Branch, TimelineHistory

SIZE = 64 << 20
LAST = 24


@st.composite
def families(draw: st.DrawFn, most: int = 5) -> dict[int, TimelineHistory]:
    """Histories of timelines 1 … n, each but the first branched off an older one at a growing position."""
    histories = {1: TimelineHistory(1)}
    for timeline in range(2, draw(st.integers(1, most)) + 1):
        parent = histories[draw(st.integers(1, timeline - 1))]
        lowest = parent.branches[-1].switch_lsn if parent.branches else 0
        switch = draw(st.integers(lowest, LAST * SIZE))
        histories[timeline] = TimelineHistory(timeline, (*parent.branches, Branch(parent.timeline, switch, "")))
    return histories
