"""Laws of passive nodes: what a plan never does, and that carrying it out leaves nothing to do."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from barman.catalog.record import BackupRecord, KeepTarget, Status
from barman.catalog.xlog_lines import WalEntry
from barman.retention.policy import RecoveryWindow, Redundancy
from barman.sync.document import Position, PrimaryState
from barman.sync.plan import COPY_FAILED, LocalState, plan_sync
from tests.support.catalogs import BEGINNING, backup_id, segment

NOW = datetime(2026, 11, 21, tzinfo=timezone.utc)
NUMBERS = range(1, 9)
POLICIES = (
    st.none() | st.builds(Redundancy, st.integers(0, 4)) | st.builds(RecoveryWindow, st.integers(1, 25), st.just("DAY"))
)
KEEPS = st.dictionaries(st.sampled_from(NUMBERS).map(backup_id), st.sampled_from(KeepTarget))
LOCAL_STATUSES = st.sampled_from([Status.DONE, Status.DONE, Status.SYNCING, Status.FAILED, Status.WAITING_FOR_WALS])


@st.composite
def backups(draw, statuses):
    found = {}
    for number in sorted(draw(st.sets(st.sampled_from(NUMBERS)))):
        parent = draw(st.none() | st.sampled_from(NUMBERS).filter(lambda other, number=number: other < number))
        record = BackupRecord(
            backup_id(number),
            status=draw(statuses),
            parent_backup_id=None if parent is None else backup_id(parent),
            begin_wal=segment(number * 10),
            end_wal=segment(number * 10 + 1),
            end_time=BEGINNING + timedelta(days=number),
            systemid="1",
            error=f"{COPY_FAILED}x",
        )
        found[record.backup_id] = record
    return found


@st.composite
def primaries(draw):
    wals = tuple(WalEntry(segment(number), 16, 1.0) for number in draw(st.sets(st.integers(0, 99))))
    records = draw(backups(st.sampled_from([Status.DONE, Status.DONE, Status.WAITING_FOR_WALS])))
    return PrimaryState(records, wals, Position("x", 1), "", "", "", keeps=draw(KEEPS))


@st.composite
def locals_(draw):
    records = draw(backups(LOCAL_STATUSES))
    return LocalState(records, draw(KEEPS), frozenset(records), policy=draw(POLICIES))


def _carry_out(plan, primary, local):
    records, keeps = dict(local.records), dict(local.keeps)
    for mark in plan.keeps:
        keeps.pop(mark.backup_id, None)
        if mark.target is not None:
            keeps[mark.backup_id] = mark.target
    for purge in plan.purges:
        del records[purge.backup_id]
    for copy in plan.copies:
        records[copy.backup_id] = primary.backups[copy.backup_id]
        if copy.backup_id in primary.keeps:
            keeps.setdefault(copy.backup_id, primary.keeps[copy.backup_id])
    return replace(local, records=records, keeps=keeps, present=frozenset(records))


@given(primaries(), locals_())
def test_when_a_plan_is_carried_out_nothing_is_left_to_do(primary, local):
    after = _carry_out(plan_sync(primary, None, local, NOW), primary, local)
    again = plan_sync(primary, primary, after, NOW)
    assert (again.copies, again.purges, again.keeps) == ((), (), ())


@given(primaries(), locals_())
def test_no_complete_backup_is_ever_removed(primary, local):
    plan = plan_sync(primary, None, local, NOW)
    assert not any(local.records[purge.backup_id].is_copy_done for purge in plan.purges)


@given(primaries(), locals_())
def test_every_backup_comes_once_and_after_what_it_is_based_on(primary, local):
    copies = [copy.backup_id for copy in plan_sync(primary, None, local, NOW).copies]
    assert len(copies) == len(set(copies))
    for place, one in enumerate(copies):
        parent = primary.backups[one].parent_backup_id
        here = local.records.get(parent)
        assert parent not in primary.backups or parent in copies[:place] or (here is not None and here.is_copy_done)


@given(primaries(), locals_())
def test_wal_comes_once_and_only_if_the_primary_has_it(primary, local):
    names = [entry.name for part in plan_sync(primary, None, local, NOW).wal for entry in part.entries]
    assert len(names) == len(set(names))
    assert set(names) <= {entry.name for entry in primary.wals}


@given(primaries(), locals_())
def test_the_wal_of_every_backup_that_is_wanted_is_wanted(primary, local):
    plan = plan_sync(primary, None, local, NOW)
    names = {entry.name for part in plan.wal for entry in part.entries}
    for copy in plan.copies:
        record = primary.backups[copy.backup_id]
        assert {wal.name for wal in primary.wals if record.begin_wal <= wal.name <= record.end_wal} <= names
