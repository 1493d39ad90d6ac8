"""Which servers a command works on."""

from __future__ import annotations

import importlib
import os

import click
import pytest

from barman.cli.context import Profile
from barman.errors import BarmanError


@pytest.fixture
def servers(desk):
    """One server of every kind."""
    desk.server("able")
    desk.server("idle", active="false")
    desk.server("broken", conninfo="")
    desk.server("follower", primary_ssh_command="ssh primary")
    return desk


@pytest.fixture
def several(monkeypatch):
    """Make `barman status` list the servers that a profile lets it work on."""

    def use(profile, action=None):
        @click.command("status")
        @click.argument("names", nargs=-1)
        @click.pass_obj
        def command(app, names):
            app.each(names, profile, action or (lambda server: app.output.show(server.name)))

        monkeypatch.setattr(importlib.import_module("barman.cli.commands.status"), "command", command)

    return use


@pytest.fixture
def single(monkeypatch):
    """Make `barman status` name the server that a profile lets it work on."""

    def use(profile):
        @click.command("status")
        @click.argument("name")
        @click.pass_obj
        def command(app, name):
            app.output.show(app.server(name, profile).name)

        monkeypatch.setattr(importlib.import_module("barman.cli.commands.status"), "command", command)

    return use


def _skipped(name, kind):
    return f"Skipping {kind} server '{name}'"


ABLE, IDLE, BROKEN, FOLLOWER = "able", "idle", "broken", "follower"


@pytest.mark.parametrize(
    ("profile", "worked_on", "skipped", "refused"),
    [
        pytest.param(Profile.A, {ABLE}, {IDLE, FOLLOWER}, {BROKEN}, id="A"),
        pytest.param(Profile.B, {ABLE, FOLLOWER}, {IDLE}, {BROKEN}, id="B"),
        pytest.param(Profile.C, {ABLE, IDLE, BROKEN, FOLLOWER}, set(), set(), id="C"),
        pytest.param(Profile.D, {ABLE, FOLLOWER}, {IDLE}, {BROKEN}, id="D"),
        pytest.param(Profile.F, {ABLE, IDLE, FOLLOWER}, set(), {BROKEN}, id="F"),
        pytest.param(Profile.G, {ABLE, IDLE, BROKEN, FOLLOWER}, set(), set(), id="G"),
        pytest.param(Profile.I, {ABLE, FOLLOWER}, {IDLE, BROKEN}, set(), id="I"),
        pytest.param(Profile.J, {ABLE, IDLE, BROKEN, FOLLOWER}, set(), set(), id="J"),
    ],
)
def test_a_profile_says_what_is_done_with_each_kind(servers, several, profile, worked_on, skipped, refused):
    several(profile)
    result = servers.run("status", "all")
    lines = result.out.splitlines()
    assert {line for line in lines if not line.startswith("Skipping")} == worked_on
    assert {line.split("'")[1] for line in lines if line.startswith("Skipping")} == skipped
    assert {line.split("'")[1] for line in result.err.splitlines() if line.startswith("ERROR: server")} == refused
    assert result.code == (1 if refused else 0)


def test_servers_are_taken_in_name_order_and_once(servers, several):
    several(Profile.C)
    assert servers.run("status", "idle", "able", "idle").out == "able\nidle\n"


def test_all_among_other_names_is_an_error_but_all_are_processed(servers, several):
    several(Profile.C)
    result = servers.run("status", "able", "all")
    assert result.code == 1
    assert result.out.splitlines() == ["able", "broken", "follower", "idle"]


def test_an_unknown_server_does_not_stop_the_others(servers, several):
    several(Profile.C)
    result = servers.run("status", "able", "nobody")
    assert (result.code, result.out) == (1, "able\n")
    assert "Unknown server 'nobody'" in result.err


def test_names_are_case_sensitive(servers, several):
    several(Profile.C)
    said = servers.run("status", "ABLE").err
    assert "Unknown server 'ABLE'" in said
    assert "HINT: Did you mean 'able'?" in said


def test_a_name_like_no_other_leads_to_the_list_of_servers(servers, several):
    several(Profile.C)
    assert "HINT: See 'barman list-servers'." in servers.run("status", "warehouse").err


def test_all_of_no_servers_is_nothing(desk, several):
    several(Profile.C)
    assert (desk.run("status", "all").code, desk.run("status", "all").out) == (0, "")


def test_the_trouble_of_one_server_does_not_stop_the_others(servers, several):
    def act(server):
        if server.name == "able":
            raise BarmanError("able is in trouble")
        done.append(server.name)

    done = []
    several(Profile.C, act)
    result = servers.run("status", "all")
    assert done == ["broken", "follower", "idle"]
    assert (result.code, result.err.splitlines()[-1]) == (1, "ERROR: able is in trouble")


