"""Which timeline recovery is to end on. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from barman.errors import Refused
from barman.postgres.lsn import format_lsn
from barman.postgres.timelines import TimelineHistory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from barman.restore.targets import TimelineChoice

    # The archived history files, by timeline.
    Histories = Mapping[int, TimelineHistory]


def choose_timeline(
    choice: TimelineChoice | None, *, timeline: int, end: int, histories: Histories, follows_latest: bool
) -> TimelineHistory:
    """Return the timeline asked for, with the way there.

    timeline, end: where the backup ends (LSN). follows_latest: whether, without a choice, PostgreSQL goes on to newer
    timelines (from 12 on); the newest one that can be reached is taken then. A choice that cannot be reached is
    Refused: a timeline that is unknown, that does not descend from the backup's, or left it before the backup's end.
    """
    own = histories.get(timeline, TimelineHistory(timeline))
    if choice == "current" or (choice is None and not follows_latest):
        return own
    if choice is None:
        reachable = [history for history in histories.values() if history.contains(timeline, end)]
        return max((own, *reachable), key=lambda history: history.timeline)
    wanted = latest_timeline(timeline, histories) if choice == "latest" else choice
    found = own if wanted == timeline else histories.get(wanted)
    if found is None:
        known = ", ".join(str(number) for number in sorted({timeline, *histories}))
        raise Refused(f"timeline {wanted} is not in the WAL archive", hint=f"It has timeline {known}.")
    if timeline not in found.path:
        raise Refused(
            f"timeline {wanted} does not descend from timeline {timeline} of the backup",
            hint=f"Choose a backup of timeline {' or '.join(map(str, found.path))}.",
        )
    if not found.contains(timeline, end):
        raise Refused(
            f"timeline {wanted} left timeline {timeline} at {format_lsn(found.end_of(timeline) or 0)}, before the "
            f"backup ended at {format_lsn(end)}",
            hint=f"Choose a backup that ended earlier, or one of timeline {wanted}.",
        )
    return found


def latest_timeline(timeline: int, histories: Histories) -> int:
    """Return the highest timeline known to the archive, timeline being one of them."""
    return max((timeline, *histories))
