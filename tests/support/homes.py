"""A barman installation for tests: configuration files, barman_home, and barman itself run on them."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.places import PROJECT, is_open_to_all
from tests.support.processes import environment, processes_of, run, start, wait_until
from tests.support.users import give, unprivileged_user

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping

    from tests.support.clusters import Cluster
    from tests.support.processes import Result


def our_programs() -> Path:
    """The directory of barman, barman-wal-archive and barman-wal-restore under test; must be open to all users."""
    bindir = Path(sys.executable).parent
    if not (bindir / "barman").exists():
        raise AssertionError(f"no barman beside {sys.executable}: install the project there, or run scripts/test")
    if os.geteuid() == 0 and not (is_open_to_all(bindir) and is_open_to_all(PROJECT)):
        raise AssertionError(f"other users cannot enter {bindir} or {PROJECT}: run scripts/test, which copes with it")
    return bindir


# what a login over ssh to this very machine does, without a daemon, keys and host names
_LOCAL_SSH = """#!/bin/sh
while :; do
    case $1 in
        -[op]) shift 2 ;;
        -*) shift ;;
        *) break ;;
    esac
done
shift
PATH={programs}:$PATH
exec sh -c "$*"
"""


class BarmanHome:
    """One configuration and catalogue, and the programs that work on them, run as the unprivileged user."""

    def __init__(self, directory: Path, *, programs: Path | None = None, **options: object) -> None:
        """directory: a new one, ours. programs: where barman is (default: ours). options: for the [barman] section."""
        self.directory = directory
        self.programs = programs or our_programs()
        self.path = directory / "home"
        self.conf = directory / "barman.conf"
        self.conf_d = directory / "barman.d"
        self.log = directory / "barman.log"
        for made in (directory, self.path, self.conf_d):
            made.mkdir(exist_ok=True)
            give(made, 0o755)
        self._globals: dict[str, object] = {
            "barman_user": unprivileged_user().pw_name,
            "barman_home": self.path,
            "configuration_files_directory": self.conf_d,
            "log_file": self.log,
            "log_level": "DEBUG",
        }
        self.set(**options)

    def set(self, **options: object) -> None:
        """Change the [barman] section; None removes an option."""
        self._globals |= options
        _write_section(self.conf, "barman", self._globals)

    def server(self, name: str = "main", **options: object) -> BarmanServer:
        """Add a server with just these options, or replace it."""
        return BarmanServer(self, name, options)

    def streaming(self, cluster: Cluster, name: str = "main", **options: object) -> BarmanServer:
        """Add a server of the postgres method that streams WAL over a slot of its own; options go on top."""
        slot = "barman_" + re.sub(r"\W", "_", name)
        wal = {"streaming_archiver": "on", "slot_name": slot, "create_slot": "auto"}
        return self.server(name, **{**_connected(cluster), **wal, **options})

    def archiving(self, cluster: Cluster, name: str = "main", **options: object) -> BarmanServer:
        """Add a server of the postgres method and have its cluster send WAL with barman-wal-archive; restarts it."""
        server = self.server(name, **{**_connected(cluster), "archiver": "on", **options})
        cluster.archive_with(server.archive_command())
        return server

    def delivering(self, cluster: Cluster, name: str = "main", **options: object) -> BarmanServer:
        """Add a server of the postgres method whose cluster copies WAL into incoming/ itself; it has archived some."""
        server = self.server(name, **{**_connected(cluster), "archiver": "on", **options})
        server.run("check", check=False)
        cluster.archive_with(server.copy_command())
        server.close_and_archive(cluster)
        return server

    def copying(
        self, cluster: Cluster, name: str = "main", *, ssh: str | None = None, **options: object
    ) -> BarmanServer:
        """Add a server that is backed up by copying its files, and streams WAL; ssh: over this command (rsync)."""
        method = {"backup_method": "local-rsync"} if ssh is None else {"backup_method": "rsync", "ssh_command": ssh}
        return self.streaming(cluster, name, **{**method, **options})

    # -- running

    def environment(self, **extra: str) -> dict[str, str]:
        """The environment barman runs in: programs and configuration are found, as in the shell of an operator."""
        mine = environment(self.directory)
        return mine | {"PATH": f"{self.programs}:{mine['PATH']}", "BARMAN_CONFIG_FILE": str(self.conf)} | extra

    def argv(self, *words: object, program: str = "barman") -> list[str]:
        """The command line of barman with this configuration."""
        return [str(self.programs / program), "-c", str(self.conf), *(str(word) for word in words)]

    def run(
        self,
        *words: object,
        check: bool = True,
        timeout_s: float = 180,
        stdin: str | bytes = b"",
        env: Mapping[str, str] | None = None,
    ) -> Result:
        """Run `barman -c CONF WORDS…`; with check, any other exit status than 0 is an AssertionError."""
        env = env or self.environment()
        return run(self.argv(*words), env=env, cwd=self.directory, check=check, timeout_s=timeout_s, stdin=stdin)

    def json(self, *words: object) -> Any:
        """Run `barman -f json WORDS…` and return the parsed output."""
        return self.run("-f", "json", *words).json()

    def start(self, *words: object, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start barman and return the running process; the caller waits for it."""
        return start(self.argv(*words), env=env or self.environment(), cwd=self.directory)

    def cron(self) -> Result:
        """Run cron once and wait for what it started, WAL receivers excepted."""
        result = self.run("cron")
        wait_until(lambda: not self._background(), "what cron started ends", timeout_s=120)
        return result

    def receivers(self) -> dict[int, str]:
        """The running WAL receivers of this installation, by pid with command line."""
        return {pid: words for pid, words in processes_of(self.directory).items() if _is_receiver(words)}

    def log_text(self) -> str:
        """The log file so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _background(self) -> dict[int, str]:
        mine = processes_of(self.directory)
        return {pid: words for pid, words in mine.items() if str(self.conf) in words and not _is_receiver(words)}


class BarmanServer:
    """One configured server of a BarmanHome."""

    def __init__(self, home: BarmanHome, name: str, options: Mapping[str, object]) -> None:
        """options: of its section."""
        self.home = home
        self.name = name
        self._options = dict(options)
        self.set()

    @property
    def directory(self) -> Path:
        """Its backup directory, unless configured elsewhere."""
        return self.home.path / self.name

    @property
    def base(self) -> Path:
        """Where its base backups are."""
        return self.directory / "base"

    @property
    def wals(self) -> Path:
        """Its WAL archive."""
        return self.directory / "wals"

    @property
    def incoming(self) -> Path:
        """Where archive_command delivers."""
        return self.directory / "incoming"

    @property
    def streaming(self) -> Path:
        """Where pg_receivewal writes."""
        return self.directory / "streaming"

    def set(self, **options: object) -> None:
        """Change its section; None removes an option."""
        self._options |= options
        _write_section(self.home.conf_d / f"{self.name}.conf", self.name, self._options)

    def run(self, command: str, *words: object, check: bool = True, timeout_s: float = 180) -> Result:
        """Run `barman COMMAND NAME WORDS…`."""
        return self.home.run(command, self.name, *words, check=check, timeout_s=timeout_s)

    def json(self, command: str, *words: object) -> Any:
        """Run `barman -f json COMMAND NAME WORDS…` and return the parsed output."""
        return self.home.json(command, self.name, *words)

    def archive_command(self) -> str:
        """An archive_command that delivers to this server with barman-wal-archive, over an ssh that stays here."""
        bindir = self.home.directory / "bin"
        ssh = bindir / "ssh"
        if not ssh.exists():
            bindir.mkdir()
            ssh.write_text(_LOCAL_SSH.format(programs=self.home.programs))
            ssh.chmod(0o755)
        command = self.home.argv("localhost", self.name, "%p", program="barman-wal-archive")
        return f"PATH={bindir}:$PATH " + " ".join(command)

    def copy_command(self) -> str:
        """An archive_command that delivers to this server with cp; it may be killed, and called again, at any time."""
        return f"cp %p {self.directory}/%f.copy && mv {self.directory}/%f.copy {self.incoming}/%f"

    def backup(self, *words: object) -> str:
        """Take a backup and return its id."""
        self.run("backup", *words)
        return self.backup_ids()[-1]

    def backup_ids(self) -> list[str]:
        """The ids of its backups, oldest first."""
        return sorted(one["backup_id"] for one in self.json("list-backups")[self.name])

    def archived_wals(self) -> list[str]:
        """The names of the files in its WAL archive, history files included, sorted."""
        return sorted(
            path.name for path in self.wals.rglob("*") if path.is_file() and not path.name.endswith("xlog.db")
        )

    def restore(self, backup_id: str, destination: Path, *words: object) -> Path:
        """Restore a backup into destination, whose parents are made for the unprivileged user; return destination."""
        destination.parent.mkdir(parents=True, exist_ok=True)
        give(destination.parent)
        self.run("restore", backup_id, destination, *words)
        return destination

    def start_streaming(self, cluster: Cluster) -> None:
        """Have cron start the receiver and wait until it streams."""
        self.home.cron()
        streaming = (
            "select count(*) from pg_stat_replication where state = 'streaming' and application_name ~ 'receive_wal'"
        )
        wait_until(lambda: cluster.value(streaming) > 0, "WAL is being streamed")

    def archive_up_to(self, segment: str, *, timeout_s: float = 60) -> None:
        """Run archive-wal until the WAL archive holds segment."""

        def arrived() -> bool:
            self.run("archive-wal")
            return segment in self.archived_wals()

        wait_until(arrived, f"{segment} in the WAL archive", timeout_s=timeout_s, step_s=0.2)

    def close_and_archive(self, cluster: Cluster) -> str:
        """Close the cluster's current segment, have it archived, and return its name."""
        segment = cluster.switch_wal()
        self.archive_up_to(segment)
        return segment


def _connected(cluster: Cluster) -> dict[str, object]:
    return {
        "description": f"PostgreSQL {cluster.major}",
        "conninfo": cluster.conninfo(),
        "streaming_conninfo": cluster.streaming_conninfo(),
        "backup_method": "postgres",
        "path_prefix": cluster.installation.tools,
        "immediate_checkpoint": "true",
    }


def _write_section(path: Path, section: str, options: Mapping[str, object]) -> None:
    lines = [f"[{section}]", *(f"{name} = {value}" for name, value in options.items() if value is not None)]
    path.write_text("\n".join(lines) + "\n")
    give(path, 0o644)


def _is_receiver(words: str) -> bool:
    return "receive-wal" in words or "pg_receivewal" in words
