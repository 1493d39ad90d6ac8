"""Receiving WAL over streaming replication: pg_receivewal, watched; its slot and its directory kept in order."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

from barman.catalog.identity import read_identity, write_identity
from barman.errors import CommandError, PostgresError, Refused, StorageError
from barman.host import runner
from barman.host.clock import monotonic
from barman.host.files import make_directories, unlink_durably, write_durably
from barman.host.processes import stop_holder
from barman.postgres.conninfo import mask_secrets, streaming_conninfo
from barman.postgres.lsn import parse_lsn
from barman.postgres.tools import find_tool, pg_receivewal_argv, require_compatible
from barman.postgres.versions import major_version
from barman.postgres.wal_names import segment_at, segment_before
from barman.wal.fork import turn_at_fork
from barman.wal.streaming_area import is_synchronous, misfit_partial, plan_reset

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from barman.catalog.identity import Identity
    from barman.postgres.connection import Postgres, PostgresStreaming
    from barman.postgres.facts import ServerFacts, SystemIdentity
    from barman.postgres.tools import Tool
    from barman.progress import Reporter
    from barman.server import Server

DUPLICATE_OBJECT = "42710"

# A receiver that was killed leaves its slot in use until the server notices.
_SLOT_PATIENCE_S = 10.0
_POLL_S = 0.2


def receive_wal(server: Server, reporter: Reporter) -> None:
    """Receive WAL into the streaming directory until interrupted (SIGINT, SIGTERM), which is a clean end.

    Raises LockBusy if it is being received already, PostgresError if the server is unfit for it, Refused if it is
    another cluster or the slot cannot be used, CommandError if pg_receivewal is missing, too old, or ends by itself.
    """
    _require_streaming_archiver(server)
    try:
        with server.locks.receive_wal():
            tool = find_tool("pg_receivewal", server.settings.path_prefix, old_name="pg_receivexlog")
            _make_directories(server)
            facts = _prepare(server, tool, reporter)
            _empty_misfit_partial(server.paths.streaming, facts.segment_size, reporter)
            _run(server, tool, facts, reporter)
    except KeyboardInterrupt:
        reporter.info(f"Stopped receiving WAL of server {server.name}")


def stop_receive_wal(server: Server) -> int:
    """Stop the process that receives WAL of this server and return its pid; Refused if there is none."""
    pid = stop_holder(server.locks.receive_wal(), "receive-wal")
    if pid is None:
        raise Refused(f"no receive-wal process is running for server {server.name}")
    return pid


def reset_receive_wal(server: Server, reporter: Reporter) -> None:
    """Make the next run go on where the slot, or without one the server, now is. LockBusy while one is running.

    What lies between is lost to the archive and is told as a warning. Refused if the directory holds WAL the server
    has not written yet.
    """
    _require_streaming_archiver(server)
    with server.locks.receive_wal():
        with server.wal_postgres() as postgres:
            facts = postgres.facts()
            wanted, current = _positions(server, postgres, facts)
        _make_directories(server)
        directory = server.paths.streaming
        with _storage_errors():
            plan = plan_reset(os.listdir(directory), wanted=wanted, current=current, segment_size=facts.segment_size)
            if plan.create is None:
                reporter.info(f"Nothing to do: server {server.name} already receives WAL from {wanted} or later")
                return
            if plan.gap is not None:
                reporter.warning(f"WAL of server {server.name} from {plan.gap[0]} to {plan.gap[1]} will be missing")
            reporter.info(f"Resetting receive-wal directory of server {server.name} to {plan.create}")
            # The new file first: with neither, a crash between would make receiving start wherever the server is.
            write_durably(directory / plan.create, b"")
            if plan.remove is not None:
                unlink_durably(directory / plan.remove)


def create_slot(server: Server, reporter: Reporter, *, if_not_exists: bool = False) -> None:
    """Create the physical replication slot slot_name. PostgresError if it exists, unless if_not_exists."""
    slot = _require_slot_name(server)
    reporter.info(f"Creating physical replication slot '{slot}' on server '{server.name}'")
    with server.wal_streaming() as streaming:
        try:
            streaming.create_slot(slot)
        except PostgresError as error:
            if not (if_not_exists and error.sqlstate == DUPLICATE_OBJECT):
                raise
            reporter.info(f"Replication slot '{slot}' already exists")
        else:
            reporter.info(f"Replication slot '{slot}' created")


def drop_slot(server: Server, reporter: Reporter) -> None:
    """Drop the replication slot slot_name. PostgresError if it is missing or in use."""
    slot = _require_slot_name(server)
    reporter.info(f"Dropping physical replication slot '{slot}' on server '{server.name}'")
    with server.wal_streaming() as streaming:
        streaming.drop_slot(slot)
    reporter.info(f"Replication slot '{slot}' dropped")


def preflight_problems(facts: ServerFacts, streamed: SystemIdentity, stored: Identity | None) -> list[str]:
    """Return what speaks against receiving WAL from this server; [] if nothing does. Pure.

    streamed: what the replication connection says. stored: what is known from before, if anything.
    """
    problems = []
    if not facts.has_monitoring_privileges:
        problems.append("the role of the connection has no access to monitoring functions (pg_monitor)")
    if facts.wal_level == "minimal":
        problems.append("wal_level is 'minimal', it must be 'replica' or 'logical'")
    if streamed.system_identifier != facts.system_identifier:
        problems.append(
            f"normal and streaming connection lead to different clusters, system identifiers"
            f" {facts.system_identifier} and {streamed.system_identifier}"
        )
    if stored is not None and stored.systemid != facts.system_identifier:
        problems.append(
            f"this is another cluster than before: system identifier {facts.system_identifier},"
            f" expected {stored.systemid}"
        )
    return problems


def _prepare(server: Server, tool: Tool, reporter: Reporter) -> ServerFacts:
    """Check the server, remember which cluster it is, and have its slot ready; closes its connections."""
    with server.wal_postgres() as postgres, server.wal_streaming() as streaming:
        facts = postgres.facts()
        require_compatible(tool, facts.version_num)
        streamed = streaming.identify_system()
        problems = preflight_problems(facts, streamed, read_identity(server.paths))
        if problems:
            raise Refused(f"cannot receive WAL of server {server.name}: {'; '.join(problems)}")
        # From the first segment on, WAL of another cluster is to be recognised as such.
        write_identity(server.paths, facts.system_identifier, major_version(facts.version_num))
        if server.settings.slot_name is not None:
            _ready_slot(server, server.settings.slot_name, postgres, streaming, reporter)
        turn_at_fork(server, streaming, streamed.timeline, facts.segment_size, reporter)
    return facts


def _ready_slot(
    server: Server, name: str, postgres: Postgres, streaming: PostgresStreaming, reporter: Reporter
) -> None:
    slot = postgres.slot(name)
    if slot is None:
        if server.settings.create_slot != "auto":
            raise Refused(
                f"replication slot '{name}' does not exist on server {server.name}",
                hint=f"Run 'barman receive-wal --create-slot {server.name}', or set create_slot = auto.",
            )
        reporter.info(f"Creating replication slot '{name}'")
        streaming.create_slot(name)
    deadline = monotonic() + _SLOT_PATIENCE_S
    while slot is not None and slot.active:
        if monotonic() >= deadline:
            raise Refused(f"replication slot '{name}' of server {server.name} is already in use")
        time.sleep(_POLL_S)
        slot = postgres.slot(name)


def _run(server: Server, tool: Tool, facts: ServerFacts, reporter: Reporter) -> None:
    settings = server.settings
    conninfo = streaming_conninfo(settings.effective_wal_streaming_conninfo or "", settings.streaming_archiver_name)
    argv = pg_receivewal_argv(
        tool,
        conninfo=conninfo,
        directory=server.paths.streaming,
        slot=settings.slot_name,
        synchronous=is_synchronous(settings.streaming_archiver_name, facts.synchronous_standby_names),
    )
    reporter.info(f"Starting receive-wal for server {server.name}")
    last_line = ""

    def relay(line: str) -> None:
        nonlocal last_line
        last_line = conninfo.scrub(line)
        reporter.info(f"{server.name}: {last_line}")

    shown = [mask_secrets(word) for word in argv]
    done = runner.run(
        argv,
        timeout_s=None,
        env=runner.environment(settings.path_prefix, **conninfo.environment()),
        check=False,
        on_line=relay,
        # SIGTERM it only takes as a clean end since PostgreSQL 15.
        stop_signal=signal.SIGINT,
        shown=shown,
    )
    if done.status != 0:
        raise CommandError(
            f"{tool.name} of server {server.name} ended by itself: {last_line or f'status {done.status}'}",
            argv=shown,
            status=done.status,
            stderr=conninfo.scrub(done.stderr),
        )


def _positions(server: Server, postgres: Postgres, facts: ServerFacts) -> tuple[str, str]:
    """Return the segment receiving should go on with, and the one the server is writing."""
    if facts.current_lsn is None:
        raise Refused(f"server {server.name} has no WAL position yet")
    slot = postgres.slot(server.settings.slot_name) if server.settings.slot_name is not None else None
    start = slot.restart_lsn if slot is not None and slot.restart_lsn is not None else facts.current_lsn
    # On a boundary, what was just filled is still wanted: its partial file may not have been renamed yet.
    wanted = segment_before(parse_lsn(start), facts.timeline, facts.segment_size)
    return wanted, segment_at(parse_lsn(facts.current_lsn), facts.timeline, facts.segment_size)


def _empty_misfit_partial(directory: Path, segment_size: int, reporter: Reporter) -> None:
    with _storage_errors():
        sizes = {entry.name: entry.stat().st_size for entry in os.scandir(directory) if entry.is_file()}
        name = misfit_partial(sizes, segment_size)
        if name is not None:
            reporter.info(f"Emptying {name}, which was cut short; it will be received again")
            write_durably(directory / name, b"")


def _make_directories(server: Server) -> None:
    with _storage_errors():
        for directory in (server.paths.root, server.paths.streaming):
            make_directories(directory)


@contextlib.contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"{error.filename}: {error.strerror}") from error


def _require_streaming_archiver(server: Server) -> None:
    if not server.settings.streaming_archiver:
        raise Refused(
            f"cannot receive WAL of server {server.name}: streaming_archiver is off",
            hint="Set streaming_archiver = on for this server.",
        )


def _require_slot_name(server: Server) -> str:
    if server.settings.slot_name is None:
        raise Refused(f"server {server.name} has no slot_name", hint="Set slot_name for this server.")
    return server.settings.slot_name
