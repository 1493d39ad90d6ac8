"""The option table and all that derives from it."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta

import pytest

from barman.config.load import load_config
from barman.config.options import GLOBAL_OPTIONS, HOOKS, MODEL_OPTIONS, OPTIONS, SERVER_OPTIONS
from barman.config.render import render_docs, render_sample
from barman.config.settings import GlobalSettings, ServerSettings, option_values
from tests.support.places import PROJECT
from tests.support.settings import server_settings, write_configuration


def names(settings_class):
    return [field.name for field in fields(settings_class)]


def test_the_settings_classes_have_exactly_the_options_of_the_table():
    assert names(GlobalSettings) == list(GLOBAL_OPTIONS)
    assert names(ServerSettings) == list(SERVER_OPTIONS)


def test_no_option_is_listed_twice():
    assert len({option.name for option in OPTIONS}) == len(OPTIONS)


def test_models_have_neither_directories_nor_hooks():
    assert [name for name in MODEL_OPTIONS if name.endswith(("_wals_directory", "backup_directory", "_script"))] == []


def test_there_are_twenty_hooks_named_phase_event_kind():
    scripts = {option.name for option in HOOKS if option.name.endswith("_script")}
    assert len(scripts) == 20
    assert {"pre_backup_retry_script", "post_wal_delete_script"} <= scripts


def test_every_option_is_explained():
    assert [option.name for option in OPTIONS if not option.help.endswith(".")] == []


def test_the_sample_file_is_what_the_table_renders():
    assert (PROJECT / "etc/barman.conf.sample").read_text() == render_sample(), "run scripts/render_configuration"


def test_the_reference_page_is_what_the_table_renders():
    assert (PROJECT / "docs/configuration.md").read_text() == render_docs(), "run scripts/render_configuration"


def test_the_sample_file_loads_without_a_word_even_with_everything_uncommented(tmp_path):
    sample = render_sample().replace("/var/lib/barman", str(tmp_path)).replace("/etc/barman.d", str(tmp_path))
    options = [line[1:] for line in sample.splitlines() if line.startswith(";") and " = " in line and line[1] != " "]
    shown = [line for line in options if line.partition(" = ")[0] in {option.name for option in OPTIONS}]
    assert len(shown) > 40
    body, _, server = sample.partition(";[main]")
    path = tmp_path / "sample"
    uncomment = {f";{line}": line for line in options if not line.endswith("=")}
    text = "\n".join(uncomment.get(line, line) for line in body.splitlines())
    text += "\n[main]\n" + "\n".join(uncomment.get(line, line) for line in server.splitlines())
    path.write_text(text)
    config = load_config(path)
    assert config.problems == ()
    assert config.servers["main"].errors == ()


def test_defaults_are_those_of_the_reference():
    settings = server_settings()
    assert settings.backup_method == "rsync"
    assert settings.backup_options == {"concurrent_backup"}
    assert settings.check_timeout == 30
    assert settings.keepalive_interval == 60
    assert settings.basebackup_retry_sleep == 30
    assert settings.compression_level == "medium"
    assert settings.cloud_staging_max_size == 30 * 2**30
    assert settings.aws_await_snapshots_timeout == 3600
    assert (settings.retention_policy, settings.retention_policy_mode) == (None, "auto")


def test_directories_derive_from_the_home_and_from_each_other():
    settings = server_settings(home="/h", wals_directory="/elsewhere/wals")
    assert str(settings.backup_directory) == "/h/main"
    assert str(settings.incoming_wals_directory) == "/h/main/incoming"
    assert str(settings.xlogdb_directory) == "/elsewhere/wals"


def test_the_ledger_of_an_archive_in_the_cloud_is_local():
    settings = server_settings(home="/h", wals_directory="s3://bucket/wals")
    assert settings.wals_directory == "s3://bucket/wals"
    assert str(settings.xlogdb_directory) == "/h/main/meta"


def test_effective_connection_strings_fall_back():
    settings = server_settings(conninfo="host=a")
    assert settings.effective_streaming_conninfo == "host=a"
    assert settings.effective_wal_streaming_conninfo == "host=a"
    assert settings.effective_wal_conninfo == "host=a"
    settings = server_settings(conninfo="host=a", streaming_conninfo="host=b", wal_streaming_conninfo="host=c")
    assert settings.effective_wal_streaming_conninfo == settings.effective_wal_conninfo == "host=c"


def test_option_values_come_in_the_order_of_the_table():
    assert list(option_values(server_settings())) == list(SERVER_OPTIONS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1 day", timedelta(days=1)), ("2 WEEKS", timedelta(days=14)), ("1 month", timedelta(days=31))],
)
def test_intervals_become_timedeltas(text, expected):
    assert server_settings(last_backup_maximum_age=text).last_backup_maximum_age == expected


def test_global_settings_have_their_derived_defaults(tmp_path):
    config = load_config(write_configuration(tmp_path, ""))
    assert config.globals.barman_lock_directory == tmp_path / "home"
    assert config.globals.config_changes_queue == tmp_path / "home" / "cfg_changes.queue"
    assert config.globals.log_level == 20
