"""The verdicts of check on the host whose files are copied, by table."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from barman.monitor.check_facts import SourceFacts
from barman.monitor.check_source import copies_files, judge_source
from barman.monitor.source import probe_source

UP = SimpleNamespace(version_num=140000, version_text="14.0", in_recovery=False)
STANDBY = SimpleNamespace(version_num=150000, version_text="15.0", in_recovery=True)
OLD = SimpleNamespace(version_num=90500, version_text="9.5.0", in_recovery=False)


def _verdicts(method, source, server, *options):
    settings = SimpleNamespace(backup_method=method, backup_options=frozenset(options))
    return {item.name: item.ok for item in judge_source(settings, source, server) if item.critical}


@pytest.mark.parametrize(
    ("method", "source", "server", "expected"),
    [
        pytest.param("rsync", SourceFacts(), UP, {"ssh": True}, id="reached"),
        pytest.param("rsync", SourceFacts(error="refused"), UP, {"ssh": False}, id="not reached"),
        pytest.param("rsync", SourceFacts(noise="hi"), UP, {"ssh": True, "ssh output clean": False}, id="noisy"),
        pytest.param("rsync", SourceFacts(has_label=True), UP, {"ssh": True}, id="label of a running server"),
        pytest.param("rsync", SourceFacts(has_label=True), None, {"ssh": True, "backup_label": False}, id="label"),
        pytest.param("local-rsync", SourceFacts(), UP, {"local PGDATA": True}, id="local"),
        pytest.param("local-rsync", SourceFacts(error="x"), UP, {"local PGDATA": False}, id="no local directory"),
        pytest.param("local-rsync", SourceFacts(), None, {}, id="local and down"),
        pytest.param(
            "local-rsync", SourceFacts(), OLD, {"local PGDATA": True, "postgres minimal version": False}, id="old"
        ),
    ],
)
def test_the_source_is_judged(method, source, server, expected):
    assert _verdicts(method, source, server) == expected


@pytest.mark.parametrize(("server", "possible"), [(UP, True), (STANDBY, False)], ids=["14", "standby of 15"])
def test_exclusive_backups_need_a_primary_of_an_old_version(server, possible):
    assert _verdicts("rsync", SourceFacts(), server, "exclusive_backup") == {
        "ssh": True,
        "not in recovery": possible,
        "exclusive backup supported": possible,
    }


def test_only_two_methods_copy_files():
    methods = ["rsync", "local-rsync", "postgres", "snapshot", "local-to-cloud"]
    assert [copies_files(SimpleNamespace(backup_method=method)) for method in methods] == [True, True, *[False] * 3]


def _server(**settings):
    return SimpleNamespace(settings=SimpleNamespace(**settings), environment=lambda: {"PATH": "/usr/bin:/bin"})


def test_the_data_directory_is_looked_at(tmp_path):
    server = _server(backup_method="local-rsync")
    assert probe_source(server, str(tmp_path), 10) == SourceFacts()
    (tmp_path / "backup_label").touch()
    assert probe_source(server, str(tmp_path), 10) == SourceFacts(has_label=True)
    assert probe_source(server, str(tmp_path / "no"), 10).error == f"{tmp_path}/no: No such file or directory"
    assert probe_source(server, None, 10) == SourceFacts()


_LAST = 'for last; do :; done; eval "$last"'


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        pytest.param(_LAST, SourceFacts(has_label=True), id="label"),
        pytest.param(f"echo hello; {_LAST}", SourceFacts(noise="hello\n", has_label=True), id="noisy"),
        pytest.param(
            "echo a note >&2; echo no route >&2; exit 255", SourceFacts(error="me@there: no route"), id="unreachable"
        ),
        pytest.param("exit 3", SourceFacts(error="me@there: ssh ended with exit status 3"), id="silent"),
    ],
)
def test_the_other_host_is_asked_by_its_shell(script, expected, tmp_path):
    (tmp_path / "it's").mkdir()
    (tmp_path / "it's" / "backup_label").touch()
    program = tmp_path / "remote"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    server = _server(backup_method="rsync", ssh_command=f"{program} me@there")
    assert probe_source(server, f"{tmp_path}/it's", 10) == expected


def test_a_host_that_is_silent_ends_the_question_in_time():
    facts = probe_source(_server(backup_method="rsync", ssh_command="sh -c 'sleep 60'"), None, 0.5)
    assert "did not end within 0.5 seconds" in facts.error
