"""Which backup can be the parent of which."""

from __future__ import annotations

import pytest

from barman.backup.incremental import checksum_warning, require_parent, require_server_can
from barman.catalog.record import BackupId, BackupRecord, Status
from barman.errors import Refused
from tests.support.facts import facts_of_a_primary


def _backup(backup_id="20260101T000000", **fields):
    good = {"status": Status.DONE, "mode": "postgres", "summarize_wal": "on"}
    return BackupRecord(backup_id=BackupId(backup_id), **{**good, **fields})


def _facts(version_num, summarize_wal=None):
    settings = {} if summarize_wal is None else {"summarize_wal": summarize_wal}
    return facts_of_a_primary(settings, version_num=version_num)


@pytest.mark.parametrize("status", [Status.DONE, Status.WAITING_FOR_WALS])
def test_a_complete_backup_with_a_manifest_can_be_a_parent(status):
    require_parent(_backup(status=status), has_manifest=True)


def test_an_incremental_backup_can_be_a_parent():
    require_parent(_backup(parent_backup_id=BackupId("20251231T000000")), has_manifest=True)


@pytest.mark.parametrize(
    ("fields", "has_manifest", "reason"),
    [
        pytest.param({"status": Status.FAILED}, True, "its status is FAILED", id="failed"),
        pytest.param({"status": Status.STARTED}, True, "its status is STARTED", id="running"),
        pytest.param({"status": Status.EMPTY}, True, "its status is EMPTY", id="empty"),
        pytest.param({"doomed": True}, True, "being deleted", id="being deleted"),
        pytest.param({"mode": "rsync-concurrent"}, True, "not taken with backup_method = postgres", id="rsync"),
        pytest.param({"summarize_wal": "off"}, True, "summarize_wal was not on", id="summaries off"),
        pytest.param({"summarize_wal": None}, True, "summarize_wal was not on", id="older server"),
        pytest.param({}, False, "backup_manifest is missing", id="no manifest"),
    ],
)
def test_an_unfit_parent_is_refused_with_the_reason(fields, has_manifest, reason):
    with pytest.raises(Refused, match=reason) as refusal:
        require_parent(_backup(**fields), has_manifest=has_manifest)
    assert "20260101T000000" in refusal.value.message


def test_postgresql_17_that_summarizes_wal_can():
    require_server_can(_facts(170000, "on"))


@pytest.mark.parametrize(
    ("version_num", "summarize_wal", "reason"),
    [(160014, None, "require PostgreSQL 17 or later, and the server is 16.14"), (180004, "off", "summarize_wal = on")],
    ids=["too old", "not summarizing"],
)
def test_a_server_that_cannot_is_refused_with_the_reason(version_num, summarize_wal, reason):
    with pytest.raises(Refused, match=reason):
        require_server_can(_facts(version_num, summarize_wal))


@pytest.mark.parametrize(
    ("own", "ancestors", "warns"),
    [
        ("on", ["on", "on"], False),
        ("on", ["off", "on"], True),
        ("off", ["on"], False),
        ("off", ["off"], False),
        ("on", [None], False),
        ("on", [], False),
    ],
)
def test_a_chain_that_gained_checksums_on_the_way_is_warned_about(own, ancestors, warns):
    chain = [_backup(f"2026010{number}T000000", data_checksums=value) for number, value in enumerate(ancestors, 1)]
    warning = checksum_warning(_backup("20260109T000000", data_checksums=own), chain)
    assert (warning is not None) == warns
    assert warning is None or "20260101T000000" in warning
