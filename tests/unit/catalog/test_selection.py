"""Which backup a word means."""

from __future__ import annotations

import pytest

from barman.catalog.record import BackupId, BackupRecord, Status
from barman.catalog.selection import latest, next_backup, previous_backup, resolve
from barman.errors import Refused, UnknownBackup


def record(number, status=Status.DONE, **fields):
    return BackupRecord(BackupId(f"20261101T00000{number}"), status=status, **fields)


RECORDS = {
    one.backup_id: one
    for one in (
        record(0, Status.FAILED),
        record(1, mode="postgres", backup_name="weekly"),
        record(2, Status.FAILED),
        record(3, Status.WAITING_FOR_WALS, mode="postgres", backup_name="twice"),
        record(4, mode="postgres", parent_backup_id="20261101T000003", backup_name="twice"),
        record(5, mode="snapshot-concurrent", backup_name="disk"),
        record(6, doomed=True, backup_name="gone"),
        record(7, Status.STARTED),
        record(8, Status.EMPTY),
    )
}


@pytest.mark.parametrize(
    ("word", "number"),
    [
        ("latest", 5), ("last", 5), ("oldest", 1), ("first", 1), ("latest-full", 3), ("last-full", 3),
        ("last-failed", 2), ("20261101T000007", 7), ("20261101T000006", 6), ("weekly", 1), ("disk", 5),
    ],
)  # fmt: skip
def test_words_ids_and_names_mean_a_backup(word, number):
    assert resolve(RECORDS, word, server="main").backup_id == f"20261101T00000{number}"


@pytest.mark.parametrize("word", ["20261101T000009", "monthly", "failed", "l", "gone", "auto", ""])
def test_anything_else_is_unknown(word):
    with pytest.raises(UnknownBackup, match="main"):
        resolve(RECORDS, word, server="main")


@pytest.mark.parametrize("word", ["latest", "oldest", "latest-full", "last-failed"])
def test_without_backups_every_word_is_unknown(word):
    with pytest.raises(UnknownBackup):
        resolve({}, word, server="main")


def test_an_ambiguous_name_is_refused_and_the_ids_are_told():
    with pytest.raises(Refused, match="20261101T000003, 20261101T000004"):
        resolve(RECORDS, "twice", server="main")


def test_neighbours_are_complete_backups():
    assert previous_backup(RECORDS, "20261101T000003").backup_id == "20261101T000001"
    assert previous_backup(RECORDS, "20261101T000001") is None
    assert next_backup(RECORDS, "20261101T000001").backup_id == "20261101T000003"
    assert next_backup(RECORDS, "20261101T000005") is None
    assert next_backup(RECORDS, "20261001T000000").backup_id == "20261101T000001"
    assert latest(RECORDS).backup_id == "20261101T000005"
    assert latest({}) is None
