"""Files, includes, precedence, and every problem at once."""

from __future__ import annotations

import pytest

from barman.config.load import find_config, load_config, load_globals, with_wal_conninfo
from barman.errors import ConfigError
from tests.support.settings import load_text, write_configuration

SERVER = "conninfo = host=a\nbackup_method = postgres\narchiver = on\n"


def settings_of(directory, text, *, globals_text=""):
    return load_text(directory, text, globals_text=globals_text).servers["main"].settings


def texts(config):
    return [str(problem) for problem in config.problems]


def test_the_file_named_by_the_option_wins_over_the_environment(tmp_path):
    named, other = write_configuration(tmp_path, ""), tmp_path / "other"
    other.write_text("")
    assert find_config(str(named), {"BARMAN_CONFIG_FILE": str(other)}) == named
    assert find_config(None, {"BARMAN_CONFIG_FILE": str(other)}) == other


def test_a_named_file_must_exist_and_no_tilde_is_expanded(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        find_config(str(tmp_path / "nosuch"), {})
    with pytest.raises(ConfigError, match="~/x"):
        find_config("~/x", {})
    with pytest.raises(ConfigError, match="is not a file"):
        find_config(str(tmp_path), {})


def test_the_home_of_the_user_is_searched(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".barman.conf").write_text("")
    assert find_config(None, {}) == tmp_path / ".barman.conf"


def test_included_files_come_in_name_order_and_the_automatic_file_last(tmp_path):
    included = tmp_path / "conf.d"
    included.mkdir()
    (included / "b.conf").write_text("[main]\ndescription = b\nslot_name = b\n")
    (included / "a.conf").write_text(f"[main]\n{SERVER}description = a\npath_prefix = /a\n")
    (included / "c.txt").write_text("[ignored]\n")
    path = write_configuration(tmp_path, "", globals_text=f"configuration_files_directory = {included}")
    (tmp_path / "home" / ".barman.auto.conf").write_text("[main]\nslot_name = auto\n")
    server = load_config(path).servers["main"]
    assert (server.settings.description, server.settings.slot_name, server.settings.path_prefix) == ("b", "auto", "/a")
    assert server.origins["description"] == str(included / "b.conf")
    assert server.origins["check_timeout"] == "default"


def test_an_include_directory_that_is_none_and_a_directory_in_it_are_warnings(tmp_path):
    config = load_text(tmp_path, "", globals_text=f"configuration_files_directory = {tmp_path}/nosuch")
    assert "not a directory" in texts(config)[0]
    (tmp_path / "d" / "x.conf").mkdir(parents=True)
    config = load_text(tmp_path, "", globals_text=f"configuration_files_directory = {tmp_path}/d")
    assert "is not a file" in texts(config)[0]


def test_an_included_file_may_repeat_the_global_section_only_unchanged(tmp_path):
    included = tmp_path / "conf.d"
    included.mkdir()
    write_configuration(tmp_path, "", globals_text=f"configuration_files_directory = {included}\nlog_level = DEBUG")
    (included / "a.conf").write_text("[barman]\nlog_level = DEBUG\n")
    assert load_config(tmp_path / "barman.conf").globals.log_level == 10
    (included / "a.conf").write_text("[barman]\nlog_level = INFO\n")
    with pytest.raises(ConfigError, match=r"a\.conf:2.*log_level"):
        load_config(tmp_path / "barman.conf")


def test_a_server_inherits_from_the_global_section_only_what_may_be_inherited(tmp_path):
    settings = settings_of(
        tmp_path, f"[main]\n{SERVER}", globals_text="keepalive_interval = 5\ndescription = s\ncompression = gzip"
    )
    assert (settings.keepalive_interval, settings.description, settings.compression) == (5, None, "gzip")


@pytest.mark.parametrize(
    ("option", "inherited", "own", "expected"),
    [
        ("compression", "gzip", "", None),
        ("retention_policy", "REDUNDANCY 2", "None", None),
        ("recovery_options", "get-wal", "", frozenset()),
        ("compression_level", "high", "", "medium"),
        ("last_backup_minimum_size", "5", "", 5),
        ("minimum_redundancy", "5", "", 5),
        ("minimum_redundancy", "5", "tow", 5),
        ("compression", "gzip", "nonsense", "gzip"),
        ("bandwidth_limit", "100", "0", None),
    ],
)
def test_empty_and_wrong_values_block_or_fall_through(tmp_path, option, inherited, own, expected):
    settings = settings_of(tmp_path, f"[main]\n{SERVER}{option} = {own}", globals_text=f"{option} = {inherited}")
    assert getattr(settings, option) == expected


def test_a_wrong_value_is_a_problem_of_the_servers_it_concerns(tmp_path):
    config = load_text(
        tmp_path,
        f"[a]\n{SERVER}minimum_redundancy = tow\n[b]\n{SERVER}compression = xz",
        globals_text="compression = x",
    )
    a, b = config.servers["a"], config.servers["b"]
    assert [(problem.option, problem.bad_value) for problem in a.problems] == [
        ("minimum_redundancy", True),
        ("compression", True),
    ]
    assert b.problems == ()
    assert not a.is_disabled
    assert len(config.problems) == 2
    assert texts(config)[0].startswith(f"{tmp_path}/barman.conf:9: invalid value 'tow' for option minimum_redundancy")


def test_unknown_options_are_warnings_with_their_place(tmp_path):
    config = load_text(tmp_path, f"[main]\n{SERVER}foo = 1\n[m]\nmodel = on\ncluster = c\npre_backup_script = x")
    assert [(problem.section, problem.option, problem.bad_value) for problem in config.problems] == [
        ("main", "foo", False),
        ("m", "pre_backup_script", False),
    ]


def test_log_format_is_known_and_its_percent_signs_may_be_written_twice_or_four_times(tmp_path):
    for sign in ("%%", "%%%%"):
        config = load_text(tmp_path, "", globals_text=f"log_format = {sign}(message)s")
        assert config.globals.log_format == "%(message)s"
        assert config.problems == ()


def test_everything_that_makes_the_files_unusable_is_reported_at_once(tmp_path):
    path = tmp_path / "barman.conf"
    path.write_text("[barman]\nlock_directory_cleanup = perhaps\nfoo\n[all]\nx = 1\n[m]\nmodel = on\n[n]\nmodel = 7\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    places = [problem.partition(" ")[0] for problem in caught.value.problems]
    assert [place.removeprefix(str(path)) for place in places] == [":3:", ":", ":2:", ":5:", ":7:", ":9:"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n[barman]\nbarman_home = /h\n", "before the first section"),
        ("[main]\n", r"no \[barman\] section"),
        ("[barman]\n", "barman_home is missing"),
        ("[barman]\nbarman_home = /h\n[s]\nconninfo = %x\n", "written twice"),
        ("[barman]\nbarman_home = /h\n[s]\nconninfo = %(nosuch)s\n", "not in this section"),
    ],
)
def test_a_single_fatal_problem_is_the_message_itself(tmp_path, text, message):
    path = tmp_path / "barman.conf"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path)
    assert str(path) in caught.value.message or caught.value.problems