def test_an_error_names_the_server_it_belongs_to(servers, several):
    def act(server):
        raise BarmanError("cannot connect as babel")

    several(Profile.C, act)
    assert servers.run("status", "able", "idle").err.splitlines() == [
        "ERROR: server able: cannot connect as babel",
        "ERROR: server idle: cannot connect as babel",
    ]


def test_one_server_is_worked_on(servers, single):
    single(Profile.D)
    assert servers.run("status", "able").out == "able\n"


def test_a_server_to_be_skipped_ends_the_command_in_peace(servers, single):
    single(Profile.D)
    result = servers.run("status", "idle")
    assert (result.code, result.out) == (0, _skipped("idle", "inactive") + "\n")


def test_all_problems_of_a_disabled_server_are_told(servers, single):
    single(Profile.D)
    result = servers.run("status", "broken")
    assert result.code == 1
    errors = [line for line in result.err.splitlines() if line.startswith("ERROR: ")]
    assert errors
    assert all(line.startswith("ERROR: server 'broken' is disabled: ") for line in errors)
    assert result.err.endswith("HINT: See 'barman check broken'.\n")


@pytest.mark.parametrize("name", ["nobody", "all"])
def test_a_command_for_one_server_refuses_unknown_names_and_all(servers, single, name):
    single(Profile.D)
    result = servers.run("status", name)
    assert result.code == 1
    assert result.err.startswith("ERROR: ")


def test_colliding_directories_stop_every_command_but_diagnose(desk, several):
    several(Profile.C)
    desk.server("one", backup_directory=desk.home / "shared")
    desk.server("two", backup_directory=desk.home / "shared")
    result = desk.run("status", "one")
    assert (result.code, result.out) == (1, "")
    assert "ERROR: " in result.err
    assert desk.run("list-servers").code == 1
    diagnosis = desk.run("diagnose")
    assert diagnosis.code == 0
    assert diagnosis.json()["global"]["config"]["errors_list"]


def test_nagios_calls_colliding_directories_critical(desk):
    desk.server("one", backup_directory=desk.home / "shared")
    desk.server("two", backup_directory=desk.home / "shared")
    result = desk.run("check", "--nagios", "all")
    assert (result.code, result.err) == (2, "")
    first, *reasons = result.out.splitlines()
    assert first == "BARMAN CRITICAL - Global configuration errors"
    assert reasons


def test_nagios_gets_nothing_on_standard_error(desk):
    desk.server("main", minimum_redundancy="tow")
    result = desk.run("-f", "json", "check", "--nagios", "main", "nobody")
    assert (result.code, result.err) == (2, "")
    assert result.out.startswith("BARMAN CRITICAL - server main has issues")
    assert result.out.endswith("Unknown server 'nobody'\n")


def test_a_passive_node_is_not_well_while_nothing_is_copied(servers):
    said = servers.run("check", "follower").out
    assert "synchronisation: FAILED (the primary of server follower was never asked what it has)" in said
    result = servers.run("cron")
    assert result.code == 1
    assert "ERROR: server follower: cannot log in to primary" in result.err


def test_show_servers_puts_the_state_where_there_is_no_description(servers):
    servers.server("told", description="the told one")
    shown = servers.run("-f", "json", "show-servers", "idle", "broken", "follower", "told").json()
    assert {name: one["description"] for name, one in shown.items()} == {
        "idle": "(inactive)",
        "broken": "(WARNING: disabled)",
        "follower": None,
        "told": "the told one",
    }
    assert {name: one["disabled"] for name, one in shown.items()} == {
        "idle": False,
        "broken": True,
        "follower": False,
        "told": False,
    }


def test_diagnose_shows_the_newest_wal_of_each_timeline(desk):
    desk.server("main")
    directory = desk.home / "main" / "wals"
    directory.mkdir(parents=True)
    (directory / "main-xlog.db").write_text("00000002000000000000000A\t16384\t1795252307.5\tgzip\tNone\n")
    wals = desk.run("diagnose").json()["servers"]["main"]["wals"]
    assert wals == {
        "last_archived_wal_per_timeline": {
            "00000002": {
                "name": "00000002000000000000000A",
                "size": 16384,
                "time": 1795252307.5,
                "compression": "gzip",
                "encryption": None,
            }
        }
    }


