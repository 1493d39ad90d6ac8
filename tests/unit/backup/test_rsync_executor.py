"""What forbids a copy of files before anything is written."""

from __future__ import annotations

import os
import shutil
import sys
from types import SimpleNamespace

import pytest

from barman.backup.executors.rsync import RsyncExecutor
from barman.errors import CommandError, ConfigError, Refused
from barman.host.ssh import Logins, parse_ssh_command
from tests.support.settings import server_settings

# As another host, reached by something else than ssh.
_ELSEWHERE = '#!/bin/sh\nshift\nwhile [ "${1#-}" != "$1" ]; do shift 2; done\nshift\nexec "$@"\n'


def _executor(pgdata, *, version_num=150000, in_recovery=False, logins=None, **options):
    facts = SimpleNamespace(
        version_num=version_num, in_recovery=in_recovery, data_directory=pgdata, system_identifier="7000"
    )
    settings = server_settings(**{"backup_method": "local-rsync", **options})
    server = SimpleNamespace(name="main", environment=lambda: dict(os.environ))
    return RsyncExecutor(SimpleNamespace(server=server, settings=settings, facts=facts, logins=logins))


def _cluster(directory, identifier):
    (directory / "global").mkdir()
    (directory / "global" / "pg_control").write_bytes(identifier.to_bytes(8, sys.byteorder) + bytes(100))
    (directory / "PG_VERSION").write_text("15\n")
    return str(directory)


def test_the_files_of_the_cluster_we_talk_to_are_fine(tmp_path):
    _executor(_cluster(tmp_path, 7000)).require_possible()


def test_the_files_of_another_cluster_are_refused(tmp_path):
    with pytest.raises(Refused, match=r"is of another cluster .* \(system identifiers 7001 and 7000\)"):
        _executor(_cluster(tmp_path, 7001)).require_possible()


@pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")
def test_the_files_of_another_cluster_on_another_host_are_refused(tmp_path):
    way = tmp_path / "way"
    way.write_text(_ELSEWHERE)
    way.chmod(0o755)
    (tmp_path / "pg").mkdir()
    options = {"backup_method": "rsync", "ssh_command": f"{way} db1"}
    with Logins(parse_ssh_command(f"{way} db1"), env=os.environ) as logins:
        executor = _executor(_cluster(tmp_path / "pg", 7001), logins=logins, **options)
        with pytest.raises(Refused, match=f"{tmp_path}/pg on db1 is of another cluster than conninfo") as refused:
            executor.require_possible()
        assert "must lead to the same host" in refused.value.hint
        (tmp_path / "pg" / "PG_VERSION").unlink()
        with pytest.raises(CommandError, match=f"cannot copy from db1: {tmp_path}/pg/PG_VERSION: No such file"):
            executor.require_possible()


def test_a_directory_that_is_none_is_named(tmp_path):
    with pytest.raises(CommandError, match=r"cannot copy from this host: .*/global/pg_control: No such file"):
        _executor(str(tmp_path)).require_possible()


def test_a_role_that_may_not_see_the_directory_is_told_what_it_needs():
    with pytest.raises(Refused, match="may not see where the data directory") as refused:
        _executor(None).require_possible()
    assert "pg_read_all_settings" in refused.value.hint


@pytest.mark.parametrize(
    ("version_num", "in_recovery", "reason"),
    [
        pytest.param(150000, False, "not possible with PostgreSQL 15", id="15"),
        pytest.param(140000, True, "is a standby", id="standby"),
    ],
)
def test_an_exclusive_backup_needs_an_old_primary(version_num, in_recovery, reason, tmp_path):
    pgdata = _cluster(tmp_path, 7000)
    options = {"version_num": version_num, "in_recovery": in_recovery, "backup_options": "exclusive_backup"}
    with pytest.raises(Refused, match=reason):
        _executor(pgdata, **options).require_possible()


def test_without_an_ssh_command_there_is_no_way_to_another_host():
    with pytest.raises(ConfigError, match="ssh_command"):
        _executor("/pg", backup_method="rsync")
