"""The checks of one server: is it backed up in a way that it can be restored.

The facts are gathered once, all at the same time and within the time limit; the verdicts are then a matter of looking.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from barman.catalog.record import Status
from barman.errors import BarmanError, LockBusy
from barman.host import clock
from barman.monitor import check_items, check_postgres, check_primary, check_source
from barman.monitor.check_facts import CheckFacts, LocalFacts, RemoteFacts, ToolFacts
from barman.monitor.check_items import CheckItem
from barman.monitor.local import gather_local
from barman.monitor.primary import probe_primary
from barman.monitor.probes import probe_remote, probe_tools
from barman.monitor.source import probe_source
from barman.monitor.together import ask_together
from barman.progress import LogReporter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from barman.config.settings import ServerSettings
    from barman.host.ssh import Logins
    from barman.postgres.facts import ServerFacts
    from barman.server import Server

_log = logging.getLogger(__name__)

# How long WAL that was just asked for is waited for, when check has no time limit.
_WAL_ARRIVES_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The verdicts on one server, in the order they are shown. messages: what is wrong with its configuration."""

    server: str
    is_active: bool
    is_disabled: bool
    items: tuple[CheckItem, ...]
    messages: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[CheckItem, ...]:
        """The lines that are not well."""
        return tuple(item for item in self.items if not item.ok)

    @property
    def blocking(self) -> tuple[CheckItem, ...]:
        """The failures that forbid to take a backup."""
        return tuple(item for item in self.failed if item.critical)


def run_checks(server: Server, *, timeout_s: float | None = None, logins: Logins | None = None) -> CheckReport:
    """Check one server; what is not known after timeout_s seconds is left out, and a line says so.

    timeout_s: None takes the server's check_timeout, 0 means no limit. On an empty archive this archives what waits in
    front of it, and if that is nothing makes PostgreSQL switch to a new WAL file, when one could arrive. logins: of
    who is about to copy files of the server, to be used for looking at its host.
    """
    limit: float | None = server.settings.check_timeout if timeout_s is None else timeout_s
    limit = limit or None
    facts, is_complete = _gather(server, limit, logins)
    items = [*_judge(server, facts)]
    if not is_complete:
        items.append(CheckItem("check timeout", ok=False, hint=f"not all was checked within {limit:g} seconds"))
    for item in items:
        if not item.ok:
            _log.info("check of server %s: %s failed (%s)", server.name, item.name, item.hint)
    config = server.config
    return CheckReport(
        server=server.name,
        is_active=config.is_active,
        is_disabled=config.is_disabled,
        items=tuple(items),
        messages=(*config.errors, *(problem.text for problem in config.problems if problem.bad_value)),
    )


def _gather(server: Server, limit: float | None, logins: Logins | None) -> tuple[CheckFacts, bool]:
    """The facts, and whether all of them could be had in time."""
    now = clock.now()
    started = clock.monotonic()
    questions: dict[str, Callable[[], LocalFacts | RemoteFacts | ToolFacts]] = {
        "local": lambda: gather_local(server, now),
        "remote": lambda: probe_remote(server, limit),
        "tools": lambda: probe_tools(server),
    }
    # The remote probe keeps to the limit by itself and then says what did not answer; give it the time to say so.
    answers = ask_together(questions, None if limit is None else limit + 0.5)
    facts = CheckFacts(now, **answers)  # type: ignore[arg-type]
    config = server.config
    if config.is_active and not config.is_passive and check_source.copies_files(server.settings):
        facts = replace(facts, source=probe_source(server, _pgdata(facts), _left(limit, started), logins))
    if config.is_active and config.is_passive and not config.is_disabled:
        facts = replace(facts, primary=probe_primary(server, now, _left(limit, started)))
    is_complete = answers.keys() == questions.keys() and (limit is None or clock.monotonic() - started < limit)
    if facts.local is None or facts.local.has_archived_wal or not is_complete:
        return facts, is_complete
    if any(record.status is Status.WAITING_FOR_WALS for record in facts.local.records):
        return facts, True
    left = _left(limit, started)
    wait_s = _WAL_ARRIVES_WITHIN_S if limit is None else limit / 3
    arrival = ask_together({"wal": lambda: _bring_wal(server, facts, wait_s)}, left)
    if "wal" not in arrival:
        return facts, False
    return replace(facts, wal_arrival=arrival["wal"]), True