@pytest.mark.parametrize(
    "words", [["check"], ["status"], ["show-servers"], ["-f", "json", "show-servers"]], ids=" ".join
)
def test_a_connection_string_nobody_understands_keeps_nobody_from_looking(desk, words):
    desk.server("main", conninfo="host=a password='Secret", description="the main one")
    result = desk.run(*words, "main")
    assert "main" in result.out.splitlines()[0]
    assert "unterminated quote" in result.out
    assert "Secret" not in result.out + result.err
    assert result.err == ""


def test_diagnose_works_with_a_connection_string_nobody_understands(desk):
    desk.server("main", conninfo="host=a password='Secret")
    result = desk.run("diagnose")
    assert result.code == 0
    assert "unterminated quote" in result.json()["servers"]["main"]["status"]["connection_error"]
    assert "Secret" not in result.out


def test_a_process_that_does_not_run_cannot_be_terminated(desk):
    desk.server("main")
    for task in ("backup", "nonsense"):
        result = desk.run("terminate-process", "main", task)
        assert (result.code, result.err) == (1, f"ERROR: no process is doing {task} for server main\n")


def test_list_servers_describes_each(servers):
    servers.server("told", description="the told one")
    lines = servers.run("list-servers").out.splitlines()
    assert lines == [
        "able",
        "broken -  (WARNING: disabled)",
        "follower -  (Passive)",
        "idle -  (inactive)",
        "told - the told one",
    ]
    assert servers.run("list-servers", "--minimal").out.split() == ["able", "broken", "follower", "idle", "told"]
    assert servers.run("-f", "json", "list-servers").json()["told"] == {"description": "the told one"}


def test_a_directory_of_locks_is_cleaned_of_those_nobody_holds(desk):
    desk.home.mkdir()
    (desk.home / ".main-cron.lock").write_text("1\n")
    result = desk.run("-f", "json", "lock-directory-cleanup")
    assert (result.code, result.out) == (0, "{}")
    assert not list(desk.home.iterdir())


def test_options_are_shown_as_they_apply(desk):
    desk.server(
        "main",
        conninfo="host=/nonexistent",
        wal_retention_policy="main",
        backup_options="concurrent_backup",
        retention_policy="recovery  window of 1 week",
        last_wal_maximum_age="36 hours",
    )
    shown = desk.run("-f", "json", "show-servers", "main").json()["main"]
    expected = {
        "streaming_conninfo": "host=/nonexistent",
        "encryption": None,
        "wal_retention_policy": "MAIN",
        "tablespace_bandwidth_limit": None,
        "backup_options": "concurrent_backup",
        "replication_slot": None,
        "is_in_recovery": None,
        "retention_policy": "RECOVERY WINDOW OF 1 WEEKS",
        "last_wal_maximum_age": "1 day, 12:00:00",
    }
    assert {name: shown[name] for name in expected} == expected


def test_a_policy_that_is_not_understood_is_shown_as_it_is_written(desk):
    desk.server("main", conninfo="host=/nonexistent", retention_policy="all of them")
    assert desk.run("-f", "json", "show-servers", "main").json()["main"]["retention_policy"] == "all of them"


def test_status_is_headed_by_the_name_alone(servers):
    headings = [line for line in servers.run("status", "all").out.splitlines() if not line.startswith("\t")]
    assert headings == ["Server able:", "Server broken:", "Server follower:", "Server idle:"]


def test_diagnose_knows_where_a_model_comes_from(desk):
    desk.server("main")
    desk.server("main:other", model="true", cluster="main")
    config = desk.run("diagnose", "--show-config-source").json()["models"]["main:other"]["config"]
    assert config["cluster"]["source"] == config["model"]["source"] != "default"


def test_files_set_aside_are_counted_by_what_is_wrong_with_them(desk):
    desk.server("main")
    errors = desk.home / "main" / "errors"
    errors.mkdir(parents=True)
    for kind in ("duplicate", "unknown", "unknown", "error", "damaged", "what"):
        (errors / f"{len(list(errors.iterdir()))}.20260101T000000Z.{kind}").touch()
    said = desk.run("check", "main").out
    counts = "damaged: 1, duplicates: 1, not relevant: 1, unknown: 2, unknown failure: 1"
    assert f"archiver errors: FAILED ({counts})" in said


def test_diagnose_looks_at_the_host_whose_files_are_copied(desk, tmp_path):
    ssh = tmp_path / "ssh"
    ssh.write_text('#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n')
    ssh.chmod(0o755)
    desk.server("main", conninfo="host=/nonexistent", backup_method="rsync", ssh_command=f"{ssh} there")
    info = desk.run("diagnose").json()["servers"]["main"]["system_info"]
    assert list(info) == ["kernel_ver", "python_executable", "python_ver", "release", "rsync_ver", "ssh_ver"]
    assert info["kernel_ver"].startswith(os.uname().sysname)
