"""What an operator is told before a backup that can be taken."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from barman.backup.prepare import find_warnings
from barman.backup.request import BackupRequest
from tests.support.settings import server_settings

FACTS = {
    "in_recovery": False,
    "data_checksums": "on",
    "data_directory": "/pg",
    "config_file": "/etc/pg/postgresql.conf",
    "hba_file": "/etc/pg/pg_hba.conf",
    "ident_file": None,
    "included_files": ("/pg/postgresql.auto.conf", "/etc/pg/conf.d/more.conf"),
}


def _warnings(*, fails=False, options=None, **facts):
    request = BackupRequest(fail_on_checksum=fails)
    return find_warnings("main", server_settings(**(options or {})), SimpleNamespace(**(FACTS | facts)), request)


@pytest.mark.parametrize(
    ("method", "left_out"),
    [
        ("rsync", "/etc/pg/conf.d/more.conf"),
        ("postgres", "/etc/pg/postgresql.conf, /etc/pg/pg_hba.conf, /etc/pg/conf.d/more.conf"),
    ],
)
def test_configuration_files_that_are_not_copied(method, left_out):
    [warning] = _warnings(options={"backup_method": method})
    assert warning.endswith(f"see that they are backed up: {left_out}")
    silent = {"backup_method": method, "backup_options": "concurrent_backup,external_configuration"}
    assert _warnings(options=silent) == []


def test_that_nobody_can_see_damaged_pages():
    assert _warnings(fails=True, included_files=(), options={"backup_method": "rsync"}) == []
    [warning] = _warnings(fails=True, included_files=(), options={"backup_method": "rsync"}, data_checksums="off")
    assert warning == "server main has no page checksums: damaged pages will not be noticed"
