"""Talking to PostgreSQL: a normal connection and a replication connection, both with a time limit on everything.

The only module that loads the driver. The server may be frozen (SIGSTOP, a hung disk, a dead network path): then its
kernel still accepts connections and acknowledges packets, so neither TCP nor statement_timeout helps, and the limit is
kept on this side. statement_timeout is set as well, so that the server drops work nobody waits for.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from typing import TYPE_CHECKING, Any

import psycopg
import psycopg.adapt
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow, dict_row

from barman.errors import ConnectionFailed, PostgresError
from barman.postgres import queries
from barman.postgres.conninfo import Conninfo, parse_conninfo, streaming_conninfo
from barman.postgres.facts import (
    ArchiverStats,
    ReplicationClient,
    ServerFacts,
    Setting,
    Slot,
    SwitchResult,
    SystemIdentity,
    Tablespace,
)
from barman.postgres.lsn import parse_lsn
from barman.postgres.wal_names import segment_before

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from types import TracebackType

    from psycopg.abc import RV, Buffer, PQGen
    from typing_extensions import Self

CONNECT_TIMEOUT_S = 10
STATEMENT_TIMEOUT_S = 30
CHECKPOINT_TIMEOUT_S = 3600
CLUSTER_SIZE_TIMEOUT_S = 120

_SEVERAL_ATTEMPTS = "Multiple connection attempts failed. All failures were:\n"
_ATTEMPT = re.compile(r"(- host: .*?, hostaddr: (None|'[^']*'): )?(connection (failed|is bad): )?")

# The server cancels at the limit; this much later we stop waiting for it to say so.
_GRACE_S = 3.0
_POLL_S = 0.1


class _DeadlineExceeded(Exception):
    """The server did not answer in time; the connection is unusable."""


class _LimitedConnection(psycopg.Connection[DictRow]):
    """A connection whose every wait ends: after time_limit_s, or at once with Ctrl-C."""

    time_limit_s: float = STATEMENT_TIMEOUT_S + _GRACE_S

    def wait(self, gen: PQGen[RV], interval: float = _POLL_S, timeout: float | None = None) -> RV:
        """Wait as the driver does, but not for ever."""
        limit_s = self.time_limit_s if timeout is None else min(timeout, self.time_limit_s)
        try:
            return psycopg.waiting.wait(_until(gen, time.monotonic() + limit_s), self.pgconn.socket, interval=interval)
        except (_DeadlineExceeded, KeyboardInterrupt):
            # The driver would ask the server to cancel, and wait for it. A frozen server never does.
            self.close()
            raise


def _until(gen: PQGen[RV], deadline: float) -> PQGen[RV]:
    """Run the driver's generator; raise _DeadlineExceeded when it is still not done at the deadline."""
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() >= deadline:
                raise _DeadlineExceeded
            wanted = gen.send(ready)
    except StopIteration as stop:
        result: RV = stop.value
        return result


class _PathText(psycopg.adapt.Loader):
    """Text as file names are read: an SQL_ASCII database may hold paths that are not UTF-8."""

    def load(self, data: Buffer) -> str:
        """Decode, keeping undecodable bytes as surrogates."""
        return os.fsdecode(bytes(data))


