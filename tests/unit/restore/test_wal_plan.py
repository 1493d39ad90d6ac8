from __future__ import annotations

import pytest

from barman.postgres.timelines import Branch, TimelineHistory
from barman.postgres.wal_names import segment_name
from barman.postgres.wal_runs import collect_runs
from barman.restore.wal_plan import WalCopy, plan_wal

SIZE = 16 << 20
ONE = TimelineHistory(1)
# timeline 1 is left in the middle of segment 5
FORKED = TimelineHistory(2, (Branch(1, 5 * SIZE + 100, ""),))


def _names(*pairs):
    return [segment_name(timeline, number, SIZE) for timeline, number in pairs]


def _plan(path=ONE, names=(), until=None, partials=(), consistent_at=2, *, is_limited=True):
    return plan_wal(
        path,
        first=2,
        consistent_at=consistent_at,
        segment_size=SIZE,
        runs=collect_runs(names, SIZE),
        needed_until=until,
        is_limited=is_limited,
        partials=partials,
    )


def _copied(plan):
    return [copy.name for copy in plan.copies()]


def test_everything_to_the_end_is_taken_without_a_target():
    plan = _plan(names=_names((1, 1), (1, 2), (1, 3), (1, 4)))
    assert _copied(plan) == _names((1, 2), (1, 3), (1, 4))
    assert all(copy.is_needed for copy in plan.copies())
    assert plan.is_consistent
    assert plan.reaches_target
    assert not plan.is_gap
    assert plan.count == 3


def test_the_path_leads_from_one_timeline_to_the_next_in_the_segment_of_the_fork():
    names = _names(*((1, number) for number in range(2, 9)), *((2, number) for number in range(5, 7)))
    assert _copied(_plan(FORKED, names)) == _names((1, 2), (1, 3), (1, 4), (2, 5), (2, 6))


def test_the_old_timeline_does_not_fill_a_hole_of_the_new_one():
    names = _names(*((1, number) for number in range(2, 9)), (2, 6))
    plan = _plan(FORKED, names)
    assert _copied(plan) == _names((1, 2), (1, 3), (1, 4))
    assert plan.is_gap
    assert plan.missing == _names((2, 5))[0]


def test_wal_that_the_path_does_not_lead_through_makes_no_hole():
    assert not _plan(ONE, _names((1, 2), (2, 5))).is_gap
    assert not _plan(FORKED, _names((1, 2), (1, 3), (1, 4), (2, 3), (1, 9))).is_gap


@pytest.mark.parametrize(
    ("until", "needed", "helpful"),
    [(4, [2, 3, 4], [5]), (3, [2, 3], [4]), (1, [2, 3], [4]), (None, [2, 3, 4, 5, 6, 7], [])],
)
def test_a_target_limits_what_is_taken(until, needed, helpful):
    names = _names(*((1, number) for number in range(2, 8)))
    plan = _plan(names=names, until=until, consistent_at=3)
    assert [copy.name for copy in plan.copies() if copy.is_needed] == _names(*((1, n) for n in needed))
    assert [copy.name for copy in plan.copies() if not copy.is_needed] == _names(*((1, n) for n in helpful))
    assert not plan.is_gap


def test_without_a_limit_all_is_taken_and_what_is_beyond_the_target_may_be_damaged():
    names = _names(*((1, number) for number in range(2, 8)))
    plan = _plan(names=names, until=4, is_limited=False)
    assert [copy.name for copy in plan.copies() if copy.is_needed] == _names((1, 2), (1, 3), (1, 4))
    assert plan.count == 6


def test_small_segments_are_taken_16_mib_beyond_the_target():
    names = [segment_name(1, number, 1 << 20) for number in range(2, 60)]
    plan = plan_wal(
        ONE,
        first=2,
        consistent_at=2,
        segment_size=1 << 20,
        runs=collect_runs(names, 1 << 20),
        needed_until=10,
    )
    assert plan.last == 10 + 16


def test_a_hole_before_the_target_is_seen():
    plan = _plan(names=_names((1, 2), (1, 3), (1, 5)), until=5)
    assert not plan.reaches_target
    assert plan.is_gap
    assert plan.missing == _names((1, 4))[0]


def test_the_end_of_the_archive_is_no_hole():
    plan = _plan(names=_names((1, 2), (1, 3)), until=5)
    assert not plan.reaches_target
    assert not plan.is_gap


def test_a_missing_first_segment_gives_nothing():
    plan = _plan(names=_names((1, 3)))
    assert _copied(plan) == []
    assert not plan.is_consistent
    assert plan.count == 0
    assert plan.missing == _names((1, 2))[0]


def test_an_unfinished_segment_follows_the_last_under_its_full_name():
    partial = _names((1, 4))[0] + ".partial"
    plan = _plan(names=_names((1, 2), (1, 3)), partials={partial, "000000010000000000000009.partial"})
    assert list(plan.copies())[-1] == WalCopy(_names((1, 4))[0], partial, is_needed=False)
    assert plan.reaches == 4
    assert plan.count == 3
    needed = _plan(names=_names((1, 2), (1, 3)), partials={partial}, until=4, consistent_at=3)
    assert list(needed.copies())[-1].is_needed
    assert needed.reaches_target


def test_an_unfinished_segment_beyond_the_limit_is_left():
    partial = _names((1, 4))[0] + ".partial"
    assert _plan(names=_names((1, 2), (1, 3)), partials={partial}, until=2).partial is None
