"""Every command starts, shows its help, and loads no more than it needs."""

from __future__ import annotations

import importlib

import pytest

from barman.cli.registry import COMMANDS
from tests.budget.programs import run_program, write_configuration

_HELP = [pytest.param(command.name, id=command.name) for command in COMMANDS]

# a run of each command that does not talk to PostgreSQL: its words, after the configuration
_OFFLINE = {
    "archive-wal": ("archive-wal", "main"),
    "check-wal-archive": ("check-wal-archive", "main"),
    "config-switch": ("config-switch", "main", "--reset"),
    "config-update": ("config-update", '[{"scope": "server", "server_name": "main", "description": "x"}]'),
    "cron": ("cron",),
    "delete": ("delete", "main", "20260101T000000"),
    "keep": ("keep", "--status", "main", "20260101T000000"),
    "list-backups": ("list-backups", "main"),
    "list-files": ("list-files", "main", "20260101T000000"),
    "list-processes": ("list-processes", "main"),
    "list-servers": ("list-servers",),
    "lock-directory-cleanup": ("lock-directory-cleanup",),
    "rebuild-xlogdb": ("rebuild-xlogdb", "main"),
    "restore": ("restore", "main", "20260101T000000", "restored"),
    "show-backup": ("show-backup", "main", "20260101T000000"),
    "sync-backup": ("sync-backup", "main", "20260101T000000"),
    "sync-info": ("sync-info", "main"),
    "sync-wals": ("sync-wals", "main"),
    "terminate-process": ("terminate-process", "main", "backup"),
}
# libraries that cost tens of milliseconds and belong to what such commands do not do
_HEAVY = ("psycopg", "paramiko", "rich", "croniter")


@pytest.mark.parametrize("name", _HELP)
def test_a_command_shows_its_help(name, tmp_path):
    run = run_program(tmp_path, name, "--help")
    assert run.status == 0, run.stderr
    assert name in run.stdout
    assert run.stderr == ""


def test_the_list_of_commands_loads_no_command(tmp_path):
    run = run_program(tmp_path, "--help")
    assert run.status == 0, run.stderr
    assert [name for name in run.loaded if name.startswith("barman.cli.commands.")] == []
    assert all(command.name in run.stdout for command in COMMANDS)


def test_every_command_of_the_registry_has_its_module():
    assert [command.name for command in COMMANDS if importlib.import_module(command.path).command.name is None] == []


@pytest.mark.parametrize("name", sorted(_OFFLINE))
def test_a_command_that_needs_no_postgresql_loads_no_driver(name, tmp_path):
    conf = write_configuration(tmp_path, active="false") if name == "cron" else write_configuration(tmp_path)
    run = run_program(tmp_path, "-c", conf, *_OFFLINE[name])
    assert "Traceback" not in run.stderr
    assert run.status in {0, 1}, run.stderr
    assert [package for package in _HEAVY if run.loads(package)] == []
