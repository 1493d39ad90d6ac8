"""What is OpenSSH's own in a login; tests/contract/test_remote.py holds what both ways to log in do."""

from __future__ import annotations

import os
import shlex

import pytest

from barman.errors import CommandError
from barman.host import rsync
from barman.host.rsync_watch import run_rsync
from barman.host.session import open_session


def test_every_lane_is_a_login_of_its_own(sshd):
    with open_session(sshd.command, env=os.environ, logins=2) as session:
        for lane in session.lanes:
            assert session.run(["echo", "here"], lane=lane).stdout == "here\n"

    assert sshd.logins() == 2


def test_an_ssh_command_that_is_a_script_logs_in_for_every_program(sshd, scratch):
    script = scratch / "connect"
    script.write_text(f'#!/bin/sh\nexec {sshd.command} "$@"\n')
    script.chmod(0o755)

    with open_session(str(script), env=os.environ) as session:
        assert session.run(["echo", "a  b"]).stdout == "a  b\n"
        assert session.run(["cat"], input=b"c").stdout == "c"

    assert sshd.logins() == 2


def test_what_the_user_chose_stays_chosen(sshd):
    chosen = sshd.command.replace(" -p ", " -o Ciphers=aes256-ctr -o StrictHostKeyChecking=yes -p ")

    with pytest.raises(CommandError, match="Host key verification failed"), open_session(chosen, env=os.environ):
        pass
    with open_session(sshd.command, env=os.environ) as session:
        words = shlex.split(session.lanes[0])
        assert "StrictHostKeyChecking=accept-new" in words
    with open_session(chosen, env=os.environ) as session:
        assert not [word for word in shlex.split(session.lanes[0]) if "accept-new" in word or "aes128-gcm" in word]


def test_what_stands_after_the_host_is_put_before_every_program_there(sshd, scratch):
    tree = scratch / "tree"
    tree.mkdir()
    (tree / "file").write_text("text")

    with open_session(f"{sshd.command} env MARK=here", env=os.environ) as session:
        assert session.run(["sh", "-c", 'echo "$MARK"']).stdout == "here\n"
        lines = []
        run_rsync(
            rsync.list_argv(rsync.Source(os.fspath(tree), session.lanes[0]), ()),
            None,
            env=os.environ,
            on_line=lines.append,
        )
        assert [entry.name for line in lines if (entry := rsync.parse_entry(line))] == [".", "file"]

    assert sshd.logins() == 1
