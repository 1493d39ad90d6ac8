"""One login on another host serves everything an operation does there."""

from __future__ import annotations

import os
import shlex

import pytest

from barman.errors import CommandError, Permanent
from barman.host import runner
from barman.host.session import open_session


def _logins(sshd):
    return (sshd.directory / "sshd.log").read_text().count("Accepted publickey")


def test_programs_files_and_errors_go_over_one_login(sshd, scratch):
    place = f"{scratch}/a place of 'mine'"
    data = bytes(range(256)) * 500

    with open_session(sshd.command, env=os.environ) as session:
        session.run(["mkdir", place])
        session.write_file(f"{place}/file", data, mode=0o640)
        assert session.read_file(f"{place}/file") == data
        assert session.read_file(f"{place}/missing") is None
        assert session.script('printf "%s|" "$@"', "one  two", "$HOME", "").stdout == "one  two|$HOME||"
        assert session.run(["cat"], input=b"\0\xff\n").stdout == os.fsdecode(b"\0\xff\n")
        assert session.run(["false"], check=False).status == 1
        with pytest.raises(CommandError, match=r"^\S+@127.0.0.1: 'ls' failed: .*No such file"):
            session.run(["ls", f"{place}/missing"])
        with pytest.raises(Permanent, match="cannot write /proc/no/such on"):
            session.write_file("/proc/no/such", b"")

    assert os.stat(f"{place}/file").st_mode & 0o777 == 0o640
    assert os.listdir(place) == ["file"]
    assert _logins(sshd) == 1


def test_every_lane_is_a_login_of_its_own(sshd):
    with open_session(sshd.command, env=os.environ, logins=2) as session:
        for lane in session.lanes:
            assert session.run(["echo", "here"], lane=lane).stdout == "here\n"

    assert _logins(sshd) == 2


def test_an_ssh_command_that_is_a_script_logs_in_for_every_program(sshd, scratch):
    script = scratch / "connect"
    script.write_text(f'#!/bin/sh\nexec {sshd.command} "$@"\n')
    script.chmod(0o755)

    with open_session(str(script), env=os.environ) as session:
        assert session.run(["echo", "a  b"]).stdout == "a  b\n"
        assert session.run(["cat"], input=b"c").stdout == "c"

    assert _logins(sshd) == 2


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("ssh -F none -p 1 nobody@127.0.0.1", "Connection refused"),
        ("ssh -F none nobody@no-such-host.invalid", "Could not resolve hostname"),
        ("{command} -o IdentitiesOnly=yes -i /nonexistent", "Permission denied"),
    ],
    ids=["unreachable", "unknown", "not let in"],
)
def test_a_failed_login_names_the_host_and_the_reason(words, reason, sshd):
    command = words.format(command=sshd.command.replace(f"-i {sshd.directory}/user_key ", ""))

    with (
        pytest.raises(CommandError, match=rf"^cannot log in to \S+: .*{reason}"),
        open_session(command, env=os.environ),
    ):
        pass


def test_a_host_whose_key_has_changed_is_not_trusted(sshd):
    with open_session(sshd.command, env=os.environ):
        pass
    known = sshd.directory / "known_hosts"
    host, _, _ = known.read_text().partition(" ")
    other = (sshd.directory / "user_key.pub").read_text()
    known.write_text(f"{host} {other}")

    with (
        pytest.raises(CommandError, match=r"^cannot log in to .*: Host key verification failed"),
        open_session(sshd.command, env=os.environ),
    ):
        pass


def test_what_the_user_chose_stays_chosen(sshd):
    chosen = sshd.command.replace(" -p ", " -o Ciphers=aes256-ctr -o StrictHostKeyChecking=yes -p ")

    with pytest.raises(CommandError, match="Host key verification failed"), open_session(chosen, env=os.environ):
        pass
    with open_session(sshd.command, env=os.environ) as session:
        words = shlex.split(session.lanes[0])
        assert "StrictHostKeyChecking=accept-new" in words
    with open_session(chosen, env=os.environ) as session:
        assert not [word for word in shlex.split(session.lanes[0]) if "accept-new" in word or "aes128-gcm" in word]


def test_a_connection_that_breaks_is_a_failure_of_its_own(sshd):
    with open_session(sshd.command, env=os.environ) as session:
        pids = runner.run(["pgrep", "-P", str(sshd.pid)], timeout_s=10).stdout.split()
        with pytest.raises(CommandError, match=r"^the connection to \S+@127.0.0.1 failed: "):
            session.script('kill "$@"; sleep 20', *pids)
