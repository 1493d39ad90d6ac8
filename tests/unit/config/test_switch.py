"""config-switch: applying models and taking them back."""

from __future__ import annotations

import pytest

from barman.config.load import load_config
from barman.config.switch import apply_model, reset_model
from barman.errors import ConfigError, Refused, UserError
from tests.support.settings import write_configuration
from tests.unit.config.test_changes import Notes

TEXT = """
[main]
conninfo = host=a
archiver = on
backup_method = postgres
[main:m]
model = true
cluster = main
conninfo = host=b
parallel_jobs = 1
[other:m]
model = true
cluster = other
conninfo = host=c
"""


@pytest.fixture
def path(tmp_path):
    return write_configuration(tmp_path, TEXT)


def switch(path, model):
    notes, config = Notes(), load_config(path)
    apply_model(config, config.servers["main"], model, notes)
    return notes.lines


def test_an_applied_model_is_remembered_and_its_changes_are_told(path):
    assert switch(path, "main:m") == [
        "Applying model 'main:m' to server 'main'",
        "Changing value of option 'conninfo' for server 'main' from 'host=a' to 'host=b' through the model 'main:m'",
    ]
    server = load_config(path).servers["main"]
    assert (server.active_model, server.settings.conninfo) == ("main:m", "host=b")


def test_a_model_that_is_active_is_not_applied_again(path):
    switch(path, "main:m")
    assert switch(path, "main:m") == ["Model 'main:m' is already active for server 'main', skipping..."]


def test_reset_forgets_the_model_and_may_be_repeated(path):
    switch(path, "main:m")
    for _ in range(2):
        reset_model(load_config(path).servers["main"], Notes())
        assert load_config(path).servers["main"].active_model is None


def test_a_model_of_another_cluster_is_refused(path):
    with pytest.raises(Refused, match="cluster = other"):
        switch(path, "other:m")


def test_an_unknown_model_is_an_error(path):
    with pytest.raises(UserError, match="nosuch"):
        switch(path, "nosuch")


def test_a_state_file_that_cannot_be_written_is_named(path):
    (path.parent / "home" / "main").write_text("a file in the way")
    with pytest.raises(ConfigError, match="cannot remember"):
        switch(path, "main:m")
