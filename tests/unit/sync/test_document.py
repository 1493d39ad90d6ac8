"""The JSON of sync-info: what is written is read again, and what is not understood is said."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest

from barman.catalog.record import BackupRecord, KeepTarget, Status, parse_record, render_record
from barman.catalog.xlog_lines import WalEntry
from barman.errors import CatalogError
from barman.postgres.facts import Tablespace
from barman.sync.document import Position, parse_answer, render_answer, with_keeps
from tests.support.catalogs import backup_id, label, segment

CONFIG = {"basebackups_directory": "/b", "wals_directory": "/w", "backup_directory": "/r", "name": "main"}
RECORD = BackupRecord(
    backup_id(1),
    backup_label='START WAL LOCATION: 0/9000028\nLABEL: it\'s "quoted"\n',
    backup_name="weekly",
    begin_time=datetime(2026, 11, 21, 5, 36, 18, 697350, tzinfo=timezone(timedelta(hours=1))),
    end_time=datetime(2026, 11, 21, 5, 36, 21, tzinfo=timezone.utc),
    begin_wal=segment(1),
    end_wal=segment(2),
    children_backup_ids=(backup_id(2), backup_id(3)),
    copy_stats={"copy_time": 0.5, "total_time": 1.5},
    included_files=("/etc/a.conf",),
    parent_backup_id=backup_id(0),
    size=123,
    status=Status.DONE,
    systemid="7710493415885742363",
    tablespaces=(Tablespace("one", 16386, "/srv/one"),),
    timeline=1,
    version=150018,
    xlog_segment_size=1 << 20,
)
WALS = (WalEntry(segment(1), 16, 1795239296.8242729, "gzip", "gpg"), WalEntry(label(1), 3, 1.5))


def _text(records=(RECORD,), **changes):
    text = render_answer(records, WALS, Position(label(1), 77), version="4.0", config=CONFIG)
    return json.dumps(json.loads(text) | changes)


def test_what_is_written_is_read_again():
    state = parse_answer(_text())
    assert state.backups == {RECORD.backup_id: RECORD}
    assert (state.wals, state.position, state.version) == (WALS, Position(label(1), 77), "4.0")
    assert (state.base, state.wal_directory, state.root, state.keeps) == ("/b", "/w", "/r", None)
    assert parse_record(render_record(state.backups[RECORD.backup_id]), RECORD.backup_id) == RECORD


def test_an_empty_server_is_understood():
    text = render_answer([], [], Position(), version="4.0", config=CONFIG)
    state = parse_answer(text)
    assert (state.backups, state.wals, state.position) == ({}, (), Position("", 0))


def test_keep_marks_are_added_and_read():
    keeps = {backup_id(1): KeepTarget.STANDALONE}
    assert parse_answer(with_keeps(_text(), keeps)).keeps == keeps
    assert parse_answer(with_keeps(_text(), None)).keeps is None


def test_a_greeting_and_an_empty_document_behind_do_no_harm():
    assert parse_answer(f"Welcome!\n{_text()}{{}}") == parse_answer(_text())


@pytest.mark.parametrize("hops", [0, 1, 3])
def test_a_label_that_was_encoded_at_every_hop_is_decoded(hops):
    document = json.loads(_text())
    one = document["backups"][RECORD.backup_id]
    for _ in range(hops):
        one["backup_label"] = repr(one["backup_label"])
    assert parse_answer(json.dumps(document)).backups[RECORD.backup_id].backup_label == RECORD.backup_label


def test_times_of_old_versions_are_local():
    document = json.loads(_text())
    one = document["backups"][RECORD.backup_id]
    del one["begin_time_iso"]
    one["begin_time"] = "Sat Nov 21 05:35:18 2026"
    read = parse_answer(json.dumps(document)).backups[RECORD.backup_id].begin_time
    assert read.replace(tzinfo=None) == datetime(2026, 11, 21, 5, 35, 18)  # noqa: DTZ001
    assert read.tzinfo is not None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("", "it is empty", id="empty"),
        pytest.param("Skipping inactive server 'main'", 'no JSON document: "Skipping', id="text"),
        pytest.param(_text()[:200], "its JSON is damaged", id="cut"),
        pytest.param(_text(backups=[]), "no JSON object", id="backups of another shape"),
        pytest.param(_text(wals=[{"name": segment(1)}]), "it has no 'size'", id="half a WAL"),
        pytest.param(_text(wals=[{"name": "../x", "size": 1, "time": 1}]), "no name of a WAL", id="no WAL name"),
        pytest.param(_text(last_position="far"), "cannot be understood", id="no position"),
        pytest.param(_text(config={}), "it has no 'basebackups_directory'", id="no directories"),
        pytest.param(_text(backups={"x": {}}), "'x' is no backup id", id="no id"),
        pytest.param(_text(backups={backup_id(1): {"status": "FAILED"}}), "in status FAILED", id="failed backup"),
        pytest.param(_text(backups={backup_id(1): {"status": "NEW"}}), "invalid value of status", id="unknown status"),
    ],
)
def test_what_is_not_understood_is_said(text, reason):
    with pytest.raises(CatalogError, match=reason):
        parse_answer(text)
