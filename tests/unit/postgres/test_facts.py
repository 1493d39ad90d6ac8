from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from barman.postgres.connection import _switch_result
from barman.postgres.facts import ArchiverStats, Setting, parse_synchronous_standby_names
from barman.postgres.queries import FACTS, REPLICATION_CLIENTS, SWITCH_WAL, for_version
from tests.support.facts import facts_of_a_primary

MIB = 1 << 20
NOW = datetime(2026, 11, 21, 6, tzinfo=timezone.utc)

FACTS_OF_A_PRIMARY = facts_of_a_primary(
    {"wal_segment_size": Setting("16777216", "B"), "config_file": "/pg/postgresql.conf"},
    system_identifier="7710492848542003314",
    timeline=2,
    current_lsn="0/5000000",
    redo_lsn="0/4000028",
    server_time=NOW,
    has_checkpoint_privileges=False,
    config_files=("/pg/postgresql.conf", "/pg/postgresql.auto.conf"),
)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ()),
        ("*", ("*",)),
        ("a, b", ("a", "b")),
        ("FIRST 2 (a, b)", ("a", "b")),
        ("any 1 (a,b)", ("a", "b")),
        ("2 (a)", ("a",)),
        ('"A b", c', ("A b", "c")),
        ('1 ("say ""x""", *)', ('say "x"', "*")),
    ],
)
def test_synchronous_standby_names_are_read_in_every_spelling(text, names):
    assert parse_synchronous_standby_names(text) == names


@pytest.mark.parametrize(
    ("setting", "size"),
    [(Setting("2048", "8kB"), 16 * MIB), (Setting("16777216", "B"), 16 * MIB), (Setting("1", "MB"), MIB)],
)
def test_sizes_are_counted_in_the_unit_of_the_setting(setting, size):
    assert setting.bytes == size


def test_what_the_role_may_not_see_is_none():
    facts = replace(FACTS_OF_A_PRIMARY, settings={}, config_files=())
    assert facts.data_directory is None
    assert facts.config_file is None
    assert facts.included_files == ()
    assert facts.segment_size == 16 * MIB


def test_included_files_are_all_but_the_main_one():
    assert FACTS_OF_A_PRIMARY.included_files == ("/pg/postgresql.auto.conf",)


def test_on_a_boundary_the_current_segment_is_the_one_just_filled():
    assert FACTS_OF_A_PRIMARY.current_wal_name == "000000020000000000000004"
    assert replace(FACTS_OF_A_PRIMARY, current_lsn="0/5000001").current_wal_name == "000000020000000000000005"


def test_a_standby_has_no_current_segment():
    assert replace(FACTS_OF_A_PRIMARY, in_recovery=True).current_wal_name is None
    assert replace(FACTS_OF_A_PRIMARY, current_lsn=None).current_wal_name is None


@pytest.mark.parametrize(
    ("archived", "failed", "archiving"),
    [(None, None, True), (1, None, True), (None, 1, False), (2, 1, True), (1, 2, False), (1, 1, True)],
)
def test_archiving_works_unless_the_last_attempt_failed(archived, failed, archiving):
    def at(seconds):
        return None if seconds is None else NOW + timedelta(seconds=seconds)

    stats = ArchiverStats(0, None, at(archived), 0, None, at(failed), None, None)
    assert stats.is_archiving is archiving


@pytest.mark.parametrize(
    ("before", "after", "closed"),
    [
        pytest.param("0/3000098", "0/30000B0", "000000010000000000000003", id="something was written"),
        pytest.param("0/3000000", "0/3000000", None, id="nothing was written since the last switch"),
        pytest.param("0/3000028", "0/3000000", None, id="the position lies behind the header of an empty segment"),
        pytest.param("0/3FFFFE8", "0/4000000", "000000010000000000000003", id="the record fills the segment"),
    ],
)
def test_a_switch_is_told_from_the_positions(before, after, closed):
    row = {"insert_lsn": before, "switch_lsn": after, "timeline": "00000001"}
    assert _switch_result(row, 16 * MIB).closed == closed


@pytest.mark.parametrize("version", [90600, 100000, 110000, 120000, 130000, 140000, 150000, 160000, 170000, 180000])
@pytest.mark.parametrize("template", [FACTS, SWITCH_WAL, REPLICATION_CLIENTS], ids=["facts", "switch", "clients"])
def test_every_query_is_there_for_every_version_in_its_own_words(template, version):
    query = for_version(template, version)
    assert "{" not in query
    assert ("xlog" in query or "_location" in query.replace("pg_tablespace_location", "")) is (version < 100000)
    assert "pg_backup_start" not in query or version >= 150000