def _left(limit: float | None, started: float) -> float | None:
    return None if limit is None else limit - (clock.monotonic() - started)


def _pgdata(facts: CheckFacts) -> str | None:
    """Where the data directory is, or was when PostgreSQL could still be asked."""
    server = _server_facts(facts.remote)
    if server is not None:
        return server.data_directory
    records = facts.local.records if facts.local is not None else ()
    last = max((record for record in records if record.pgdata), key=lambda record: record.backup_id, default=None)
    return None if last is None else last.pgdata


def _judge(server: Server, facts: CheckFacts) -> Iterator[CheckItem]:
    settings, local, remote, tools = server.settings, facts.local, facts.remote, facts.tools
    yield from check_items.judge_wal_arrival(facts)
    if local is not None:
        yield from check_items.judge_queues(settings, local)
    if remote is not None:
        yield from check_postgres.judge_postgres(settings, remote)
    if local is not None:
        yield from check_items.judge_catalogue(server.config, local, facts.now)
    if facts.source is not None:
        yield from check_source.judge_source(settings, facts.source, _server_facts(remote))
    if facts.primary is not None:
        yield from check_primary.judge_primary(facts.primary, facts.now)
    if tools is not None:
        yield from check_postgres.judge_backup_tools(settings, tools, _server_facts(remote))
    yield from check_items.judge_configuration(server.config)
    if local is not None and remote is not None:
        yield check_postgres.judge_identity(local, remote)
        if tools is not None and server.config.is_active and not server.config.is_passive:
            yield from check_postgres.judge_wal_transport(settings, local, remote, tools)
    if local is not None:
        yield check_items.judge_archiver_errors(local)


def _bring_wal(server: Server, facts: CheckFacts, wait_s: float) -> str | None:
    """Try to get a first WAL file into the archive. None if that worked, else why there is none."""
    if not server.config.is_active or server.config.is_passive or server.config.is_disabled:
        return "no WAL file is archived yet"
    try:
        if _archives_waiting(server, facts):
            return None
        source = _server_facts(facts.remote)
        if source is None:
            # What is wrong there has a line of its own.
            return "no WAL file is archived yet"
        reason = _why_nothing_can_arrive(source, server.settings, facts.local)
        if reason is not None:
            return f"no WAL file is archived yet: {reason}"
        from barman.wal.wait import wait_for_wal

        arrived = wait_for_wal(server, None, wait_s, LogReporter(), nudge=lambda: _switch(server))
    except (BarmanError, OSError) as error:
        return f"no WAL file is archived yet: {error}"
    return None if arrived else f"no WAL file arrived within {wait_s:g} seconds, see 'barman switch-wal --archive'"


def _archives_waiting(server: Server, facts: CheckFacts) -> bool:
    """Archive what waits in front of the archive, if anything; whether there is WAL in the archive now."""
    if facts.local is None or not (facts.local.waiting_incoming or facts.local.waiting_streaming):
        return False
    from barman.wal.archive import archive_wal

    try:
        archive_wal(server, LogReporter(), verbose=False)
    except LockBusy:
        _log.info("server %s: another process is archiving WAL", server.name)
    return not server.xlogdb.is_empty()


def _why_nothing_can_arrive(server: ServerFacts, settings: ServerSettings, local: LocalFacts | None) -> str | None:
    """Why waiting for WAL is pointless, or None if some may come."""
    if server.in_recovery and settings.primary_conninfo is None:
        return "PostgreSQL is a standby and there is no primary_conninfo"
    if settings.streaming_archiver and local is not None and local.receiver is not None:
        return None
    if settings.archiver and server.archive_mode in {"on", "always"}:
        return None
    return "receive-wal is not running" if settings.streaming_archiver else "archive_mode of PostgreSQL is off"


def _switch(server: Server) -> None:
    """Make PostgreSQL close its WAL file. A record is written first: an idle server has nothing to close."""
    primary = server.primary_postgres()
    with server.postgres() as postgres:
        if not postgres.is_in_recovery():
            postgres.create_restore_point("barman_check")
            postgres.switch_wal()
            return
    if primary is not None:
        with primary:
            primary.create_restore_point("barman_check")
            primary.switch_wal()


def _server_facts(remote: RemoteFacts | None) -> ServerFacts | None:
    return remote.postgres.facts if remote is not None and remote.postgres is not None else None