class _Session:
    """What both kinds of connection share: opening, closing, running SQL within limits, errors without secrets."""

    def __init__(
        self,
        conninfo: Conninfo | str,
        *,
        connect_timeout_s: int = CONNECT_TIMEOUT_S,
        statement_timeout_s: float = STATEMENT_TIMEOUT_S,
    ) -> None:
        """conninfo: its own connect_timeout, if any, wins over connect_timeout_s. Nothing is opened yet."""
        conninfo = parse_conninfo(conninfo) if isinstance(conninfo, str) else conninfo
        self.conninfo = conninfo.with_tcp_limits().with_defaults(connect_timeout=str(connect_timeout_s))
        self._statement_timeout_s = statement_timeout_s
        self._connection: _LimitedConnection | None = None

    def __enter__(self) -> Self:
        """Connect; ConnectionFailed if that is impossible or takes too long."""
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.close()

    @property
    def version_num(self) -> int:
        """The server's version number, as it told when the connection was made."""
        return self._require_connection().info.server_version

    @property
    def is_connected(self) -> bool:
        """Whether the connection is open, as far as we know without asking."""
        return self._connection is not None and not self._connection.closed

    def connect(self) -> None:
        """Open the connection unless it is open; ConnectionFailed if that is impossible or takes too long."""
        if self.is_connected:
            return
        try:
            self._connection = _LimitedConnection.connect(
                make_conninfo("", **self.conninfo.reveal()),
                autocommit=True,
                prepare_threshold=None,
                row_factory=dict_row,
            )
        except psycopg.Error as error:
            message, hint = self._explain(error)
            raise ConnectionFailed(
                f"cannot connect to PostgreSQL: {message}", sqlstate=error.sqlstate, hint=hint
            ) from None
        for name in ("text", "varchar", "name"):
            self._connection.adapters.register_loader(name, _PathText)

    def close(self) -> None:
        """Close the connection; no error if there is none."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _require_connection(self) -> _LimitedConnection:
        if self._connection is None:
            raise ConnectionFailed("not connected to PostgreSQL")
        return self._connection

    def _rows(
        self, query: str, parameters: Mapping[str, object] | None = None, *, timeout_s: float
    ) -> list[dict[str, Any]]:
        """Run one statement; PostgresError if the server refuses it, ConnectionFailed if it does not answer."""
        connection = self._require_connection()
        connection.time_limit_s = timeout_s + _GRACE_S
        with self._errors_translated(timeout_s):
            cursor = connection.execute(query.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    @contextlib.contextmanager
    def _errors_translated(self, timeout_s: float) -> Iterator[None]:
        try:
            yield
        except _DeadlineExceeded:
            raise ConnectionFailed(
                f"PostgreSQL did not answer within {timeout_s:g} seconds",
                hint="The server may be frozen or overloaded, or the network between is cut.",
            ) from None
        except psycopg.Error as error:
            message, hint = self._explain(error)
            lost = isinstance(error, psycopg.OperationalError) and (error.sqlstate is None or not self.is_connected)
            kind = ConnectionFailed if lost else PostgresError
            raise kind(message, sqlstate=error.sqlstate, hint=hint) from None

    def _explain(self, error: psycopg.Error) -> tuple[str, str | None]:
        """Return the server's or libpq's message on one line, without secrets, and a hint if there is one."""
        text, hint = error.diag.message_primary, error.diag.message_hint
        if isinstance(error, psycopg.errors.ConnectionTimeout):
            place = " ".join(f"{k}={v}" for k, v in self.conninfo.items() if k in ("host", "hostaddr", "port"))
            text = f"no answer within {self.conninfo.get('connect_timeout')} seconds" + (place and f" ({place})")
        elif text is None:
            text, hint = _split_libpq_message(str(error) or type(error).__name__)
        return self.conninfo.scrub(text), hint and self.conninfo.scrub(hint)


def _split_libpq_message(text: str) -> tuple[str, str | None]:
    """Return all failures on one line, and the advice, which libpq indents."""
    lines = text.partition(_SEVERAL_ATTEMPTS)[2].splitlines() or text.splitlines()
    failures = dict.fromkeys(_ATTEMPT.sub("", line).strip() for line in lines if line[:1] not in ("", "\t"))
    advice = next((line.strip() for line in lines if line.startswith("\t")), None)
    return "; ".join(failures), advice


class Postgres(_Session):
    """A normal connection, in autocommit mode. Use as a context manager; one thread at a time.

    Every method raises PostgresError (with the SQLSTATE) if the server refuses, ConnectionFailed if the connection is
    lost or the server does not answer in time. No message ever holds a password.
    """

    def __init__(
        self,
        conninfo: Conninfo | str,
        *,
        application_name: str = "barman",
        connect_timeout_s: int = CONNECT_TIMEOUT_S,
        statement_timeout_s: float = STATEMENT_TIMEOUT_S,
    ) -> None:
        """application_name: used unless conninfo has one. statement_timeout_s: for statements expected to be quick."""
        super().__init__(conninfo, connect_timeout_s=connect_timeout_s, statement_timeout_s=statement_timeout_s)
        self.conninfo = self.conninfo.with_defaults(application_name=application_name)
        self._server_timeout_s: float | None = None

    def connect(self) -> None:
        """Open the connection unless it is open, and make the session predictable."""
        if self.is_connected:
            return
        super().connect()
        self._server_timeout_s = None
        self._query(queries.SESSION)

    def facts(self) -> ServerFacts:
        """Return what the server is and how it is set up, as far as the role may see it."""
        [row] = self._query(queries.FACTS)
        timeline = row.pop("timeline")
        settings = self._query(queries.SETTINGS_OF_INTEREST, names=list(queries.SETTINGS))
        return ServerFacts(
            version_num=self.version_num,
            timeline=int(timeline[1:], 16) if timeline.startswith("x") else int(timeline),
            settings={s["name"]: Setting(s["setting"], s["unit"]) for s in settings},
            config_files=tuple(r["sourcefile"] for r in self._query(queries.CONFIG_FILES)),
            tablespaces=tuple(Tablespace(**r) for r in self._query(queries.TABLESPACES)),
            **row,
        )

    def cluster_size(self) -> int | None:
        """Return the bytes in all tablespaces; None if the role may not know or counting takes minutes."""
        try:
            [row] = self._query(queries.CLUSTER_SIZE, timeout_s=CLUSTER_SIZE_TIMEOUT_S)
        except PostgresError as error:
            if error.sqlstate in ("42501", "57014"):  # insufficient_privilege, query_canceled (statement_timeout)
                return None
            raise
        return int(row["size"])

    def is_in_recovery(self) -> bool:
        """Whether the server is a standby, or still recovering."""
        [row] = self._query(queries.IN_RECOVERY)
        return bool(row["in_recovery"])

    def current_lsn(self) -> str | None:
        """Return the write position of a primary, the replay position of a standby (None before the first)."""
        lsn: str | None = self._query(queries.POSITION)[0]["lsn"]
        return lsn

    def switch_wal(self) -> SwitchResult:
        """Close the current WAL segment of a primary and say which one that was."""
        segment_size = self._segment_size()
        [row] = self._query(queries.SWITCH_WAL)
        return _switch_result(row, segment_size)

    def checkpoint(self) -> None:
        """Have a checkpoint done at full speed and wait for it, an hour at most."""
        self._query("CHECKPOINT", timeout_s=CHECKPOINT_TIMEOUT_S)

    def create_restore_point(self, name: str) -> str:
        """Write a named restore point into the WAL of a primary and return its LSN."""
        lsn: str = self._query(queries.CREATE_RESTORE_POINT, name=name)[0]["lsn"]
        return lsn

    def archiver_stats(self) -> ArchiverStats:
        """Return what the server's archiver did so far."""
        [row] = self._query(queries.ARCHIVER_STATS)
        return ArchiverStats(**row)

    def replication_clients(self) -> list[ReplicationClient]:
        """Return who replicates from this server: synchronous standbys first, by priority.

        A role without pg_monitor sees other users' clients with most columns empty; those without a state are left out.
        """
        rows = self._query(queries.REPLICATION_CLIENTS)
        return [ReplicationClient(**row) for row in rows if row["backend_start"] is not None]

    def slot(self, name: str) -> Slot | None:
        """Return the physical replication slot of that name, None if there is none."""
        return next((Slot(**row) for row in self._query(queries.SLOT, name=name)), None)

    def wal_files(self) -> list[str]:
        """Return the names of the files in pg_wal; those it keeps for later use are among them, under names to come."""
        return [row["name"] for row in self._query(queries.WAL_FILES)]

    def server_time(self) -> datetime:
        """Return the server's clock, aware, in UTC."""
        moment: datetime = self._query(queries.SERVER_TIME)[0]["server_time"]
        return moment

    def _segment_size(self) -> int:
        [row] = self._query(queries.SETTINGS_OF_INTEREST, names=["wal_segment_size"])
        return Setting(row["setting"], row["unit"]).bytes

    def _query(self, template: str, *, timeout_s: float | None = None, **parameters: object) -> list[dict[str, Any]]:
        timeout_s = self._statement_timeout_s if timeout_s is None else timeout_s
        if timeout_s != self._server_timeout_s:
            self._rows(f"SET statement_timeout = {round(timeout_s * 1000)}", timeout_s=self._statement_timeout_s)
            self._server_timeout_s = timeout_s
        return self._rows(queries.for_version(template, self.version_num), parameters or None, timeout_s=timeout_s)


