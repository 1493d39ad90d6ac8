from __future__ import annotations

import os
import pwd
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest

from barman.restore.access import Origin
from barman.restore.origin import find_origin
from barman.restore.request import RestoreRequest


@dataclass
class _Server:
    name: str = "main"
    config_path: Path = Path("/srv/barman.conf")


@dataclass
class _Settings:
    parallel_jobs: int = 3


def _find(**changes):
    server = _Server(**{name: changes.pop(name) for name in ("config_path",) if name in changes})
    return find_origin(server, RestoreRequest("latest", Path("/new"), **changes), _Settings())


def test_here_barman_is_a_program_with_its_configuration():
    assert _find() == Origin("main", ("barman", "-c", "/srv/barman.conf"))


@pytest.mark.parametrize(
    ("config", "told"), [("/srv/barman.conf", "/srv/barman.conf"), ("/etc/barman.conf", None)], ids=["own", "usual"]
)
def test_elsewhere_it_is_a_user_on_a_host(config, told):
    origin = _find(remote_ssh_command="ssh db", config_path=Path(config))
    assert origin.user == pwd.getpwuid(os.geteuid()).pw_name
    assert origin.jobs == 3
    assert origin.config_path == told


def test_the_name_of_this_host_is_never_one_that_means_themselves_to_others(monkeypatch):
    monkeypatch.setattr(socket, "getfqdn", lambda: "localhost.localdomain")
    assert _find(remote_ssh_command="ssh db").host == socket.gethostname()
