"""PostgreSQL clusters for tests: made from a template, reached over a Unix socket, gone with their test."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import threading
from typing import TYPE_CHECKING, Any

import psycopg
from filelock import FileLock

from tests.support.places import run_directory
from tests.support.processes import ProgramFailed, children_of, environment, is_alive, run, wait_until
from tests.support.users import give

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.support.installations import Installation

MIB = 1 << 20

_SETTINGS: Mapping[str, object] = {
    "listen_addresses": "",
    "fsync": "off",
    "shared_buffers": "16MB",
    # in the data directory, where nothing is left behind by a server that was killed
    "dynamic_shared_memory_type": "mmap",
    "wal_level": "replica",
    "max_wal_senders": 10,
    "max_replication_slots": 10,
    "max_wal_size": "1GB",
    "checkpoint_timeout": "30min",
    "wal_sender_timeout": "20s",
    "timezone": "UTC",
    "log_timezone": "UTC",
}

_ROLES = """
create role barman login;
create role streaming_barman login replication;
grant pg_read_all_settings, pg_read_all_stats, pg_monitor to barman;
grant execute on function pg_switch_wal(), pg_create_restore_point(text) to barman;
"""

_BACKUP_FUNCTIONS = {
    True: "pg_backup_start(text, boolean), pg_backup_stop(boolean)",
    False: "pg_start_backup(text, boolean, boolean), pg_stop_backup(), pg_stop_backup(boolean, boolean)",
}

_LOAD = """
create table if not exists accounts (id bigserial primary key, owner text, balance numeric, changed timestamptz);
create table if not exists notes (account bigint, body text);
create index if not exists notes_account on notes (account);
create sequence if not exists tickets;
insert into accounts (owner, balance, changed)
    select md5(random()::text), (random() * 1e6)::numeric(12, 2), clock_timestamp() from generate_series(1, {rows});
insert into notes
    select id, repeat(md5(id::text), 1 + (id % 40)::int) from accounts order by id desc limit {rows} / 2;
