from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from barman.restore.configure import DirectoryFiles, configure
from barman.restore.exclusions import is_excluded
from barman.restore.settings_plan import FileChange, plan_settings
from tests.support.plans import make_plan


@pytest.fixture
def data(tmp_path):
    directory = tmp_path / "data"
    directory.mkdir()
    (directory / "postgresql.conf").write_text("port = 1\n")
    return directory


def test_recovery_settings_are_added_with_a_signal(data):
    (data / "postgresql.auto.conf").write_text("work_mem = '1MB'")
    configured = configure(make_plan(data), data)
    assert (data / "postgresql.auto.conf").read_text() == "work_mem = '1MB'\n\nrestore_command = 'false'\n"
    assert (data / "postgresql.auto.conf.origin").read_text() == "work_mem = '1MB'"
    assert (data / "recovery.signal").read_bytes() == b""
    assert (data / "postgresql.conf.origin").read_text() == "port = 1\n"
    assert configured.changes == ()
    assert configured.missing_files == ("pg_hba.conf", "pg_ident.conf")


def test_a_missing_file_is_made(data):
    configure(make_plan(data, file_name="recovery.extra.conf"), data)
    assert (data / "recovery.extra.conf").read_text() == "restore_command = 'false'\n"
    assert not (data / "recovery.extra.conf.origin").exists()


def test_old_versions_get_a_recovery_conf_and_no_signal(data):
    configure(make_plan(data, version=110022), data)
    assert (data / "recovery.conf").read_text() == "restore_command = 'false'\n"
    assert not (data / "recovery.signal").exists()


def test_included_files_are_made_safe_too_and_modes_stay(data):
    (data / "d").mkdir()
    for name in ("d/b.conf", "d/a.conf", "d/.hidden.conf", "d/other.txt", "one.conf"):
        (data / name).write_text("archive_command = 'x'\n")
    (data / "one.conf").chmod(0o640)
    (data / "postgresql.conf").write_text(
        "include_dir 'd'\ninclude_if_exists = 'one.conf'\ninclude 'missing.conf'\ninclude 'postgresql.conf'\n"
    )
    configured = configure(make_plan(data), data)
    assert [change.file for change in configured.changes] == ["d/a.conf", "d/b.conf", "one.conf"]
    assert configured.changes[0] == FileChange("d/a.conf", 2, "archive_command", "'x'", "false")
    assert (data / "one.conf").stat().st_mode & 0o777 == 0o640
    assert (data / "one.conf.origin").stat().st_mode & 0o777 == 0o640
    assert "#BARMAN#" not in (data / "d" / "other.txt").read_text()
    assert configured.notes == ()


@pytest.mark.parametrize("include", ["include '/etc/hosts'", "include '../outside.conf'", "include_dir '..'"])
def test_files_outside_are_not_touched_but_overruled(include, data):
    (data.parent / "outside.conf").write_text("archive_command = 'x'\n")
    (data / "postgresql.conf").write_text(include + "\n")
    configured = configure(make_plan(data), data)
    assert (data.parent / "outside.conf").read_text() == "archive_command = 'x'\n"
    assert len(configured.notes) == 1
    text = (data / "postgresql.auto.conf").read_text()
    assert "archive_command = 'false'\n" in text
    assert "archive_library = ''\n" in text


def test_a_link_that_leads_out_is_outside(data):
    (data.parent / "outside.conf").write_text("archive_command = 'x'\n")
    (data / "inside.conf").symlink_to(data.parent / "outside.conf")
    (data / "postgresql.conf").write_text("include 'inside.conf'\n")
    assert len(configure(make_plan(data), data).notes) == 1
    assert (data.parent / "outside.conf").read_text() == "archive_command = 'x'\n"


def test_a_cluster_whose_main_file_was_elsewhere_is_kept_from_archiving_for_all_a_leftover_one_in_the_backup(data):
    plan = make_plan(data)
    record = replace(plan.record, pgdata="/srv/pg", config_file="/etc/postgresql/postgresql.conf")
    configure(replace(plan, chain=(record,)), data)
    assert "archive_command = 'false'\n" in (data / "postgresql.auto.conf").read_text()


def test_a_backup_without_configuration_is_kept_from_archiving(data):
    (data / "postgresql.conf").unlink()
    configure(make_plan(data, version=140000), data)
    text = (data / "postgresql.auto.conf").read_text()
    assert "archive_command = 'false'\n" in text
    assert "archive_library" not in text


def test_bytes_that_are_no_text_survive(data):
    (data / "postgresql.conf").write_bytes(b"# caf\xe9 \xff\narchive_command = 'x'\n")
    configure(make_plan(data), data)
    assert (data / "postgresql.conf").read_bytes().startswith(b"# caf\xe9 \xff\n#BARMAN#archive_command")


@pytest.mark.parametrize(("version", "is_standby"), [(150018, False), (150018, True), (90624, False)])
def test_a_cluster_with_subscriptions_does_not_take_the_changes_meant_for_its_origin(version, is_standby, data):
    (data / "global").mkdir()
    (data / "global" / "6100").write_bytes(bytes(8192))
    plan = replace(make_plan(data, version=version), is_standby=is_standby)
    settings = configure(plan, data)
    is_off = version >= 100000 and not is_standby
    text = (data / "postgresql.auto.conf").read_text() if (data / "postgresql.auto.conf").exists() else ""
    assert ("max_logical_replication_workers = 0" in text) == is_off
    assert len(settings.notes) == is_off


def test_a_cluster_that_never_had_subscriptions_keeps_its_settings(data):
    (data / "global").mkdir()
    (data / "global" / "6100").touch()
    assert configure(make_plan(data), data).notes == ()


def test_settings_are_known_as_they_are_in_the_end(data):
    (data / "postgresql.conf").write_text(
        "Max_Connections = 100\nshared_preload_libraries = 'pg_stat_statements, \"other\"'\nmax_connections = 20\n"
    )
    settings = configure(make_plan(data), data)
    assert settings.settings["max_connections"] == "20"
    assert settings.libraries == ("pg_stat_statements", "other")
    assert settings.settings["restore_command"] == "false"


def test_a_plan_for_the_backup_is_the_plan_for_what_is_restored_from_it(data, tmp_path):
    (data / "postgresql.conf").write_text(f"archive_command = 'x'\ninclude '{tmp_path}/new/more.conf'\n")
    (data / "more.conf").write_text("primary_conninfo = 'host=p'\n")
    plan = make_plan(tmp_path / "new")
    foreseen = plan_settings(
        DirectoryFiles(data),
        destination=str(plan.destination),
        record=plan.record,
        recovery=plan.recovery,
        is_standby=False,
    )
    shutil.copytree(data, plan.destination)
    assert configure(plan, data) == foreseen
    assert [change.option for change in foreseen.changes] == ["archive_command", "primary_conninfo"]


def test_what_is_left_out_of_a_restore_is_not_there(data):
    files = DirectoryFiles(data, is_absent=is_excluded)
    (data / "recovery.conf").write_text("x = 1\n")
    assert files.read("recovery.conf") is None
    assert files.listing("nowhere") == []
