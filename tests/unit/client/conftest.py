"""An ssh that connects to this host, to the barman of this checkout."""

from __future__ import annotations

import os
import sys

import pytest

from tests.support.places import PROJECT
from tests.support.settings import write_configuration

SERVER = "[main]\nconninfo = host=a\nbackup_method = postgres\narchiver = on\n"
SSH = """#!/bin/sh
printf '%s\\n' "$*" >> {log}
while [ "$1" != -T ]; do shift; done
case "$2" in *@down) exit 255 ;; *@short) head -c 1000 /dev/zero; exit 0 ;; *@silent) exit 0 ;; *@lost) exit 1 ;; esac
shift 3
exec sh -c "exec {python} {program} $*"
"""


class Site:
    """A Barman host and a PostgreSQL host that are the same. archived: name -> content of the WAL archive."""

    def __init__(self, root):
        self.root = root
        self.conf = write_configuration(root, SERVER)
        self.main = root / "home" / "main"
        self.log = root / "ssh.log"
        self.destination = root / "RECOVERYXLOG"
        self.spool = root / "spool"
        program = root / "far_barman.py"
        program.write_text(
            f"import sys\nsys.path.insert(0, {str(PROJECT)!r})\n"
            "import barman.entrypoints\nsys.exit(barman.entrypoints.barman())\n"
        )
        ssh = root / "ssh"
        ssh.write_text(SSH.format(log=self.log, python=sys.executable, program=program))
        ssh.chmod(0o755)

    def archive(self, name, content):
        directory = self.main / "wals" / name[:16]
        directory.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)

    def calls(self):
        return self.log.read_text().splitlines() if self.log.exists() else []

    def incoming(self):
        directory = self.main / "incoming"
        return {path.name: path.read_bytes() for path in directory.iterdir()} if directory.exists() else {}


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return Site(tmp_path)
