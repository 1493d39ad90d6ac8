"""Logins that are begun before they are needed."""

from __future__ import annotations

import os

import pytest

from barman.errors import Unreachable
from barman.host.ssh import Logins, parse_ssh_command
from tests.support.processes import wait_until


@pytest.fixture
def logins(sshd):
    """Logins on this host that are not begun."""
    with Logins(parse_ssh_command(sshd.command), env=os.environ) as made:
        yield made


def test_nobody_is_logged_in_before_it_is_asked_for(logins, sshd):
    assert sshd.logins() == 0
    logins.begin()
    wait_until(lambda: sshd.logins() == 1, "somebody is logged in")
    assert logins.run("echo here", timeout_s=60).stdout == "here\n"
    assert len(set(logins.lanes(3))) == 3
    assert logins.run("echo there", timeout_s=60).stdout == "there\n"
    assert sshd.logins() == 3


def test_a_login_that_was_lost_is_made_again(logins, sshd):
    lost = logins.lanes()
    for pid in sshd.sessions():
        os.kill(pid, 9)
    wait_until(lambda: logins.lanes() != lost, "another login is made")
    assert logins.run("echo here", timeout_s=60).stdout == "here\n"


def test_who_is_not_let_in_is_told_once_for_each_time_he_asks(sshd):
    command = sshd.command.replace("ssh ", "ssh -o StrictHostKeyChecking=yes ", 1)
    with Logins(parse_ssh_command(command), env=os.environ) as logins:
        logins.begin()
        for _ in range(2):
            with pytest.raises(Unreachable, match=r"cannot log in to .*@127\.0\.0\.1: Host key verification failed"):
                logins.lanes()


def test_a_host_that_does_not_let_us_in_is_named_once(sshd):
    command = sshd.command.replace("user_key ", "known_hosts ")
    with Logins(parse_ssh_command(command), env=os.environ) as logins, pytest.raises(Unreachable) as failed:
        logins.lanes()
    assert failed.value.message.count("@127.0.0.1") == 1
    assert "Permission denied" in failed.value.message


def test_logins_end_with_the_block_and_whatever_was_begun(sshd):
    with Logins(parse_ssh_command(sshd.command), env=os.environ) as logins:
        logins.begin(2)
    with Logins(parse_ssh_command(sshd.command), env=os.environ) as logins:
        logins.lanes(2)
    wait_until(lambda: not sshd.sessions(), "all sessions have ended")
