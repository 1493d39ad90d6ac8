"""Passive nodes for tests: servers copied from others over ssh, on this very machine."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from tests.support.sshd import Sshd

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.homes import BarmanHome, BarmanServer


def login_to(home: BarmanHome) -> Sshd:
    """Start an sshd whose logins find the programs and the configuration of an installation, as its host's would."""
    variables = {"PATH": f"{home.programs}:{os.environ['PATH']}", "BARMAN_CONFIG_FILE": home.conf}
    return Sshd(home.directory / "sshd", **variables)


def passive_server(home: BarmanHome, primary: BarmanServer, sshd: Sshd, **options: object) -> BarmanServer:
    """Add a server to home that is copied from primary, whose installation is reached by sshd."""
    # The reference leaves the trust in a new host to the user.
    command = sshd.command.replace("-F none", "-F none -o StrictHostKeyChecking=no")
    return home.server(primary.name, **{"description": "a copy", "primary_ssh_command": command, **options})


def tree(directory: Path) -> dict[str, tuple[object, ...]]:
    """Return what is below a directory: kind, mode, and content; of links only that they are."""
    found: dict[str, tuple[object, ...]] = {}
    for parent, directories, names in os.walk(directory):
        for name in (*directories, *names):
            path = os.path.join(parent, name)
            status = os.lstat(path)
            key = os.path.relpath(path, directory)
            if stat.S_ISLNK(status.st_mode):
                found[key] = ("link",)
            elif stat.S_ISDIR(status.st_mode):
                found[key] = ("directory", stat.S_IMODE(status.st_mode))
            else:
                with open(path, "rb") as file:
                    found[key] = ("file", stat.S_IMODE(status.st_mode), int(status.st_mtime), file.read())
    return found


def archive(server: BarmanServer) -> dict[str, bytes]:
    """Return the files of a WAL archive with their content, by name."""
    return {
        path.name: path.read_bytes()
        for path in server.wals.rglob("*")
        if path.is_file() and path.name not in {f"{server.name}-xlog.db", "sync-wals.info"}
    }