class PostgresStreaming(_Session):
    """A physical replication connection, for what only the replication protocol can do."""

    def __init__(
        self,
        conninfo: Conninfo | str,
        *,
        application_name: str = "barman",
        connect_timeout_s: int = CONNECT_TIMEOUT_S,
        statement_timeout_s: float = STATEMENT_TIMEOUT_S,
    ) -> None:
        """conninfo: what it says about database and replication is replaced by streaming_conninfo()."""
        conninfo = streaming_conninfo(conninfo, application_name)
        super().__init__(conninfo, connect_timeout_s=connect_timeout_s, statement_timeout_s=statement_timeout_s)

    def identify_system(self) -> SystemIdentity:
        """Return who the server is and where it stands."""
        [row] = self._rows("IDENTIFY_SYSTEM", timeout_s=self._statement_timeout_s)
        return SystemIdentity(str(row["systemid"]), int(row["timeline"]), str(row["xlogpos"]))

    def timeline_history(self, timeline: int) -> str:
        """Return the text of a timeline's history file; PostgresError if the server has none, as of timeline 1."""
        [row] = self._rows(f"TIMELINE_HISTORY {timeline:d}", timeout_s=self._statement_timeout_s)
        content = row["content"]
        return content if isinstance(content, str) else os.fsdecode(bytes(content))

    def create_slot(self, name: str) -> None:
        """Create a physical slot, which reserves WAL from its first use; PostgresError 42710 if it exists."""
        self._rows(f'CREATE_REPLICATION_SLOT "{name}" PHYSICAL', timeout_s=self._statement_timeout_s)

    def drop_slot(self, name: str) -> None:
        """Drop the slot; PostgresError 42704 if it does not exist, 55006 if it is in use."""
        self._rows(f'DROP_REPLICATION_SLOT "{name}"', timeout_s=self._statement_timeout_s)


def _switch_result(row: Mapping[str, Any], segment_size: int) -> SwitchResult:
    """Tell from the positions before and after whether a segment was closed.

    pg_switch_wal returns the end of the switch record, or with nothing to switch the start of the segment in use. Only
    a record that fills its segment to the last byte ends on a boundary too; then there was content before it.
    """
    before, after = parse_lsn(row["insert_lsn"]), parse_lsn(row["switch_lsn"])
    timeline = int(row["timeline"], 16)
    if after % segment_size == 0 and before >= after:
        return SwitchResult(None)
    return SwitchResult(segment_before(after, timeline, segment_size))
