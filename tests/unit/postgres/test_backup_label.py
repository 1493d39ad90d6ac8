from __future__ import annotations

import pytest

from barman.errors import WalError
from barman.postgres.backup_label import parse_backup_label

LABEL = """\
START WAL LOCATION: 0/9000028 (file 000000020000000000000009)
CHECKPOINT LOCATION: 0/9000060
BACKUP METHOD: streamed
BACKUP FROM: standby
START TIME: 2026-11-21 05:36:18 UTC
LABEL: pg_basebackup base backup: nightly
START TIMELINE: 2
"""


def test_a_label_is_read():
    label = parse_backup_label(LABEL)
    assert (label.start_lsn, label.start_wal, label.timeline) == ("0/9000028", "000000020000000000000009", 2)
    assert label.label == "pg_basebackup base backup: nightly"
    assert label.start_time == "2026-11-21 05:36:18 UTC"
    assert (label.method, label.from_standby) == ("streamed", True)
    assert label.incremental_from_lsn is None


def test_before_11_the_timeline_is_told_by_the_file_name():
    assert parse_backup_label(LABEL.replace("START TIMELINE: 2\n", "")).timeline == 2


def test_an_incremental_backup_names_the_start_of_its_parent():
    assert parse_backup_label(f"{LABEL}INCREMENTAL FROM LSN: 0/5000028\n").incremental_from_lsn == "0/5000028"


@pytest.mark.parametrize(
    "text", ["", "LABEL: x\n", "START WAL LOCATION: 0/9000028\n", "START WAL LOCATION: x (file y)"]
)
def test_a_label_without_a_start_is_refused(text):
    with pytest.raises(WalError, match="START WAL LOCATION"):
        parse_backup_label(text)
