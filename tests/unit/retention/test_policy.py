"""Retention policies: every row of the documentation's table, and the odd cases."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from barman.catalog.record import BackupId, BackupRecord, KeepTarget, Status
from barman.errors import ConfigError
from barman.retention.policy import (
    Combined,
    LongTerm,
    Period,
    RecoveryWindow,
    Redundancy,
    Word,
    counted_redundancy,
    parse_policy,
    standing_alone,
    verdicts,
)
from barman.wal.needs import MISSING_WAL

NOW = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
FULL, STANDALONE = KeepTarget.FULL, KeepTarget.STANDALONE


def backup(age_days, status=Status.DONE, **fields):
    end = NOW - timedelta(days=age_days)
    backup_id = BackupId((end - timedelta(hours=1)).strftime("%Y%m%dT%H%M%S"))
    return BackupRecord(backup_id, status=status, end_time=end, mode="postgres", **fields)


def words(policy, backups, keeps=None, minimum=0):
    records = {record.backup_id: record for record in backups}
    marks = {backups[index].backup_id: target for index, target in (keeps or {}).items()}
    found = verdicts(
        records, marks, parse_policy(policy) if policy else None, minimum_redundancy=minimum, now=NOW
    )  # fmt: skip
    return " ".join(found[record.backup_id].word.value for record in backups)


@pytest.mark.parametrize(
    ("text", "policy", "shown"),
    [
        ("REDUNDANCY 2", Redundancy(2), "REDUNDANCY 2"),
        ("  redundancy   0 ", Redundancy(0), "REDUNDANCY 0"),
        ("RECOVERY WINDOW OF 7 DAYS", RecoveryWindow(7, "DAY"), "RECOVERY WINDOW OF 7 DAYS"),
        ("recovery  window of 1 week", RecoveryWindow(1, "WEEK"), "RECOVERY WINDOW OF 1 WEEKS"),
        ("Recovery Window Of 3 Months", RecoveryWindow(3, "MONTH"), "RECOVERY WINDOW OF 3 MONTHS"),
        (
            "recovery window of 7 days;keep  12 monthly , 7 Daily",
            Combined(RecoveryWindow(7, "DAY"), LongTerm(((Period.DAILY, 7), (Period.MONTHLY, 12)))),
            "RECOVERY WINDOW OF 7 DAYS; KEEP 7 DAILY, 12 MONTHLY",
        ),
        (
            "REDUNDANCY 3; KEEP 5 YEARLY",
            Combined(Redundancy(3), LongTerm(((Period.YEARLY, 5),))),
            "REDUNDANCY 3; KEEP 5 YEARLY",
        ),
    ],
)
def test_policies_are_understood_and_shown(text, policy, shown):
    assert parse_policy(text) == policy
    assert str(policy) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "REDUNDANCY",
        "REDUNDANCY -1",
        "REDUNDANCY two",
        "RECOVERY WINDOW OF 5 HOURS",
        "REDUNDANCY 2 DAYS",
        "REDUNDANCY 2;",
        "KEEP 7 DAILY",
        "KEEP 7 DAILY; REDUNDANCY 2",
        "REDUNDANCY 2; KEEP",
        "REDUNDANCY 2; KEEP 7",
        "REDUNDANCY 2; KEEP 7 HOURLY",
        "REDUNDANCY 2; KEEP 7 DAILY, 8 DAILY",
        "REDUNDANCY 2; KEEP 7 DAILY 4 WEEKLY",
        "REDUNDANCY 2; KEEP 7 DAILY; KEEP 4 WEEKLY",
        "REDUNDANCY 2; RECOVERY WINDOW OF 5 DAYS",
    ],
)
def test_anything_else_is_an_error_with_a_hint(text):
    with pytest.raises(ConfigError, match="invalid retention policy") as caught:
        parse_policy(text)
    assert "REDUNDANCY n" in (caught.value.hint or "")


@pytest.mark.parametrize(("unit", "days"), [("DAYS", 2), ("WEEKS", 14), ("MONTHS", 62)])
def test_a_month_has_31_days(unit, days):
    assert parse_policy(f"RECOVERY WINDOW OF 2 {unit}").length == timedelta(days=days)


@pytest.mark.parametrize(
    ("policy", "ages", "minimum", "keeps", "expected"),
    [
        ("REDUNDANCY 2", [1, 3, 5, 7], 0, {}, "VALID VALID OBSOLETE OBSOLETE"),
        ("REDUNDANCY 2", [1, 3, 5, 7], 3, {}, "VALID VALID VALID OBSOLETE"),
        ("REDUNDANCY 2", [1, 3, 5, 7], 0, {1: FULL, 3: STANDALONE}, "VALID KEEP:FULL OBSOLETE KEEP:STANDALONE"),
        ("REDUNDANCY 0", [1, 3], 0, {}, "OBSOLETE OBSOLETE"),
        ("RECOVERY WINDOW OF 7 DAYS", [1, 3, 6, 8, 10, 14], 0, {}, "VALID VALID VALID VALID OBSOLETE OBSOLETE"),
        ("RECOVERY WINDOW OF 7 DAYS", [8, 10, 14], 2, {}, "VALID OBSOLETE* OBSOLETE"),
        ("RECOVERY WINDOW OF 7 DAYS", [1, 10, 14], 4, {}, "VALID VALID OBSOLETE*"),
        ("RECOVERY WINDOW OF 7 DAYS", [8, 10, 14], 3, {1: FULL}, "VALID KEEP:FULL OBSOLETE*"),
        ("RECOVERY WINDOW OF 7 DAYS", [8, 10, 14], 2, {1: FULL}, "VALID KEEP:FULL OBSOLETE"),
        (
            "RECOVERY WINDOW OF 7 DAYS",
            [1, 6, 8, 10, 14],
            0,
            {0: FULL, 3: STANDALONE, 4: FULL},
            "KEEP:FULL VALID VALID KEEP:STANDALONE KEEP:FULL",
        ),
        ("RECOVERY WINDOW OF 99999999 MONTHS", [1, 9000], 0, {}, "VALID VALID"),
        ("RECOVERY WINDOW OF 99999999999999999999 DAYS", [1, 9000], 0, {}, "VALID VALID"),
        ("RECOVERY WINDOW OF 0 DAYS", [1, 2], 0, {}, "VALID OBSOLETE"),
        (None, [1, 2], 0, {0: FULL}, "- -"),
    ],
)
def test_the_table_of_the_documentation(policy, ages, minimum, keeps, expected):
    assert words(policy, [backup(age) for age in ages], keeps, minimum) == expected


def test_only_done_backups_count():
    backups = [backup(1, Status.FAILED), backup(3, Status.WAITING_FOR_WALS), backup(5), backup(7)]

    assert words("REDUNDANCY 2", backups) == "- - VALID VALID"


def test_a_backup_being_deleted_takes_no_place_of_another():
    assert words("REDUNDANCY 1", [backup(1, doomed=True), backup(3), backup(5)]) == "- VALID OBSOLETE"


def test_a_damaged_record_is_not_judged():
    assert words("REDUNDANCY 1", [backup(1, Status.EMPTY, damage="torn"), backup(3)]) == "- VALID"


def test_a_done_backup_that_does_not_know_its_end_does_not_end_the_window():
    unknown = BackupRecord(BackupId("20261101T000000"), status=Status.DONE)

    assert words("RECOVERY WINDOW OF 7 DAYS", [unknown, backup(30), backup(40)]) == "VALID VALID OBSOLETE"


def chain_of(root_age, **fields):
    root = backup(root_age)
    child = backup(root_age - 0.25, parent_backup_id=root.backup_id)
    grandchild = backup(root_age - 0.5, **{"parent_backup_id": child.backup_id, **fields})
    return [grandchild, child, root]


@pytest.mark.parametrize(
    ("policy", "minimum", "keep", "expected"),
    [
        pytest.param("REDUNDANCY 1", 0, None, "OBSOLETE OBSOLETE OBSOLETE", id="obsolete with its root"),
        pytest.param("REDUNDANCY 2", 0, None, "VALID VALID VALID", id="valid with its root"),
        pytest.param("REDUNDANCY 1", 0, FULL, "VALID VALID KEEP:FULL", id="root kept with all WAL"),
        pytest.param("REDUNDANCY 1", 0, STANDALONE, "OBSOLETE OBSOLETE KEEP:STANDALONE", id="root kept for itself"),
        pytest.param("REDUNDANCY 2", 0, STANDALONE, "VALID VALID KEEP:STANDALONE", id="kept but inside the policy"),
        pytest.param(
            "RECOVERY WINDOW OF 1 DAYS", 3, None, "OBSOLETE* OBSOLETE* OBSOLETE*", id="only minimum redundancy holds it"
        ),
    ],
)
def test_incrementals_follow_their_root(policy, minimum, keep, expected):
    backups = [*chain_of(10), backup(3)]

    found = words(policy, backups, {2: keep} if keep else {}, minimum)

    assert found == f"{expected} VALID"


def test_an_incremental_that_is_not_done_is_not_judged():
    assert words("REDUNDANCY 1", chain_of(5, status=Status.WAITING_FOR_WALS)) == "- VALID VALID"


def test_an_incremental_whose_root_is_gone_is_not_judged():
    orphan = backup(3, parent_backup_id=BackupId("20200101T000000"))
    child = backup(2, parent_backup_id=orphan.backup_id)

    assert words("REDUNDANCY 1", [child, orphan]) == "- -"


def test_verdicts_say_why():
    backups = [backup(1), backup(3)]
    records = {record.backup_id: record for record in backups}

    found = verdicts(records, {}, Redundancy(1), minimum_redundancy=0, now=NOW)

    assert [found[record.backup_id].reason for record in backups] == ["among the newest 1", "not among the newest 1"]
    raised = verdicts(records, {}, Redundancy(1), minimum_redundancy=2, now=NOW)
    assert "raised to the minimum redundancy" in raised[backups[0].backup_id].reason


@pytest.mark.parametrize(
    ("policy", "minimum", "stays"),
    [
        ("REDUNDANCY 1", 0, STANDALONE),
        ("REDUNDANCY 2", 0, FULL),
        ("REDUNDANCY 1", 2, FULL),
        ("RECOVERY WINDOW OF 7 DAYS", 0, FULL),
        ("RECOVERY WINDOW OF 7 DAYS", 3, FULL),
        ("RECOVERY WINDOW OF 1 DAYS", 0, STANDALONE),
        ("RECOVERY WINDOW OF 1 DAYS; KEEP 9 DAILY", 0, STANDALONE),
        (None, 0, FULL),
    ],
)
def test_a_standalone_backup_keeps_the_wal_behind_it_while_the_policy_wants_it_anyway(policy, minimum, stays):
    new, marked, old = backup(2), backup(8), backup(14)
    records = {record.backup_id: record for record in (new, marked, old)}
    marks = {marked.backup_id: STANDALONE}
    parsed = parse_policy(policy) if policy else None
    found = verdicts(records, marks, parsed, minimum_redundancy=minimum, now=NOW)

    assert standing_alone(found, marks)[marked.backup_id] is stays
    assert found[marked.backup_id].word is (Word.KEEP_STANDALONE if policy else Word.NONE)
    if policy:
        assert ("with its own WAL only" in found[marked.backup_id].reason) == (stays is STANDALONE)


def test_redundancy_counts_what_can_be_restored_by_itself():
    backups = [*chain_of(5), backup(1, Status.FAILED), backup(2, doomed=True), backup(3)]

    assert counted_redundancy({record.backup_id: record for record in backups}) == 2


def test_words_are_those_scripts_know():
    known = {"VALID", "OBSOLETE", "OBSOLETE*", "KEEP:FULL", "KEEP:STANDALONE", "-"}
    assert {word.value for word in Word} == {*known, "VALID:STANDALONE"}


def test_what_is_left_of_failed_backups_goes_when_it_is_older_than_all_that_is_needed():
    late = backup(9, Status.FAILED, error=f"{MISSING_WAL}0000000100000000000000A1")
    failed = {age: backup(age, Status.FAILED) for age in (0, 2, 4, 6)}
    done = {age: backup(age) for age in (1, 3, 5)}
    kinds = {**failed, **done, 7: backup(7, Status.STARTED), 8: backup(8, doomed=True), 9: late}
    backups = [kinds[age] for age in range(10)]
    expected = "- VALID - VALID OBSOLETE KEEP:FULL OBSOLETE - - -"
    assert words("REDUNDANCY 2", backups, {5: FULL}) == expected
    assert words("REDUNDANCY 2", [backup(4, Status.FAILED)]) == "-"


def test_a_failed_backup_on_which_another_is_based_stays_with_it():
    parent, broken = backup(5, Status.FAILED), backup(9, Status.FAILED)
    child = backup(4, Status.WAITING_FOR_WALS, parent_backup_id=parent.backup_id)
    failed_child = backup(8, Status.FAILED, parent_backup_id=broken.backup_id)
    assert words("REDUNDANCY 1", [backup(1), child, parent, failed_child, broken]) == "VALID - - OBSOLETE OBSOLETE"


def test_a_failed_backup_goes_with_what_is_based_on_it_when_that_is_obsolete():
    root = backup(20)
    broken = backup(19, Status.FAILED, parent_backup_id=root.backup_id)
    child = backup(18, parent_backup_id=broken.backup_id)
    backups = [backup(1), child, broken, root]
    assert words("REDUNDANCY 1; KEEP 3 WEEKLY", backups) == "VALID OBSOLETE OBSOLETE VALID:STANDALONE"
    assert words("REDUNDANCY 2", backups) == "VALID VALID - VALID"


# For the long term. The backups of backup() begin at 11:00: these ages are of 21, 20, 19, 18, 8 and 1 November, and of
# 31, 30 and 1 October.

AGES = (0, 1, 2, 3, 13, 20, 21, 22, 51)


@pytest.mark.parametrize(
    ("policy", "keeps", "expected"),
    [
        ("REDUNDANCY 1; KEEP 3 DAILY", {}, "VALID ALONE ALONE OBSOLETE OBSOLETE OBSOLETE OBSOLETE OBSOLETE OBSOLETE"),
        ("REDUNDANCY 1; KEEP 3 WEEKLY", {}, "VALID OBSOLETE OBSOLETE OBSOLETE ALONE ALONE OBSOLETE OBSOLETE OBSOLETE"),
        ("REDUNDANCY 1; KEEP 9 MONTHLY", {}, "VALID" + " OBSOLETE" * 5 + " ALONE OBSOLETE OBSOLETE"),
        ("REDUNDANCY 1; KEEP 0 DAILY, 2 YEARLY", {}, "VALID" + " OBSOLETE" * 8),
        ("RECOVERY WINDOW OF 2 DAYS; KEEP 4 DAILY, 2 MONTHLY", {},
         "VALID VALID VALID VALID OBSOLETE OBSOLETE ALONE OBSOLETE OBSOLETE"),
        ("REDUNDANCY 1; KEEP 2 MONTHLY", {6: FULL, 0: STANDALONE},
         "KEEP:STANDALONE OBSOLETE OBSOLETE OBSOLETE OBSOLETE OBSOLETE KEEP:FULL OBSOLETE OBSOLETE"),
    ],
)  # fmt: skip
def test_the_last_backup_of_each_period_stays_alone(policy, keeps, expected):
    found = words(policy, [backup(age) for age in AGES], keeps)
    assert found.replace("VALID:STANDALONE", "ALONE") == expected


def test_two_backups_of_a_day_are_one_of_its_days():
    backups = [backup(0), backup(1), backup(1.1), backup(2)]
    assert words("REDUNDANCY 1; KEEP 3 DAILY", backups) == "VALID VALID:STANDALONE OBSOLETE VALID:STANDALONE"


def test_what_minimum_redundancy_asks_for_keeps_all_its_wal():
    backups = [backup(age) for age in (8, 10, 14)]
    expected = "VALID OBSOLETE* VALID:STANDALONE"
    assert words("RECOVERY WINDOW OF 7 DAYS; KEEP 9 DAILY", backups, minimum=2) == expected


def test_incrementals_of_a_backup_that_stays_alone_go():
    root = backup(9)
    child = backup(8, parent_backup_id=root.backup_id)
    expected = "VALID OBSOLETE VALID:STANDALONE"
    assert words("REDUNDANCY 1; KEEP 9 DAILY", [backup(0), child, root]) == expected


def test_backups_that_stay_alone_count_as_kept_with_their_own_wal():
    new, old, marked = backup(0), backup(40), backup(80)
    records = {record.backup_id: record for record in (new, old, marked)}
    marks = {marked.backup_id: FULL}
    policy = parse_policy("REDUNDANCY 1; KEEP 2 MONTHLY")
    found = verdicts(records, marks, policy, minimum_redundancy=0, now=NOW)

    assert found[old.backup_id].reason == "the last of 2026-10, which is number 2 of 2 MONTHLY"
    assert standing_alone(found, marks) == {marked.backup_id: FULL, old.backup_id: STANDALONE}
