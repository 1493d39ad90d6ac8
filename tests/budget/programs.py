"""Run one of the project's programs in a fresh interpreter and see what it loaded."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from dataclasses import dataclass, field

from tests.support.places import PROJECT

_PROBE = """
import atexit, os, sys
before = frozenset(sys.modules)
where, entry = sys.argv[1:3]
del sys.argv[1:3]
def tell():
    with open(where, "w") as file:
        file.write("\\n".join(sorted(set(sys.modules) - before)))
atexit.register(tell)
leave = os._exit
os._exit = lambda code: (tell(), leave(code))
sys.path.insert(0, {project!r})
import barman.entrypoints
sys.exit(getattr(barman.entrypoints, entry)())
"""


@dataclass(frozen=True)
class Run:
    """How it ended. loaded: the modules it imported, beyond those of a bare interpreter."""

    status: int
    stdout: str
    stderr: str
    loaded: frozenset[str] = field(repr=False)

    def loads(self, package: str) -> bool:
        """Whether package or anything in it was loaded."""
        return any(name == package or name.startswith(f"{package}.") for name in self.loaded)


def run_program(scratch, *words, entry="barman", stdin=b""):
    """Run entry (a function of barman.entrypoints) with the command line words; scratch: a directory for notes."""
    notes = scratch / "loaded"
    environment = {"PATH": os.environ["PATH"], "HOME": str(scratch), "LC_ALL": "C.UTF-8"}
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _startup(), str(notes), entry, *(str(word) for word in words)],
        input=stdin,
        capture_output=True,
        env=environment,
        cwd=scratch,
        timeout=60,
        check=False,
    )
    loaded = frozenset(notes.read_text().split("\n"))
    return Run(ended.returncode, ended.stdout.decode(errors="replace"), ended.stderr.decode(), loaded)


def write_configuration(scratch, **options):
    """Write a configuration with one server, main, that has no backups and no PostgreSQL; return its path."""
    home = scratch / "home"
    home.mkdir(exist_ok=True)
    server = {
        "conninfo": f"host={scratch} user=barman dbname=postgres",
        "streaming_conninfo": f"host={scratch} user=barman",
        "backup_method": "postgres",
        "archiver": "on",
        "retention_policy": "REDUNDANCY 2",
        **options,
    }
    conf = scratch / "barman.conf"
    lines = [
        "[barman]",
        f"barman_user = {pwd.getpwuid(os.geteuid()).pw_name}",
        f"barman_home = {home}",
        f"log_file = {scratch / 'barman.log'}",
        "[main]",
        *(f"{name} = {value}" for name, value in server.items()),
    ]
    conf.write_text("\n".join(lines) + "\n")
    return conf


def _startup():
    # -S keeps modules out that the site-packages of one machine happen to load at start; the path is ours to give
    return f"import sys; sys.path[:] = {sys.path!r}\n" + _PROBE.format(project=str(PROJECT))