def test_an_unreadable_or_binary_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="nosuch: cannot be read"):
        load_config(tmp_path / "nosuch")
    (tmp_path / "x").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(tmp_path / "x")


def test_a_percent_sign_in_an_unknown_option_does_no_harm(tmp_path):
    assert "foo" in texts(load_text(tmp_path, f"[main]\n{SERVER}foo = 5%"))[0]


def test_options_of_the_default_section_hold_in_every_section(tmp_path):
    config = load_text(tmp_path, "[DEFAULT]\narchiver = on\n[a]\nconninfo = host=a\nbackup_method = postgres\n")
    assert config.servers["a"].settings.archiver is True


def test_without_any_archiver_the_file_archiver_is_assumed_with_a_warning(tmp_path):
    config = load_text(tmp_path, "[main]\nconninfo = host=a\nbackup_method = postgres\n")
    assert config.servers["main"].settings.archiver is True
    assert config.servers["main"].problems == ()
    assert "archiver is assumed" in texts(config)[0]


def test_exclusive_backup_with_the_postgres_method_is_replaced_with_a_warning(tmp_path):
    config = load_text(tmp_path, f"[main]\n{SERVER}backup_options = exclusive_backup")
    assert config.servers["main"].settings.backup_options == {"concurrent_backup"}
    assert "exclusive_backup" in texts(config)[0]


def test_a_server_with_contradictions_is_disabled_with_all_of_them(tmp_path):
    server = load_text(tmp_path, "[main]\narchiver = on\nbackup_compression = gzip\n").servers["main"]
    assert server.is_disabled
    assert len(server.errors) == 3


def test_servers_that_share_a_directory_are_told_also_through_a_symbolic_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    config = load_text(
        tmp_path,
        f"[a]\n{SERVER}wals_directory = {tmp_path}/real\n[b]\n{SERVER}incoming_wals_directory = {tmp_path}/link\n"
        f"[c]\n{SERVER}wals_directory = s3://x/y\n[d]\n{SERVER}wals_directory = s3://x/y\n",
    )
    assert len(config.path_conflicts) == 1
    assert "symbolic link" in config.path_conflicts[0]
    assert not any(server.is_disabled for server in config.servers.values())


