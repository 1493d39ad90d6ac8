from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from barman.errors import NotFound
from barman.postgres.timelines import Branch, TimelineHistory
from barman.postgres.wal_names import segment_name
from barman.postgres.wal_records import SegmentRecords
from barman.postgres.wal_runs import collect_runs
from barman.restore.sighting import Place, Reach, Sighting, look_for
from barman.restore.targets import TargetOptions, parse_target
from barman.restore.wal_plan import plan_wal
from tests.support.wal_records import SegmentWriter

SIZE = 1 << 20
NOON = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
FORKED = TimelineHistory(2, (Branch(1, 4 * SIZE + 0x1000, ""),))


def _minute(number):
    return NOON + timedelta(minutes=number)


class _Archive:
    """Segments 2 to 6 of timeline 1: in each a transaction, then a restore point, at the minute of its number."""

    def __init__(self):
        self.files = {}
        self.reads = []
        for number in range(2, 7):
            self.write(1, number)

    def write(self, timeline, number, *, is_empty=False, suffix="", shift=0):
        name = segment_name(timeline, number, SIZE)
        writer = SegmentWriter(name)
        writer.record(10, 0, b"x")
        if not is_empty:
            writer.commit(700 + number + shift, _minute(number + shift))
            writer.restore_point(f"point_{number + shift}", _minute(number))
        self.files[name + suffix] = writer.content()

    def read(self, names):
        for name in names:
            self.reads.append(name)
            if name not in self.files:
                raise NotFound(f"WAL file {name} is not there")
            yield SegmentRecords(self.files[name])

    def look_for(self, path=TimelineHistory(1), begin=2 * SIZE, consistent_at=2, **options):  # noqa: B008
        runs = collect_runs(self.files, SIZE)
        partials = [name for name in self.files if name.endswith(".partial")]
        wal = plan_wal(path, first=2, consistent_at=consistent_at, segment_size=SIZE, runs=runs, partials=partials)
        return look_for(parse_target(TargetOptions(**options)), wal, self.read, begin=begin, runs=runs)


@pytest.fixture
def archive():
    return _Archive()


@pytest.mark.parametrize(
    ("moment", "exclusive", "until"),
    [
        (_minute(1), False, 2),
        (_minute(2), False, 3),
        (_minute(2), True, 2),
        (_minute(4) + timedelta(seconds=30), False, 5),
        (_minute(6) - timedelta(microseconds=1), False, 6),
        (_minute(6), True, 6),
        (_minute(6), False, None),
        (_minute(7), True, None),
    ],
)
def test_a_time_is_reached_with_the_first_transaction_after_it(moment, exclusive, until, archive):
    found = archive.look_for(time=moment, exclusive=exclusive)
    assert found.until == until
    if until is None:
        assert found.reach == Reach(SegmentRecords(archive.files[segment_name(1, 6, SIZE)]).last_start, _minute(6))


@pytest.mark.parametrize("empty", [{6}, {5, 6}, {3, 4}, {2, 3}, {2, 4}, {2, 3, 4, 5}])
@pytest.mark.parametrize("minute", range(1, 7))
def test_segments_without_transactions_are_passed_over(minute, empty, archive):
    for number in empty:
        archive.write(1, number, is_empty=True)
    found = archive.look_for(time=_minute(minute))
    later = [number for number in range(2, 7) if number not in empty and number > minute]
    assert found.until == (min(later) if later else None)


def test_without_any_transaction_no_time_can_be_reached(archive):
    for number in range(2, 7):
        archive.write(1, number, is_empty=True)
    assert archive.look_for(time=_minute(0)).reach.time is None


def test_few_segments_are_read_for_a_time_in_a_long_archive(archive):
    for number in range(7, 200):
        archive.write(1, number)
    assert archive.look_for(time=_minute(77)).until == 78
    assert len(archive.reads) < 12


def test_a_transaction_is_where_its_end_is_and_a_restore_point_where_its_name_is(archive):
    at = archive.look_for(xid="704")
    assert at.until == 4
    assert at.at // SIZE == 4
    assert archive.look_for(name="point_5").until == 5
    assert archive.look_for(xid="800") == Sighting(reach=archive.look_for(name="nowhere").reach)


def test_what_is_before_the_begin_of_recovery_is_not_there(archive):
    assert archive.look_for(name="point_2").until == 2
    assert archive.look_for(name="point_2", begin=2 * SIZE + 0x800).until is None
    assert archive.look_for(xid="702", begin=2 * SIZE + 0x800).until is None


def test_of_two_with_one_name_the_first_counts(archive):
    archive.write(1, 6, shift=-3)
    assert archive.look_for(name="point_3").until == 3


@pytest.mark.parametrize(("lsn", "until"), [(3 * SIZE, 3), (5 * SIZE + 0xFFFF, 5), (6 * SIZE + 40, 6), (SIZE, 3)])
def test_a_position_is_reached_with_a_record_behind_it(lsn, until, archive):
    assert archive.look_for(lsn=f"0/{lsn:X}", consistent_at=3).until == until


def test_a_position_behind_the_last_record_is_not_reached(archive):
    found = archive.look_for(lsn=f"0/{6 * SIZE + 0x8000:X}")
    assert found.until is None
    assert found.reach.lsn < 6 * SIZE + 0x8000
    assert archive.look_for(lsn=f"0/{9 * SIZE:X}").until is None


def test_the_end_of_the_backup_is_reached_with_its_last_segment(archive):
    assert archive.look_for(immediate=True, consistent_at=4).until == 4
    assert archive.look_for(immediate=True, consistent_at=9).until is None


def test_what_another_timeline_has_is_told(archive):
    for number in (4, 5):
        archive.write(2, number, shift=100)
    assert archive.look_for(FORKED, name="point_104").until == 4
    on_one = archive.look_for(FORKED, name="point_5")
    assert on_one.elsewhere[:1] == (1,)
    assert on_one.elsewhere.lsn // SIZE == 5
    assert archive.look_for(FORKED, lsn=f"0/{6 * SIZE + 9:X}").elsewhere == Place(1, 6 * SIZE + 9)
    assert archive.look_for(xid="805").elsewhere.timeline == 2
    assert archive.look_for(FORKED, time=_minute(500)).elsewhere is None


def test_what_is_behind_a_hole_is_told(archive):
    del archive.files[segment_name(1, 4, SIZE)]
    found = archive.look_for(name="point_5")
    assert found.until is None
    assert found.elsewhere.timeline == 1
    assert found.elsewhere.lsn // SIZE == 5


def test_an_unfinished_segment_is_looked_at(archive):
    archive.write(1, 7, suffix=".partial")
    assert archive.look_for(time=_minute(6)).until == 7


def test_what_cannot_be_read_is_not_judged(archive):
    archive.files[segment_name(1, 4, SIZE)] = b"encrypted"
    found = archive.look_for(xid="705")
    assert found.until is None
    assert found.unread
