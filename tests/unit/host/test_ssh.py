"""What is added to the ssh command of the configuration, and what is left to the user."""

from __future__ import annotations

import os
import shutil

import pytest

from barman.errors import CommandError, Unreachable
from barman.host.session import open_session
from barman.host.ssh import Logins, parse_ssh_command

pytestmark = pytest.mark.skipif(shutil.which("ssh") is None, reason="ssh is not installed")


def test_a_host_that_does_not_answer_is_given_up_before_long():
    assert "ConnectTimeout=20" in parse_ssh_command("ssh -F none barman@backup1").words()


@pytest.mark.parametrize(
    "command",
    [
        pytest.param("ssh -F none -o ConnectTimeout=90 backup1", id="on the command line"),
        pytest.param("ssh -F {file} backup1", id="in the configuration of ssh"),
    ],
)
def test_who_has_chosen_how_long_to_wait_is_obeyed(tmp_path, command):
    file = tmp_path / "config"
    file.write_text("ConnectTimeout 90\n")
    words = parse_ssh_command(command.format(file=file)).words()
    assert "ConnectTimeout=20" not in words


@pytest.mark.parametrize("command", ["ssh --foo barman@backup1", "ssh -F none -q"])
def test_a_command_that_ssh_does_not_understand_is_told_in_one_line(command):
    with Logins(parse_ssh_command(command), env=os.environ) as logins, pytest.raises(Unreachable) as failed:
        logins.lanes()
    assert "destination" not in failed.value.message
    assert "cannot log in to" in failed.value.message
    assert "unknown option" in failed.value.message or "does not understand" in failed.value.message
    assert str(failed.value.hint).endswith(f": {command} true")


def test_a_program_that_is_not_there_is_named():
    with (
        pytest.raises(CommandError, match="cannot log in to backup1: there is no program 'nowhere' here"),
        open_session("nowhere backup1", env=os.environ),
    ):
        pass


@pytest.mark.parametrize(
    "command",
    [
        "ssh barman@backup1",
        "ssh barman@backup1 -p 2222",
        "ssh -p 2222 -qi ~/.ssh/key barman@backup1 -o ConnectTimeout=5",
        "/usr/bin/ssh -p2222 -oUser=x -q barman@backup1 -J gate",
        "/opt/login -p 2222 barman@backup1",
        "ssh barman@backup1 -p 2222 sudo -u postgres",
    ],
)
def test_messages_name_the_host_wherever_it_stands_in_the_command(command):
    assert parse_ssh_command(command).name == "barman@backup1"


@pytest.mark.parametrize(
    ("command", "prefix"),
    [
        pytest.param("ssh -F none -p 2222 backup1", (), id="nothing"),
        pytest.param("ssh -F none backup1 -p 2222 sudo -n -u postgres", ("sudo", "-n", "-u", "postgres"), id="program"),
        pytest.param("ssh -F none backup1 PATH=/opt/bin:$PATH", ("PATH=/opt/bin:$PATH",), id="variable"),
    ],
)
def test_words_after_the_host_come_before_every_command_and_after_all_options(command, prefix):
    words = parse_ssh_command(command).words("-o", "ControlMaster=no")
    assert words[1:3] == ["-F", "none"]
    assert words[len(words) - len(prefix) - 1 :] == ["ControlMaster=no", *prefix]


def test_a_shell_command_is_one_word_for_what_is_put_before_it():
    assert parse_ssh_command("ssh -F none backup1 sudo").shielded("cd / && ls") == "sh -c 'cd / && ls'"
    assert parse_ssh_command("ssh -F none backup1").shielded("cd / && ls") == "cd / && ls"
