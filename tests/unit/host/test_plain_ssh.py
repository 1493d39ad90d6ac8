"""Which logins are so plain that a library does them as OpenSSH would."""

from __future__ import annotations

import shlex

import pytest

from barman.host.plain_ssh import Login, find_obstacle, plan_login

_USUAL = {
    "hostname": "localhost",
    "port": "22",
    "user": "barman",
    "ciphers": "a,b",
    "identityfile": "~/.ssh/id_rsa\n~/.ssh/id_ed25519",
    "userknownhostsfile": "/home/barman/.ssh/known_hosts /home/barman/.ssh/known_hosts2",
    "globalknownhostsfile": "/etc/ssh/ssh_known_hosts",
    "connecttimeout": "none",
    "stricthostkeychecking": "ask",
}


def _obstacle(command, **told):
    return find_obstacle(shlex.split(command), _USUAL | told, _USUAL)


@pytest.mark.parametrize(
    "command",
    [
        "ssh barman@pg",
        "/usr/bin/ssh -p 2222 -l barman -i /key pg",
        "ssh -p2222 pg -o BatchMode=yes -oPort=3",
        "ssh -q -T -xa -F none pg",
    ],
)
def test_options_that_are_understood_are_no_obstacle(command):
    assert _obstacle(command) is None


@pytest.mark.parametrize(
    "command",
    ["ssh", "ssh pg sudo", "ssh -J jump pg", "ssh -A pg", "ssh -W a:1 pg", "ssh -- pg", "ssh - pg", "ssh pg -p"],
)
def test_any_other_call_is_openssh_s(command):
    assert _obstacle(command) == "the command is more than options and a host"


@pytest.mark.parametrize(
    "told",
    [
        {"proxyjump": "gate"},
        {"proxycommand": "nc %h %p"},
        {"remotecommand": "x"},
        {"controlpath": "/run/ssh-%C"},
        {"certificatefile": "~/cert"},
        {"identityagent": "/run/agent"},
        {"ciphers": "a"},
        {"pkcs11provider": "/usr/lib/token.so"},
        {"hostkeyalias": "other"},
        {"identityfile": "~/.ssh/%h"},
        {"userknownhostsfile": "/home/a b/known_hosts\n${HOME}/x"},
        {"userknownhostsfile": "none"},
        {"something-new": "yes"},
    ],
    ids=str,
)
def test_a_configuration_that_is_not_understood_is_openssh_s(told):
    name = next(iter(told))
    assert (_obstacle("ssh pg", **told) or "").startswith(f"the configuration says {name} ")


def test_an_option_that_is_not_told_any_more_is_an_obstacle():
    told = {name: value for name, value in _USUAL.items() if name != "ciphers"}
    assert find_obstacle(["ssh", "pg"], told, _USUAL) == "the configuration says ciphers nothing"


def test_an_ssh_that_does_not_tell_logs_in_itself():
    assert find_obstacle(["ssh", "pg"], {}, {}) == "ssh does not tell its configuration"


def test_a_plain_login_takes_over_what_is_told():
    told = _USUAL | {
        "hostname": "10.0.0.1",
        "port": "2222",
        "connecttimeout": "7",
        "sendenv": "LANG\nLC_*",
        "setenv": "A=b=c",
        "gssapiauthentication": "yes",
        "identitiesonly": "yes",
    }

    assert find_obstacle(["ssh", "pg"], told, _USUAL) is None
    assert plan_login(told, "/home/barman") == Login(
        host="10.0.0.1",
        port=2222,
        user="barman",
        identities=("/home/barman/.ssh/id_rsa", "/home/barman/.ssh/id_ed25519"),
        agent=False,
        known_hosts=(
            "/home/barman/.ssh/known_hosts",
            "/home/barman/.ssh/known_hosts2",
            "/etc/ssh/ssh_known_hosts",
        ),
        connect_timeout_s=7,
        send=("LANG", "LC_*"),
        variables=(("A", "b=c"),),
    )
