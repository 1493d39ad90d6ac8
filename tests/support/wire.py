"""A Barman host and a PostgreSQL host that are this machine, joined by an ssh of our own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tests.support.places import PROJECT
from tests.support.settings import write_configuration

if TYPE_CHECKING:
    from pathlib import Path

SERVER = "[main]\nconninfo = host=a\nbackup_method = postgres\narchiver = on\n"

ALIVE = "-o ConnectTimeout=30 -o ServerAliveInterval=10 -o ServerAliveCountMax=3 "
"""Begins the words given to ssh: a connection that no longer answers is given up."""

# down, short, silent, lost and ended are hosts with a trouble each
_SSH = """#!/bin/sh
case " $* " in *" -G "*) exit 0 ;; esac
printf '%s\\n' "$*" >> {log}
while [ "$1" != -T ]; do shift; done
case "$2" in *@down) exit 255 ;; *@short) head -c 1000 /dev/zero; exit 0 ;; *@silent) exit 0 ;; *@lost) exit 1 ;;
*@ended) exit 143 ;; esac
shift 3
exec sh -c "exec {program} $*"
"""


class Site:
    """program: the barman on the far side, as shell words; the one of this checkout if not given."""

    def __init__(self, root: Path, program: str | None = None) -> None:
        self.root = root
        self.conf = write_configuration(root, SERVER, globals_text=f"log_file = {root}/barman.log")
        self.main = root / "home" / "main"
        self.log = root / "ssh.log"
        self.destination = root / "RECOVERYXLOG"
        self.spool = root / "spool"
        far = root / "far_barman.py"
        far.write_text(
            f"import sys\nsys.path.insert(0, {str(PROJECT)!r})\n"
            "import barman.entrypoints\nsys.exit(barman.entrypoints.barman())\n"
        )
        ssh = root / "ssh"
        ssh.write_text(_SSH.format(log=self.log, program=program or f"{sys.executable} {far}"))
        ssh.chmod(0o755)
        for name in ("incoming", "streaming", "wals", "errors", "base"):
            (self.main / name).mkdir(parents=True)

    def archive(self, name: str, content: bytes) -> None:
        """Put a file into the WAL archive."""
        directory = self.main / "wals" / ("" if name.endswith(".history") else name[:16])
        directory.mkdir(exist_ok=True)
        (directory / name).write_bytes(content)

    def calls(self) -> list[str]:
        """Return the words given to ssh, a line for each call."""
        return self.log.read_text().splitlines() if self.log.exists() else []

    def incoming(self) -> dict[str, bytes]:
        """Return what was received, by name."""
        return {path.name: path.read_bytes() for path in (self.main / "incoming").iterdir()}