def test_one_directory_for_two_purposes_disables_the_server_and_nesting_does_not(tmp_path):
    same = load_text(tmp_path, f"[main]\n{SERVER}errors_directory = {tmp_path}/home/main/wals")
    assert "errors_directory" in same.servers["main"].errors[0]
    nested = load_text(tmp_path, f"[main]\n{SERVER}errors_directory = {tmp_path}/home/main/wals/errors")
    assert nested.servers["main"].errors == ()


MODEL = "[main:m]\nmodel = true\ncluster = main\nconninfo = host=b\nslot_name =\ncompression = nonsense\n"


def test_the_applied_model_overrides_the_server_with_what_it_sets(tmp_path):
    path = write_configuration(tmp_path, f"[main]\n{SERVER}slot_name = s\ncompression = gzip\n{MODEL}")
    state = tmp_path / "home" / "main" / ".active-model.auto"
    state.parent.mkdir()
    state.write_text("main:m\n")
    server = load_config(path).servers["main"]
    assert server.active_model == "main:m"
    assert (server.settings.conninfo, server.settings.slot_name, server.settings.compression) == ("host=b", "s", "gzip")
    state.write_text("  \n")
    assert load_config(path).servers["main"].active_model is None


def test_a_model_that_has_gone_disables_the_server(tmp_path):
    path = write_configuration(tmp_path, f"[main]\n{SERVER}")
    state = tmp_path / "home" / "main" / ".active-model.auto"
    state.parent.mkdir()
    state.write_text("gone")
    assert "'gone' does not exist" in load_config(path).servers["main"].errors[0]
    state.unlink()
    state.mkdir()
    assert "cannot read" in load_config(path).servers["main"].errors[0]


def test_disabled_counts_in_a_model_and_nowhere_else(tmp_path):
    path = write_configuration(
        tmp_path, f"[main]\n{SERVER}disabled = true\n[m]\nmodel = on\ncluster = main\ndisabled = true"
    )
    assert load_config(path).servers["main"].errors == ()
    assert load_config(path).problems == ()
    state = tmp_path / "home" / "main" / ".active-model.auto"
    state.parent.mkdir()
    state.write_text("m")
    assert load_config(path).servers["main"].errors == ("disabled by model 'm'",)


def test_models_show_all_their_options_and_their_origin(tmp_path):
    config = load_text(tmp_path, f"[main]\n{SERVER}{MODEL}")
    model = config.models["main:m"]
    assert (model.cluster, model.options["conninfo"], model.options["active"]) == ("main", "host=b", None)
    assert list(config.servers) == ["main"]


def test_the_connection_strings_of_wal_reception_replace_the_others(tmp_path):
    config = load_text(tmp_path, f"[main]\n{SERVER}wal_streaming_conninfo = host=w\n")
    server, lines = with_wal_conninfo(config.servers["main"])
    assert (server.settings.conninfo, server.settings.streaming_conninfo) == ("host=w", "host=w")
    assert len(lines) == 2
    config = load_text(tmp_path, f"[main]\n{SERVER}wal_conninfo = host=m\nstreaming_conninfo = host=s\n")
    server, lines = with_wal_conninfo(config.servers["main"])
    assert (server.settings.conninfo, server.settings.streaming_conninfo) == ("host=m", "host=s")
    assert lines == ["using wal_conninfo as conninfo of server main"]
    unchanged = load_text(tmp_path, f"[main]\n{SERVER}").servers["main"]
    assert with_wal_conninfo(unchanged) == (unchanged, [])


def test_global_settings_are_read_without_touching_the_included_files(tmp_path):
    path = write_configuration(tmp_path, "", globals_text="configuration_files_directory = /proc/1/nosuch")
    assert load_globals(path).barman_home == tmp_path / "home"


def test_passive_and_inactive_servers_need_no_connection(tmp_path):
    config = load_text(
        tmp_path, "[p]\nprimary_ssh_command = ssh x\n[i]\nactive = false\n[q]\nprimary_ssh_command = '\"'"
    )
    assert config.servers["p"].is_passive
    assert not config.servers["p"].is_disabled
    assert not config.servers["i"].is_active
    assert not config.servers["i"].is_disabled
    assert config.servers["q"].is_disabled
    assert config.problems == ()
