"""Pure: whether a login is so plain that a library does it just as OpenSSH would.

The user's configuration is not read here: `ssh -G` has told what OpenSSH makes of it. Whatever is not known below to
make no difference is left to OpenSSH.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# What a plain call of ssh may hold besides the host. Source: ssh(1).
_WITH_VALUE = frozenset("Filop")
_FLAGS = frozenset("aqTx")
_KNOWN_HOSTS = ("userknownhostsfile", "globalknownhostsfile")
# What the login below takes over.
_TAKEN_OVER = {
    "connecttimeout", "globalknownhostsfile", "host", "hostname", "identitiesonly", "identityfile", "port", "sendenv",
    "setenv", "user", "userknownhostsfile",
}  # fmt: skip
# What makes no difference to programs run over a login with a key, on a host whose key is known. With Kerberos
# (GSSAPI) a key that is let in is as good; if none is, OpenSSH has its try.
_INDIFFERENT = {
    "addkeystoagent", "batchmode", "checkhostip", "compression", "connectionattempts", "controlpersist", "escapechar",
    "fingerprinthash", "forwardx11", "forwardx11timeout", "forwardx11trusted", "gssapiauthentication",
    "gssapidelegatecredentials", "gssapikeyexchange", "hashknownhosts", "ipqos", "kbdinteractiveauthentication",
    "loglevel", "numberofpasswordprompts", "passwordauthentication", "rekeylimit", "serveralivecountmax",
    "serveraliveinterval", "stricthostkeychecking", "tcpkeepalive", "updatehostkeys", "visualhostkey", "xauthlocation",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Login:
    """How to log in.

    identities, known_hosts: paths, of files that may not be there. agent: whether its keys may be used, too.
    connect_timeout_s: None if the user chose none. send: names of environment variables, or patterns of them.
    variables: names and values of others.
    """

    host: str
    port: int
    user: str
    identities: tuple[str, ...]
    agent: bool
    known_hosts: tuple[str, ...]
    connect_timeout_s: int | None
    send: tuple[str, ...]
    variables: tuple[tuple[str, str], ...]


def find_obstacle(argv: Sequence[str], told: Mapping[str, str], usual: Mapping[str, str]) -> str | None:
    """Return why the login is OpenSSH's to do; None if it is plain.

    argv: the ssh command. told, usual: what ssh.ask_configuration says of it, and of nothing in particular.
    """
    if not _is_plain_call(argv):
        return "the command is more than options and a host"
    if not told or not usual:
        return "ssh does not tell its configuration"
    for name in sorted(told.keys() | usual.keys()):
        if name not in _TAKEN_OVER | _INDIFFERENT and told.get(name) != usual.get(name):
            return f"the configuration says {name} {told.get(name, 'nothing')}"
    paths = {"identityfile": _lines(told, "identityfile")} | {name: _words(told, name) for name in _KNOWN_HOSTS}
    for name, values in paths.items():
        if any("%" in value or "$" in value or not value.startswith(("/", "~/")) for value in values):
            return f"the configuration says {name} {told[name]}"
    return None


def plan_login(told: Mapping[str, str], home: str) -> Login:
    """Return the login for what ssh -G told, if find_obstacle found none. home: the user's, which ~ stands for."""
    known = [path for name in _KNOWN_HOSTS for path in _words(told, name)]
    timeout = told.get("connecttimeout", "none")
    return Login(
        host=told["hostname"],
        port=int(told["port"]),
        user=told["user"],
        identities=tuple(_expanded(path, home) for path in _lines(told, "identityfile")),
        agent=told.get("identitiesonly") != "yes",
        known_hosts=tuple(_expanded(path, home) for path in known),
        connect_timeout_s=int(timeout) if timeout.isdigit() and timeout != "0" else None,
        send=tuple(_words(told, "sendenv")),
        variables=tuple(
            (name, value) for name, found, value in (line.partition("=") for line in _lines(told, "setenv")) if found
        ),
    )


def _is_plain_call(argv: Sequence[str]) -> bool:
    """Whether argv is ssh, options that are understood, and one host among them."""
    hosts = 0
    words = iter(argv[1:])
    for word in words:
        if not word.startswith("-"):
            hosts += 1
        elif word[1:2] in _WITH_VALUE and word[1:]:
            if len(word) == 2 and next(words, None) is None:
                return False
        elif not word[1:] or not _FLAGS.issuperset(word[1:]):
            return False
    return hosts == 1


def _lines(told: Mapping[str, str], name: str) -> list[str]:
    return told[name].split("\n") if name in told else []


def _words(told: Mapping[str, str], name: str) -> list[str]:
    return told.get(name, "").split()


def _expanded(path: str, home: str) -> str:
    return posixpath.join(home, path[2:]) if path.startswith("~/") else path
