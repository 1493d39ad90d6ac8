"""config-update: what is accepted, where it is written, and what survives trouble."""

from __future__ import annotations

import json

import pytest

from barman.config.changes import apply_queued_changes, update_configuration
from barman.config.edit import set_option
from barman.config.load import load_config
from barman.errors import ConfigError, LockBusy
from barman.host.locks import config_update_lock
from barman.progress import LogReporter
from tests.support.settings import write_configuration

SERVER = "[main]\n# the connection\nconninfo = host=a\narchiver = on\nbackup_method = postgres\n\n[next]\nactive = no\n"


class Notes(LogReporter):
    """A reporter that remembers."""

    def __init__(self):
        self.lines = []

    def info(self, message):
        self.lines.append(message)

    warning = error = info


@pytest.fixture
def notes():
    return Notes()


@pytest.fixture
def path(tmp_path):
    return write_configuration(tmp_path, SERVER)


def update(path, notes, *changes):
    return update_configuration(json.dumps(changes), path, load_config(path).globals, notes)


def main(**options):
    return {"scope": "server", "server_name": "main", **options}


def queue_of(path):
    return path.parent / "home" / "cfg_changes.queue"


def test_an_option_is_changed_in_the_line_that_sets_it(path, notes):
    before = path.read_text()
    assert update(path, notes, main(conninfo="host=b port=1")) == ("main",)
    assert path.read_text() == before.replace("conninfo = host=a", "conninfo = host=b port=1")
    assert notes.lines == [
        "Changing value of option 'conninfo' for section 'main' from 'host=a' to 'host=b port=1' through config-update."
    ]


def test_an_option_set_nowhere_goes_to_the_automatic_file(path, notes):
    before = path.read_text()
    update(path, notes, main(compression="zstd"), main(compression_level="high"))
    assert path.read_text() == before
    auto = path.parent / "home" / ".barman.auto.conf"
    assert auto.read_text() == "[main]\ncompression = zstd\ncompression_level = high\n"
    assert auto.stat().st_mode & 0o077 == 0
    assert load_config(path).servers["main"].settings.compression == "zstd"


def test_an_option_of_the_global_section_is_overridden_in_that_file(tmp_path, notes):
    path = write_configuration(tmp_path, SERVER, globals_text="compression = gzip")
    update(path, notes, main(compression="xz"))
    config = load_config(path)
    assert config.servers["main"].settings.compression == "xz"
    assert config.global_options["compression"] == "gzip"
    assert "conninfo = host=a\narchiver = on\nbackup_method = postgres\ncompression = xz\n\n[next]" in path.read_text()


def test_a_section_that_follows_directly_is_not_glued_to_the_new_line():
    assert set_option("[a]\nx = 1\n[b]\ny = 2\n", "a", "z", "3") == "[a]\nx = 1\nz = 3\n[b]\ny = 2\n"
    assert set_option("[a]\nx = 1", "a", "z", "3") == "[a]\nx = 1\nz = 3\n"
    assert set_option("[a]\nx = 1", "b", "z", "3") == "[a]\nx = 1\n\n[b]\nz = 3\n"
    assert set_option("", "b", "z", "3") == "[b]\nz = 3\n"


def test_an_edit_keeps_comments_indentation_and_continuations_of_others():
    text = "# top\n[a]\n  x = 1\n  ; why\n  y = 2\n     3\n"
    assert set_option(text, "a", "x", " p ") == text.replace("x = 1", 'x = " p "')
    assert set_option(text, "a", "y", "4") == "# top\n[a]\n  x = 1\n  ; why\n  y = 4\n"
    assert set_option(text, "a", "z", "5") == text + "  z = 5\n"


def test_the_last_of_several_lines_is_the_one_that_counts_and_is_changed():
    assert set_option("[a]\nx = 1\n[b]\n[a]\nx = 2\n", "a", "x", "3") == "[a]\nx = 1\n[b]\n[a]\nx = 3\n"


