"""Who replicates from a server, and how far each has got."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from barman.errors import PostgresError
from barman.postgres.lsn import parse_lsn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from barman.postgres.connection import Postgres
    from barman.postgres.facts import ReplicationClient

Target = Literal["all", "hot-standby", "wal-streamer"]

_KINDS = {"hot-standby": "standby", "wal-streamer": "wal-streamer"}


@dataclass(frozen=True, slots=True)
class Position:
    """A position a client reports. diff_bytes: compared with the server's, negative is behind; None: unknown."""

    lsn: str
    diff_bytes: int | None


@dataclass(frozen=True, slots=True)
class ClientStatus:
    """A client, the positions it reports, and how far it has got in words: "3/3 Remote write"."""

    client: ReplicationClient
    positions: dict[Literal["sent", "write", "flush", "replay"], Position]
    stage: str

    @property
    def heading(self) -> str:
        """What kind of client: "Async WAL streamer", "#1 Sync standby"."""
        kind = "standby" if self.client.kind == "standby" else "WAL streamer"
        if self.client.sync_priority:
            return f"#{self.client.sync_priority} {(self.client.sync_state or '').capitalize()} {kind}"
        return f"Async {kind}"


@dataclass(frozen=True, slots=True)
class ReplicationStatus:
    """The clients of a server. server_lsn: write position, replay position of a standby; None if it has none."""

    server_lsn: str | None
    clients: tuple[ClientStatus, ...]


def replication_status(postgres: Postgres, *, target: Target = "all") -> ReplicationStatus:
    """Ask an open connection who replicates from its server. PostgresError, as every statement.

    PostgreSQL hides the clients from roles that may not see them; to those this is a PostgresError too.
    """
    if not postgres.facts().has_monitoring_privileges:
        raise PostgresError("the role of the connection may not see replication clients", hint="Grant it pg_monitor.")
    clients = postgres.replication_clients()
    return judge_clients(clients, postgres.current_lsn(), target=target)


def judge_clients(
    clients: Iterable[ReplicationClient], server_lsn: str | None, *, target: Target = "all"
) -> ReplicationStatus:
    """Compare what the clients report with the server's position; clients of other kinds than target are left out."""
    wanted = _KINDS.get(target)
    chosen = (client for client in clients if wanted is None or client.kind == wanted)
    return ReplicationStatus(server_lsn, tuple(_judge(client, server_lsn) for client in chosen))


def _judge(client: ReplicationClient, server_lsn: str | None) -> ClientStatus:
    reported: dict[Literal["sent", "write", "flush", "replay"], str | None] = {
        "sent": client.sent_lsn,
        "write": client.write_lsn,
        "flush": client.flush_lsn,
        "replay": client.replay_lsn,
    }
    here = None if server_lsn is None else parse_lsn(server_lsn)
    positions = {
        name: Position(lsn, None if here is None else parse_lsn(lsn) - here)
        for name, lsn in reported.items()
        if lsn is not None
    }
    return ClientStatus(client, positions, _stage(client, positions))


def _stage(client: ReplicationClient, positions: dict[Literal["sent", "write", "flush", "replay"], Position]) -> str:
    """Name the farthest step at which the client has all that the server has written.

    A WAL streamer replays nothing, so only three of the five steps can be told for it.
    """
    standby = client.kind == "standby"
    has_all = {name for name, position in positions.items() if (position.diff_bytes or 0) >= 0}
    if standby and "replay" in has_all:
        return "5/5 Hot standby (max)"
    if standby and "flush" in has_all:
        return "4/5 2-safe"
    steps = 5 if standby else 3
    if "write" in has_all:
        return f"3/{steps} Remote write"
    return f"2/{steps} WAL Sent (min)" if "sent" in has_all else f"1/{steps} 1-safe"
