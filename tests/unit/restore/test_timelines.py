from __future__ import annotations

import pytest

from barman.errors import Refused
from barman.postgres.timelines import Branch, TimelineHistory
from barman.restore.timelines import choose_timeline


def _history(timeline, *branches):
    return TimelineHistory(timeline, tuple(Branch(number, lsn, "") for number, lsn in branches))


# 1 ── 2 (at 100) ── 4 (at 300);  1 ── 3 (at 200);  5 has no ancestors we know
HISTORIES = {
    2: _history(2, (1, 100)),
    3: _history(3, (1, 200)),
    4: _history(4, (1, 100), (2, 300)),
    5: _history(5),
}


def _choose(choice, timeline, end, *, follows_latest=True):
    return choose_timeline(choice, timeline=timeline, end=end, histories=HISTORIES, follows_latest=follows_latest)


@pytest.mark.parametrize(
    ("choice", "timeline", "end", "chosen"),
    [
        (None, 1, 50, 4),
        (None, 1, 100, 4),
        (None, 1, 101, 3),
        (None, 1, 201, 1),
        (None, 2, 250, 4),
        (None, 2, 301, 2),
        (None, 3, 250, 3),
        ("current", 1, 50, 1),
        ("latest", 5, 50, 5),
        (2, 1, 50, 2),
        (1, 1, 500, 1),
        (4, 2, 200, 4),
        (7, 7, 200, 7),
    ],
)
def test_the_newest_timeline_that_can_be_reached_or_the_one_asked_for(choice, timeline, end, chosen):
    assert _choose(choice, timeline, end).timeline == chosen


def test_old_versions_stay_where_they_are():
    assert _choose(None, 1, 50, follows_latest=False).timeline == 1


@pytest.mark.parametrize(
    ("choice", "timeline", "end", "reason"),
    [
        (2, 1, 101, "left timeline 1 at 0/64, before the backup ended at 0/65"),
        ("latest", 1, 50, "timeline 5 does not descend"),
        (9, 1, 50, "timeline 9 is not in the WAL archive"),
        (1, 2, 150, "timeline 1 is not in the WAL archive"),
        (3, 2, 150, "does not descend"),
    ],
)
def test_what_cannot_be_reached_is_refused_with_the_reason(choice, timeline, end, reason):
    with pytest.raises(Refused, match=reason):
        _choose(choice, timeline, end)