def test_a_new_server_and_a_new_model_get_sections(path, notes):
    update(
        path,
        notes,
        {"scope": "server", "server_name": "new", "conninfo": "host=n", "backup_method": "postgres", "archiver": "on"},
        {"scope": "model", "model_name": "main:m", "cluster": "main", "conninfo": "host=m"},
    )
    config = load_config(path)
    assert config.servers["new"].errors == ()
    assert config.models["main:m"].options["conninfo"] == "host=m"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scope": "x"}, "scope must be"),
        ({"server_name": "main"}, "scope must be"),
        ({"scope": "server"}, "server_name is missing"),
        ({"scope": "model", "model_name": "main", "cluster": "c"}, "is a server, not a model"),
        ({"scope": "model", "model_name": "m"}, "cluster is missing"),
        (main(nosuch="1"), "there is no option nosuch"),
        (main(barman_home="/x"), "there is no option barman_home"),
        (main(disabled="true"), "there is no option disabled"),
        ({"scope": "model", "model_name": "m", "cluster": "c", "wals_directory": "/x"}, "there is no option"),
        (main(compression="nonsense"), "invalid value 'nonsense'"),
        (main(active=""), "must not be empty"),
        (main(description="a\nb"), "must be one line"),
        (main(description="5%"), "written twice"),
        (main(parallel_jobs=3), "values are all text"),
        ("text", "not an object"),
        ({"scope": "server", "server_name": "barman", "active": "on"}, "cannot be the name"),
        ({"scope": "server", "server_name": "a]b", "active": "on"}, "cannot be the name"),
        ({"scope": "server", "server_name": "../x", "active": "on"}, "cannot be the name"),
    ],
)
def test_a_change_that_makes_no_sense_is_rejected_and_nothing_is_queued(path, notes, change, words):
    before = path.read_text()
    with pytest.raises(ConfigError) as caught:
        update(path, notes, main(conninfo="host=z"), change)
    assert words in caught.value.problems[0]
    assert path.read_text() == before
    assert not queue_of(path).exists()


@pytest.mark.parametrize("text", ["{}", "x", "3", '"a"'])
def test_what_is_no_json_array_is_refused(path, notes, text):
    with pytest.raises(ConfigError, match="JSON"):
        update_configuration(text, path, load_config(path).globals, notes)


def test_an_empty_array_changes_nothing(path, notes):
    assert update(path, notes) == ()


def test_what_an_interrupted_run_left_is_applied_and_the_queue_emptied(path, notes):
    change = {"key": "conninfo", "value": "host=q", "config_file": str(path)}
    queue_of(path).write_text(json.dumps([{"section": "main", "changes_set": [change]}]))
    assert apply_queued_changes(path, load_config(path).globals, notes) == ("main",)
    assert load_config(path).servers["main"].settings.conninfo == "host=q"
    assert queue_of(path).read_text() == "[]"
    assert apply_queued_changes(path, load_config(path).globals, notes) == ()


@pytest.mark.parametrize("text", ["garbage", "[1]", '[{"section": "main"}]', '[{"section": 1, "changes_set": [{}]}]'])
def test_an_unreadable_queue_is_a_warning_and_taken_for_empty(path, notes, text):
    queue_of(path).write_text(text)
    assert apply_queued_changes(path, load_config(path).globals, notes) == ()
    assert "malformed queue" in notes.lines[0]


def test_a_set_that_cannot_be_applied_stays_and_does_not_hold_up_the_others(path, notes, tmp_path):
    unreadable = tmp_path / "dir.conf"
    unreadable.mkdir()
    sets = [
        {"section": "main", "changes_set": [{"key": "slot_name", "value": "s", "config_file": str(unreadable)}]},
        {"section": "main", "changes_set": [{"key": "conninfo", "value": "host=q", "config_file": str(path)}]},
    ]
    queue_of(path).write_text(json.dumps(sets))
    assert apply_queued_changes(path, load_config(path).globals, notes) == ("main",)
    assert json.loads(queue_of(path).read_text()) == sets[:1]
    assert "cannot change section [main]" in notes.lines[0]


def test_a_file_that_has_gone_is_replaced_by_the_automatic_one(path, notes, tmp_path):
    change = {"key": "slot_name", "value": "s", "config_file": str(tmp_path / "gone.conf")}
    queue_of(path).write_text(json.dumps([{"section": "main", "changes_set": [change]}]))
    apply_queued_changes(path, load_config(path).globals, notes)
    assert load_config(path).servers["main"].settings.slot_name == "s"


def test_a_file_behind_a_symbolic_link_stays_behind_it(tmp_path, notes):
    real = write_configuration(tmp_path, SERVER)
    link = tmp_path / "link.conf"
    link.symlink_to(real)
    update(link, notes, main(conninfo="host=l"))
    assert link.is_symlink()
    assert "host=l" in real.read_text()


def test_only_one_changes_the_configuration_at_a_time(path, notes):
    settings = load_config(path).globals
    with config_update_lock(settings.barman_lock_directory), pytest.raises(LockBusy):
        update(path, notes, main(conninfo="host=z"))
