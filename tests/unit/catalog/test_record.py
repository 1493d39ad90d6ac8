"""backup.info: the samples of the reference, every older form, and what cannot be read."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from barman.catalog.record import (
    BackupId,
    BackupRecord,
    BackupType,
    Status,
    parse_record,
    record_to_json,
    render_record,
)
from barman.errors import CatalogError
from barman.postgres.facts import Tablespace

RSYNC = r"""backup_label='START WAL LOCATION: 0/9000028 (file 000000010000000000000009)\nSTART TIMELINE: 1\n'
backup_name=second
begin_offset=40
begin_time=2026-11-21 05:36:18.697350+00:00
begin_wal=000000010000000000000009
begin_xlog=0/9000028
children_backup_ids=None
cluster_size=29301293
compression=None
config_file=/srv/pg15/postgresql.conf
copy_stats={'total_time': 2.902585, 'number_of_workers': 3, 'analysis_time_per_item': {'tbs1': 0.543468}}
data_checksums=on
deduplicated_size=2220272
encryption=None
end_offset=256
end_time=2026-11-21 05:36:21.646938+00:00
end_wal=000000010000000000000009
end_xlog=0/9000100
error=None
hba_file=/srv/pg15/pg_hba.conf
ident_file=/srv/pg15/pg_ident.conf
included_files=None
mode=rsync-concurrent
parent_backup_id=None
pgdata=/srv/pg15
server_name=rs
size=28981044
status=DONE
summarize_wal=None
systemid=7710493415885742363
tablespaces=[('tbs1', 16386, '/srv/ts/ts1')]
timeline=1
version=150018
xlog_segment_size=16777216
"""


def test_a_record_of_the_reference_is_read_and_written_unchanged():
    record = parse_record(RSYNC, "20261121T053618")

    assert record.backup_name == "second"
    assert record.begin_time == datetime(2026, 11, 21, 5, 36, 18, 697350, tzinfo=timezone.utc)
    assert record.tablespaces == (Tablespace("tbs1", 16386, "/srv/ts/ts1"),)
    assert record.status is Status.DONE
    assert record.type is BackupType.RSYNC
    assert render_record(record) == RSYNC


def test_a_new_record_has_every_key_in_order_and_omits_the_two_optional_ones():
    lines = render_record(BackupRecord(BackupId("20261121T053618"))).splitlines()

    assert lines == sorted(lines)
    assert len(lines) == 33
    assert not any(line.startswith(("backup_name", "snapshots_info")) for line in lines)
    assert "status=EMPTY" in lines
    assert "xlog_segment_size=16777216" in lines


def test_missing_keys_take_their_defaults():
    record = parse_record("status=DONE\n", "20261121T053618")

    assert record == BackupRecord(BackupId("20261121T053618"), status=Status.DONE)


def test_comments_blank_lines_and_white_space_are_passed_over():
    record = parse_record("# by hand\n\n  status = DONE \ntimeline=2", "20261121T053618")

    assert (record.status, record.timeline) == (Status.DONE, 2)


def test_an_unknown_key_is_kept_and_written_again():
    record = parse_record("status=DONE\nfuture_key=some = text\n", "20261121T053618")

    assert record.extra == {"future_key": "some = text"}
    assert "future_key=some = text\n" in render_record(record)


def test_a_time_without_a_zone_is_local_time(monkeypatch):
    record = parse_record("begin_time=2026-11-21 05:36:18\n", "20261121T053618")

    assert record.begin_time is not None
    assert record.begin_time == datetime(2026, 11, 21, 5, 36, 18).astimezone()


def test_the_zone_of_a_time_is_kept():
    text = "begin_time=2026-11-21 05:36:18.697350+05:30"
    record = parse_record(text, "20261121T053618")

    assert record.begin_time is not None
    assert record.begin_time.utcoffset() == timedelta(hours=5, minutes=30)
    assert text in render_record(record)


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_a_label_encoded_again_by_passive_nodes_is_decoded(hops):
    label = text = "START WAL LOCATION: 0/9000028 (file 000000010000000000000009)\n"
    for _ in range(hops):
        text = repr(text)

    assert parse_record(f"backup_label={text}\n", "20261121T053618").backup_label == label


@pytest.mark.parametrize(
    ("text", "children"),
    [
        pytest.param("20261121T053805", ("20261121T053805",), id="one"),
        pytest.param("20261121T053805,20261121T053809", ("20261121T053805", "20261121T053809"), id="two"),
        pytest.param("2,0,2,6,1,1,2,1,T,0,5,3,8,0,3", ("20261121T053803",), id="characters of a passive node"),
        pytest.param(
            ",".join("20261121T053803,20261121T053805"),
            ("20261121T053803", "20261121T053805"),
            id="characters of two ids",
        ),
    ],
)
def test_children_are_read_in_every_form(text, children):
    assert parse_record(f"children_backup_ids={text}\n", "20261121T053618").children_backup_ids == children


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("status DONE", id="line without ="),
        pytest.param("status=FINE", id="unknown status"),
        pytest.param("timeline=one", id="number"),
        pytest.param("begin_time=yesterday", id="time"),
        pytest.param("tablespaces=[('a', 1)]", id="tablespace with two parts"),
        pytest.param("tablespaces=3", id="tablespaces no list"),
        pytest.param("copy_stats=[1]", id="statistics no mapping"),
        pytest.param("included_files={}", id="paths no list"),
        pytest.param("backup_label=START", id="label no literal"),
        pytest.param("backup_label=17", id="label no text"),
        pytest.param("children_backup_ids=x", id="children no ids"),
        pytest.param("copy_stats=__import__('os').system('true')", id="code"),
    ],
)
def test_what_cannot_be_understood_is_an_error_that_names_the_backup(text):
    with pytest.raises(CatalogError, match="20261121T053618"):
        parse_record(text, "20261121T053618")


@pytest.mark.parametrize(
    ("mode", "parent", "expected", "letter_full"),
    [
        ("postgres", None, BackupType.FULL, True),
        ("postgres", "20261121T053618", BackupType.INCREMENTAL, False),
        ("passive", "20261121T053618", BackupType.INCREMENTAL, False),
        ("rsync-exclusive", None, BackupType.RSYNC, True),
        ("snapshot-concurrent", None, BackupType.SNAPSHOT, False),
        ("local-to-cloud-concurrent", None, BackupType.FULL, True),
        (None, None, BackupType.FULL, True),
    ],
)
def test_the_type_is_derived_from_mode_and_parent(mode, parent, expected, letter_full):
    record = BackupRecord(BackupId("20261121T053619"), mode=mode, parent_backup_id=parent)

    assert record.type is expected
    assert record.is_full is letter_full


def test_a_doomed_backup_is_neither_complete_nor_done():
    record = BackupRecord(BackupId("20261121T053619"), status=Status.DONE, doomed=True)

    assert not record.is_copy_done
    assert not record.is_done


@pytest.mark.parametrize(
    ("fields", "ratio"),
    [
        ({"mode": "rsync-concurrent", "size": 1000, "deduplicated_size": 100}, 0.9),
        ({"mode": "postgres", "cluster_size": 1000, "size": 200, "deduplicated_size": 200}, 0.8),
        ({"mode": "postgres", "size": 200, "deduplicated_size": 200}, 0.0),
        ({"mode": "postgres", "cluster_size": 1000}, 0.0),
    ],
)
def test_the_deduplication_ratio_compares_with_what_a_full_copy_takes(fields, ratio):
    assert BackupRecord(BackupId("20261121T053619"), **fields).deduplication_ratio == pytest.approx(ratio)


def test_json_has_the_shape_of_the_reference():
    record = parse_record(RSYNC.replace("children_backup_ids=None", "children_backup_ids=20261121T053805"), "x")
    data = record_to_json(record)

    assert data["backup_id"] == "x"
    assert data["backup_label"].startswith("'START WAL LOCATION")
    assert data["backup_label"].endswith(r"\n'")
    assert data["begin_time"] == "Sat Nov 21 05:36:18 2026"
    assert data["tablespaces"] == [["tbs1", 16386, "/srv/ts/ts1"]]
    assert data["children_backup_ids"] == "20261121T053805"
    assert data["status"] == "DONE"
    assert data["compression"] is None
    assert "snapshots_info" not in data
    assert record_to_json(record, iso_times=True)["begin_time"] == "2026-11-21T05:36:18.697350+00:00"


def test_json_of_an_empty_record_has_nulls():
    data = record_to_json(BackupRecord(BackupId("x"), included_files=("/etc/a.conf",)))

    assert data["children_backup_ids"] is None
    assert data["backup_label"] is None
    assert data["included_files"] == ["/etc/a.conf"]
    assert "backup_name" not in data


def test_a_text_with_line_breaks_is_written_on_one_line():
    text = render_record(BackupRecord(BackupId("x"), error="no space\nleft"))

    assert "error=no space left\n" in text
