"""Finding out how PostgreSQL and its programs are: one connection per connection string, all at the same time."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from barman.errors import BarmanError
from barman.monitor.check_facts import PostgresProbe, RemoteFacts, StreamingProbe, ToolFacts, ToolProbe
from barman.monitor.together import ask_together

if TYPE_CHECKING:
    from collections.abc import Callable

    from barman.config.settings import ServerSettings
    from barman.postgres.connection import Postgres, PostgresStreaming
    from barman.server import Server

# How long a connection may take when nothing else limits it. Shorter than the default time limit of check, so that a
# server that does not answer is reported by its name.
_CONNECT_LIMIT_S = 10


def probe_remote(server: Server, timeout_s: float | None, *, with_size: bool = False) -> RemoteFacts:
    """Ask every PostgreSQL the configuration names; what cannot be reached, or is too slow, has an error instead.

    Inactive and passive servers have none to ask. with_size: also how large the cluster is.
    """
    if not server.config.is_active or server.config.is_passive:
        return RemoteFacts()
    connect_s = _CONNECT_LIMIT_S if timeout_s is None else max(1, min(_CONNECT_LIMIT_S, int(timeout_s * 0.8)))
    normal, streaming = _connections(server, connect_s)
    questions: dict[str, Callable[[], PostgresProbe | StreamingProbe]] = {
        **{
            name: partial(_probe_postgres, connect, server.settings.slot_name, with_size=with_size)
            for name, connect in normal.items()
        },
        **{name: partial(_probe_streaming, connect) for name, connect in streaming.items()},
    }
    answers = ask_together(questions, timeout_s)
    for name in questions.keys() - answers.keys():
        late = f"no answer within {timeout_s:g} seconds"
        answers[name] = PostgresProbe(error=late) if name in normal else StreamingProbe(error=late)
    return RemoteFacts(**answers)  # type: ignore[arg-type]


def probe_tools(server: Server) -> ToolFacts:
    """Look for the programs the configuration needs."""
    settings = server.settings
    return ToolFacts(
        pg_basebackup=_probe_tool("pg_basebackup", settings) if settings.backup_method == "postgres" else None,
        pg_receivewal=_probe_tool("pg_receivewal", settings) if settings.streaming_archiver else None,
    )


def uses_streaming(settings: ServerSettings) -> bool:
    """Whether a replication connection is part of how this server is backed up."""
    return settings.backup_method == "postgres" or settings.streaming_archiver


def has_own_wal_source(settings: ServerSettings) -> bool:
    """Whether WAL is received from another node than the one that is backed up."""
    return settings.streaming_archiver and bool(settings.wal_conninfo or settings.wal_streaming_conninfo)


def _connections(
    server: Server, connect_s: int
) -> tuple[dict[str, Callable[[], Postgres]], dict[str, Callable[[], PostgresStreaming]]]:
    """How to connect, by the name of the field in RemoteFacts: normal connections and replication ones.

    That a connection string cannot be understood is found when it is used, and is what that probe then tells.
    """
    settings = server.settings
    normal: dict[str, Callable[[], Postgres]] = {}
    streaming: dict[str, Callable[[], PostgresStreaming]] = {}
    if settings.conninfo is not None:
        normal["postgres"] = partial(server.postgres, connect_timeout_s=connect_s)
    if uses_streaming(settings) and settings.effective_streaming_conninfo is not None:
        streaming["streaming"] = partial(server.streaming, connect_timeout_s=connect_s)
    if has_own_wal_source(settings):
        normal["wal_postgres"] = partial(server.wal_postgres, connect_timeout_s=connect_s)
        streaming["wal_streaming"] = partial(server.wal_streaming, connect_timeout_s=connect_s)
    if settings.primary_conninfo is not None:
        primary = partial(server.primary_postgres, connect_timeout_s=connect_s)
        # None only without a primary_conninfo.
        normal["primary"] = cast("Callable[[], Postgres]", primary)
    return normal, streaming


def _probe_postgres(connect: Callable[[], Postgres], slot_name: str | None, *, with_size: bool) -> PostgresProbe:
    try:
        with connect() as postgres:
            return PostgresProbe(
                facts=postgres.facts(),
                archiver=postgres.archiver_stats(),
                slot=None if slot_name is None else postgres.slot(slot_name),
                cluster_size=postgres.cluster_size() if with_size else None,
            )
    except BarmanError as error:
        return PostgresProbe(error=error.message)


def _probe_streaming(connect: Callable[[], PostgresStreaming]) -> StreamingProbe:
    try:
        with connect() as streaming:
            return StreamingProbe(identity=streaming.identify_system())
    except BarmanError as error:
        return StreamingProbe(error=error.message)


def _probe_tool(name: str, settings: ServerSettings) -> ToolProbe:
    from barman.postgres.tools import find_tool

    try:
        tool = find_tool(name, settings.path_prefix)
    except BarmanError as error:
        return ToolProbe(error=error.message)
    return ToolProbe(version_num=tool.version_num, path=str(tool.path))