update accounts set balance = balance + 1 where id % 7 = 0;
delete from accounts where id % 101 = 0;
select nextval('tickets');
"""


class Cluster:
    """One data directory and, most of the time, the server that runs on it.

    Roles made for barman: barman (the grants of the manual, no superuser) and streaming_barman (replication).
    """

    def __init__(self, installation: Installation, data: Path, directory: Path) -> None:
        """data: an existing data directory. directory: for socket and log; its processes are ended with it."""
        self.installation = installation
        self.data = data
        self.directory = directory
        self.log = directory / "postgres.log"
        self.port = 5432
        self.environment = environment(directory)
        self._overrides: dict[str, str] = {}

    @property
    def major(self) -> int:
        """The major version of the server."""
        return self.installation.major

    # -- control

    def configure(self, **settings: object) -> None:
        """Append settings to postgresql.conf; strings are quoted here. Takes effect at the next start or reload."""
        lines = [f"{name} = {_quoted(value)}\n" for name, value in settings.items()]
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.writelines(lines)

    def start(self, *, timeout_s: int = 60, **overrides: object) -> None:
        """Start and wait until it accepts connections; overrides hold for later starts too, above all files."""
        self._overrides |= {name: str(value) for name, value in overrides.items()}
        fixed = {"unix_socket_directories": str(self.directory), "listen_addresses": "", "port": str(self.port)}
        options = " ".join(f"-c {name}={_shell_quoted(value)}" for name, value in (fixed | self._overrides).items())
        try:
            # without a log file the server would keep our pipe open and the call would never end
            self._pg_ctl("start", "-w", "-t", str(timeout_s), "-l", str(self.log), "-o", options)
        except ProgramFailed as failure:
            raise ProgramFailed(f"{failure}\n--- server log\n{self.log_text()[-4000:]}") from None

    def stop(self, mode: str = "fast") -> None:
        """Stop the server, if it runs."""
        if self.is_running():
            self._pg_ctl("stop", "-w", "-t", "60", "-m", mode)

    def restart(self, **overrides: object) -> None:
        """Stop and start."""
        self.stop()
        self.start(**overrides)  # type: ignore[arg-type]

    def reload(self) -> None:
        """Have the server read its configuration files again."""
        self._pg_ctl("reload")

    def promote(self) -> None:
        """End recovery and wait for it."""
        self._pg_ctl("promote", "-w")

    def wait_until_recovered(self) -> None:
        """Wait until recovery has ended and the server takes writes."""
        wait_until(lambda: not self.value("select pg_is_in_recovery()"), f"recovery of {self.data} ends", timeout_s=60)

    def crash(self) -> None:
        """Kill the server and all its processes, as a power cut would."""
        pid = self.pid()
        victims = [pid, *children_of(pid)] if pid else []
        for victim in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        wait_until(lambda: not any(is_alive(victim) for victim in victims), "the killed server is gone")
        for stale in (self.data / "postmaster.pid", *self.directory.glob(".s.PGSQL.*")):
            stale.unlink(missing_ok=True)

    def pid(self) -> int | None:
        """The pid of the server, None when it does not run."""
        try:
            return int((self.data / "postmaster.pid").read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return None

    def is_running(self) -> bool:
        """Whether the server runs."""
        pid = self.pid()
        return pid is not None and is_alive(pid)

    def log_text(self) -> str:
        """The server's log so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _pg_ctl(self, *words: str) -> None:
        argv: list[str | Path] = [self.installation.bindir / "pg_ctl", "-D", self.data, *words]
        run(argv, env=self.environment, cwd=self.directory, check=True)

    # -- SQL

    def conninfo(self, user: str = "barman", dbname: str = "postgres") -> str:
        """How to connect, as a libpq string."""
        return f"host={self.directory} port={self.port} user={user} dbname={dbname}"

    def streaming_conninfo(self, user: str = "streaming_barman") -> str:
        """How to connect for replication, as a libpq string."""
        return f"host={self.directory} port={self.port} user={user}"

    @contextlib.contextmanager
    def connect(self, dbname: str = "postgres") -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        """An autocommit superuser session for the time of the with block."""
        with psycopg.connect(self.conninfo("postgres", dbname), autocommit=True, connect_timeout=10) as session:
            yield session

    def sql(self, statements: str, dbname: str = "postgres") -> list[tuple[Any, ...]]:
        """Run statements one after the other as superuser; return the rows of the last one, [] if it has none."""
        with self.connect(dbname) as session:
            cursor = session.execute(statements.encode())
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def value(self, query: str, dbname: str = "postgres") -> Any:
        """Run one query and return its one value."""
        return self.sql(query, dbname)[0][0]

    # -- WAL

    def current_wal(self) -> str:
        """The name of the segment being written."""
        return str(self.value("select pg_walfile_name(pg_current_wal_insert_lsn())"))

    def lsn(self) -> str:
        """The current insert position."""
        return str(self.value("select pg_current_wal_insert_lsn()"))

    def switch_wal(self) -> str:
        """Close the current segment and return its name; the next one is begun, so that streaming sees the close."""
        with self.connect() as session:
            session.execute("select pg_create_restore_point('switch')")
            name = session.execute("select pg_walfile_name(pg_switch_wal())").fetchone()
            session.execute("select pg_logical_emit_message(true, 'switch', '')")
        assert name is not None
        return str(name[0])

    def archive_with(self, command: str) -> None:
        """Turn archive_command on, restarting the server."""
        self.configure(archive_mode="on", archive_command=command)
        self.restart()

    def system_identifier(self) -> str:
        """The system identifier."""
        return str(self.value("select system_identifier from pg_control_system()"))

    # -- data

    def tablespace(self, name: str) -> Path:
        """Make a tablespace beside the cluster and return its directory."""
        location = self.directory / f"tablespace-{name}"
        location.mkdir()
        give(location, 0o700)
        self.sql(f"create tablespace {name} location '{location}'")
        return location

    def load(self, rows: int = 1000) -> None:
        """Insert, update and delete in a few tables of different make; they are created at the first call."""
        self.sql(_LOAD.format(rows=rows))

    @contextlib.contextmanager
    def loading(self, rows: int = 50) -> Iterator[None]:
        """Go on loading in another thread for the time of the with block."""
        over = threading.Event()
        failures: list[Exception] = []

        def go_on() -> None:
            try:
                with self.connect() as session:
                    while not over.is_set():
                        session.execute(_LOAD.format(rows=rows).encode())
            except psycopg.Error as failure:
                failures.append(failure)

        thread = threading.Thread(target=go_on, name="load")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        if failures:
            raise failures[0]

    def checksums(self, dbname: str = "postgres") -> dict[str, str]:
        """A checksum of the content of every user table, by name; equal content, equal checksum.

        Sequences are left out: PostgreSQL logs 32 values ahead, so that recovery may well end with another value.
        """
        with self.connect(dbname) as session:
            names = session.execute(
                "select quote_ident(n.nspname) || '.' || quote_ident(c.relname)"
                " from pg_class c join pg_namespace n on n.oid = c.relnamespace"
                " where c.relkind in ('r', 'm') and n.nspname not in ('pg_catalog', 'information_schema')"
                " and n.nspname not like 'pg_toast%'"
            ).fetchall()
            found = {}
            for (name,) in names:
                digest = hashlib.sha256()
                for (row,) in session.execute(f"select t::text from {name} t order by 1".encode()):
                    digest.update(row.encode() + b"\n")
                found[name] = digest.hexdigest()
            return found


