"""Laws of retention: what it must never do, for any catalogue."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from barman.catalog.chains import descendants, root_id
from barman.catalog.record import BackupId, BackupRecord, KeepTarget, Status
from barman.errors import Refused
from barman.retention.plan import (
    plan_deletion,
    plan_enforcement,
    plan_needs,
    plan_needs_after,
    plan_wal_removal,
)
from barman.retention.policy import (
    Combined,
    LongTerm,
    Period,
    RecoveryWindow,
    Redundancy,
    Word,
    counted_redundancy,
    standing_alone,
    verdicts,
)

NOW = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
KEPT = {Word.KEEP_FULL, Word.KEEP_STANDALONE}
RECOVERY = st.builds(Redundancy, st.integers(0, 4)) | st.builds(
    RecoveryWindow, st.integers(0, 30), st.sampled_from(["DAY", "WEEK", "MONTH"])
)
LONG_TERM = st.builds(
    lambda counts: LongTerm(tuple((period, counts[period]) for period in Period if period in counts)),
    st.dictionaries(st.sampled_from(Period), st.integers(0, 4), min_size=1),
)
POLICIES = RECOVERY | st.builds(Combined, RECOVERY, LONG_TERM)
STATUSES = st.sampled_from([Status.DONE] * 5 + [Status.FAILED, Status.WAITING_FOR_WALS, Status.STARTED])


def segment(number, timeline=1):
    return f"{timeline:08X}{0:08X}{number:08X}"


@st.composite
def catalogs(draw):
    """Backups with growing WAL positions, over failovers, some in chains, some doomed; and which of them are kept."""
    records, keeps = {}, {}
    position = timeline = 1
    for number in range(draw(st.integers(1, 10))):
        backup_id = BackupId(f"202611{number + 1:02d}T000000")
        parent = draw(st.none() | st.sampled_from(sorted(records))) if records else None
        begin = position + draw(st.integers(0, 3))
        end = begin + draw(st.integers(0, 2))
        position = begin
        timeline += draw(st.sampled_from([0, 0, 0, 1]))
        record = BackupRecord(
            backup_id,
            status=draw(STATUSES),
            parent_backup_id=parent,
            begin_wal=segment(begin, timeline),
            end_wal=segment(end, timeline),
            end_time=NOW - timedelta(days=draw(st.integers(0, 60))),
            doomed=draw(st.sampled_from([False] * 6 + [True])),
            mode="postgres",
        )
        records[backup_id] = record
        if record.is_done and parent is None and draw(st.booleans()):
            keeps[backup_id] = draw(st.sampled_from(KeepTarget))
    return records, keeps


@given(catalogs(), POLICIES, st.integers(0, 4))
def test_retention_never_goes_below_minimum_redundancy_nor_touches_what_is_kept(catalog, policy, minimum):
    records, keeps = catalog
    found = verdicts(records, keeps, policy, minimum_redundancy=minimum, now=NOW)
    plan = plan_enforcement(records, keeps, found)
    gone = {deletion.backup_id for deletion in plan}
    left = {backup_id: record for backup_id, record in records.items() if backup_id not in gone}

    # Of backups based on one that is being deleted nothing can be restored in any case.
    doomed = [record for record in records.values() if record.doomed]
    lost = {one.backup_id for root in doomed for one in (root, *descendants(records, root.backup_id))}
    able = {backup_id: record for backup_id, record in records.items() if backup_id not in lost}
    assert counted_redundancy(left) >= min(minimum, counted_redundancy(able))
    assert not gone & set(keeps) - lost


@given(catalogs(), POLICIES, st.integers(0, 4))
def test_retention_orphans_no_incremental_and_deletes_leaves_first(catalog, policy, minimum):
    records, keeps = catalog
    plan = plan_enforcement(records, keeps, verdicts(records, keeps, policy, minimum_redundancy=minimum, now=NOW))
    remaining = dict(records)
    for deletion in plan:
        assert descendants(remaining, deletion.backup_id) == []
        del remaining[deletion.backup_id]


@given(catalogs(), POLICIES, st.integers(0, 4))
def test_retention_is_idempotent(catalog, policy, minimum):
    records, keeps = catalog
    found = verdicts(records, keeps, policy, minimum_redundancy=minimum, now=NOW)
    gone = {deletion.backup_id for deletion in plan_enforcement(records, keeps, found)}
    left = {backup_id: record for backup_id, record in records.items() if backup_id not in gone}
    again = verdicts(left, keeps, policy, minimum_redundancy=minimum, now=NOW)

    assert plan_enforcement(left, keeps, again) == []


@given(catalogs(), st.integers(0, 30), st.integers(0, 4), st.integers(0, 100))
def test_a_window_only_forgets_more_as_time_goes_by(catalog, days, minimum, later):
    records, keeps = catalog
    policy = RecoveryWindow(days, "DAY")
    ordered = all(
        one.end_time <= other.end_time
        for one, other in zip(records.values(), list(records.values())[1:], strict=False)
        if one.is_done and other.is_done
    )
    before = verdicts(records, keeps, policy, minimum_redundancy=minimum, now=NOW)
    after = verdicts(records, keeps, policy, minimum_redundancy=minimum, now=NOW + timedelta(days=later))
    if ordered:
        obsolete = {backup_id for backup_id, verdict in before.items() if verdict.word is Word.OBSOLETE}
        assert obsolete <= {backup_id for backup_id, verdict in after.items() if verdict.word is Word.OBSOLETE}


@given(catalogs(), POLICIES, st.integers(0, 4))
def test_every_backup_has_one_verdict_and_incrementals_that_of_their_root(catalog, policy, minimum):
    records, keeps = catalog
    found = verdicts(records, keeps, policy, minimum_redundancy=minimum, now=NOW)

    assert set(found) == set(records)
    for backup_id, record in records.items():
        word, root = found[backup_id].word, root_id(records, backup_id)
        if record.status is Status.FAILED and not record.doomed:
            assert word in {Word.NONE, Word.OBSOLETE}
        elif not record.is_done:
            assert word is Word.NONE
        elif record.is_incremental and root not in keeps and records[root].is_done:
            assert word is (Word.OBSOLETE if found[root].word is Word.VALID_ALONE else found[root].word)
        assert (word in KEPT) == (backup_id in keeps)


@given(catalogs(), POLICIES, st.integers(0, 4))
def test_what_retention_leaves_can_be_restored_with_all_wal_it_is_kept_for(catalog, policy, minimum):
    records, keeps = catalog
    found = verdicts(records, keeps, policy, minimum_redundancy=minimum, now=NOW)
    leaving = [records[deletion.backup_id] for deletion in plan_enforcement(records, keeps, found)]
    gone = {record.backup_id for record in leaving}
    left = {backup_id: record for backup_id, record in records.items() if backup_id not in gone}
    again = verdicts(left, keeps, policy, minimum_redundancy=minimum, now=NOW)
    needs = plan_needs_after(records, standing_alone(again, keeps), leaving, by_hand=False)
    names = [segment(number, timeline) for timeline in range(1, 12) for number in range(1, 60)]
    removed = set() if needs is None else set(plan_wal_removal(names, needs))

    for backup_id, record in left.items():
        if record.status is Status.FAILED or record.doomed:
            continue
        alone = again[backup_id].alone
        assert not alone or again[backup_id].word in {Word.VALID_ALONE, Word.KEEP_STANDALONE}
        needed = [name for name in names if record.begin_wal <= name and (not alone or name <= record.end_wal)]
        assert not removed.intersection(needed)


@given(catalogs(), RECOVERY, LONG_TERM, st.integers(0, 4))
def test_keeping_for_the_long_term_only_keeps_more_backups(catalog, recovery, beyond, minimum):
    records, keeps = catalog
    less = verdicts(records, keeps, recovery, minimum_redundancy=minimum, now=NOW)
    more = verdicts(records, keeps, Combined(recovery, beyond), minimum_redundancy=minimum, now=NOW)

    for backup_id in records:
        assert more[backup_id].word is less[backup_id].word or (less[backup_id].word, more[backup_id].word) == (
            Word.OBSOLETE,
            Word.VALID_ALONE,
        )


@given(catalogs(), st.data())
def test_no_wal_that_a_surviving_backup_needs_is_removed(catalog, data):
    records, keeps = catalog
    leaving = data.draw(st.none() | st.sampled_from(list(records.values())))
    names = [segment(number, timeline) for timeline in range(1, 12) for number in range(1, 60)]
    gone = set(plan_wal_removal(names, plan_needs(records, keeps, leaving=leaving)))

    for record in records.values():
        if record == leaving or record.doomed or record.status is Status.FAILED:
            continue
        alone = keeps.get(record.backup_id) is KeepTarget.STANDALONE
        needed = [name for name in names if record.begin_wal <= name and (not alone or name <= record.end_wal)]
        assert not gone.intersection(needed)


@given(catalogs(), st.integers(0, 4), st.data())
def test_deleting_by_hand_keeps_minimum_redundancy_and_whatever_is_kept(catalog, minimum, data):
    records, keeps = catalog
    wanted = data.draw(st.lists(st.sampled_from(sorted(records)), min_size=1, unique=True))
    try:
        plan = plan_deletion(records, wanted, keeps, minimum_redundancy=minimum)
    except Refused:
        assert not all(records[backup_id].doomed for backup_id in wanted)
        return
    gone = {deletion.backup_id for deletion in plan}
    left = {backup_id: one for backup_id, one in records.items() if backup_id not in gone}
    assert gone.issuperset(wanted)
    assert len(gone) == len(plan)
    doomed = [backup_id for backup_id in wanted if records[backup_id].doomed]
    lost = {one.backup_id for root in doomed for one in (records[root], *descendants(records, root))}
    assert not gone & set(keeps) - lost
    assert counted_redundancy(left) >= min(minimum, counted_redundancy(records))
    assert all(one.parent_backup_id not in gone for one in left.values())