class ClusterMaker:
    """Makes clusters below one scratch directory and stops them all in the end."""

    def __init__(self, scratch: Path) -> None:
        """scratch: where their directories go."""
        self._scratch = scratch
        self.made: list[Cluster] = []

    def make(
        self,
        installation: Installation,
        name: str = "pg",
        *,
        segment_size: int = 16 * MIB,
        fresh: bool = False,
        start: bool = True,
        settings: Mapping[str, object] | None = None,
    ) -> Cluster:
        """Make a cluster and start it.

        Clusters of one version and segment_size (bytes) share a system identifier unless fresh. settings: for
        postgresql.conf, above what all test clusters have.
        """
        directory = self._directory(name)
        data = directory / "data"
        if fresh:
            _initialise(installation, data, segment_size)
        else:
            _copy(_template(installation, segment_size), data)
        cluster = self._keep(Cluster(installation, data, directory))
        own = {"summarize_wal": "on"} if installation.major >= 17 else {}
        cluster.configure(**{**_SETTINGS, **own, **(settings or {})})
        if start:
            cluster.start()
        return cluster

    def adopt(self, installation: Installation, data: Path, name: str = "restored") -> Cluster:
        """Take an existing data directory, such as a restored one, as a cluster; it is not started."""
        return self._keep(Cluster(installation, data, self._directory(name)))

    def recover(
        self,
        installation: Installation,
        data: Path,
        name: str = "restored",
        *,
        environment: Mapping[str, str] | None = None,
    ) -> Cluster:
        """Start a restored data directory and wait until it has recovered and takes writes.

        It does not archive, whatever the restored configuration says. environment: for the server, and so for its
        restore_command.
        """
        cluster = self.adopt(installation, data, name)
        cluster.environment.update(environment or {})
        cluster.start(archive_mode="off", fsync="off")
        cluster.wait_until_recovered()
        return cluster

    def standby_of(self, primary: Cluster, name: str = "standby") -> Cluster:
        """Make a streaming standby of a running cluster with pg_basebackup, and start it."""
        directory = self._directory(name)
        tool = primary.installation.tools / "pg_basebackup"
        words = ["-d", primary.conninfo("postgres"), "-R", "-X", "stream", "-c", "fast", "--no-sync"]
        run([tool, *words, "-D", directory / "data"], env=environment(directory), check=True)
        standby = self._keep(Cluster(primary.installation, directory / "data", directory))
        # newer tools write connection parameters there that an older server does not know
        settings = standby.data / "postgresql.auto.conf"
        settings.write_text(f"primary_conninfo = {_quoted(primary.conninfo('postgres'))}\n")
        standby.start()
        return standby

    def close(self) -> None:
        """Stop every cluster, the last made first."""
        while self.made:
            cluster = self.made.pop()
            with contextlib.suppress(ProgramFailed):
                cluster.stop("immediate")

    def _directory(self, name: str) -> Path:
        directory = self._scratch / name
        directory.mkdir()
        return give(directory, 0o755)

    def _keep(self, cluster: Cluster) -> Cluster:
        self.made.append(cluster)
        return cluster


def _initialise(installation: Installation, data: Path, segment_size: int) -> None:
    """Run initdb and make the roles."""
    words = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N", "-k"]
    size = f"--wal-segsize={segment_size // MIB}"
    run([installation.bindir / "initdb", *words, size, "-D", data], env=environment(data.parent), check=True)
    cluster = Cluster(installation, data, data.parent)
    cluster.start(fsync="off")
    with cluster.connect() as session:
        session.execute(_ROLES)
        functions = _BACKUP_FUNCTIONS[installation.major >= 15]
        session.execute(f"grant execute on function {functions} to barman".encode())
        if installation.major >= 15:
            session.execute("grant pg_checkpoint to barman")
    cluster.stop()
    cluster.log.unlink()


def _template(installation: Installation, segment_size: int) -> Path:
    """An initialised data directory to copy; made once per run, whichever worker process comes first."""
    place = run_directory() / "templates"
    place.mkdir(exist_ok=True)
    directory = place / f"{installation.major}-{segment_size // MIB}"
    ready = directory / "ready"
    with FileLock(place / f"{directory.name}.lock"):
        if not ready.exists():
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
            give(directory, 0o755)
            _initialise(installation, directory / "data", segment_size)
            ready.touch()
    return directory / "data"


def _copy(template: Path, data: Path) -> None:
    run(["cp", "-a", template, data], check=True)


def _quoted(value: object) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value)


def _shell_quoted(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"
