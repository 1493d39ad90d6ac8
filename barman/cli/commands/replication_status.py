"""The command `replication-status`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from barman.cli.arguments import SERVERS_ARG
from barman.cli.context import Profile
from barman.human import pretty_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from barman.cli.context import App
    from barman.cli.render.output import Output
    from barman.monitor.replication import ClientStatus, ReplicationStatus, Target
    from barman.server import Server

_TITLES: Final = {"all": "streaming clients", "hot-standby": "hot standby servers", "wal-streamer": "WAL streamers"}
_LSN_LABELS: Final = {"sent": "Sent LSN   ", "write": "Write LSN  ", "flush": "Flush LSN  ", "replay": "Replay LSN "}


@click.command("replication-status")
@SERVERS_ARG
@click.option("--minimal", is_flag=True, help="One line for each client.")
@click.option(
    "--target",
    type=click.Choice(["all", "hot-standby", "wal-streamer"]),
    default="all",
    help="Which clients to show.",
)
@click.option(
    "--source",
    type=click.Choice(["backup-host", "wal-host"]),
    default="backup-host",
    help="Ask the server that is backed up, or the one WAL is received from.",
)
@click.pass_obj
def command(app: App, server_names: Sequence[str], minimal: bool, target: Target, source: str) -> None:
    r"""Show the replication clients of servers: standbys and WAL streamers.

    How far each one has got is compared with the current position of its server.

    \b
    Examples:
      barman replication-status main
      barman replication-status --minimal --target hot-standby all
    """
    from barman.monitor.replication import replication_status

    def show(server: Server) -> None:
        with server.wal_postgres() if source == "wal-host" else server.postgres() as postgres:
            status = replication_status(postgres, target=target)
        lines = _minimal_lines if minimal else _full_lines
        for line in lines(server.name, status, _TITLES[target]):
            app.output.show(line)
        _render_json(app.output, server.name, status, target, minimal=minimal)

    app.each(server_names, Profile.A, show)


def _full_lines(server: str, status: ReplicationStatus, title: str) -> Iterator[str]:
    yield f"Status of {title} for server '{server}':"
    if status.server_lsn is not None:
        yield f"  Current LSN on master: {status.server_lsn}"
    if not status.clients:
        yield f"  No {title} attached"
        return
    yield f"  Number of {title}: {len(status.clients)}"
    for number, entry in enumerate(status.clients, start=1):
        yield ""
        yield f"  {number}. {entry.heading}"
        yield from _client_lines(entry)


def _client_lines(entry: ClientStatus) -> Iterator[str]:
    client = entry.client
    rows: list[tuple[str, object]] = [
        ("Application name", client.application_name),
        ("Sync stage      ", entry.stage),
        ("Communication   ", _communication(entry)),
    ]
    if client.client_addr:
        host = client.client_hostname or "-"
        rows.append(("IP Address      ", f"{client.client_addr} / Port: {client.client_port} / Host: {host}"))
    rows += [
        ("User name       ", client.user),
        ("Current state   ", f"{client.state} ({client.sync_state})"),
    ]
    if client.slot_name:
        rows.append(("Replication slot", client.slot_name))
    rows += [("WAL sender PID  ", client.pid), ("Started at      ", client.backend_start)]
    if client.backend_xmin:
        rows.append(("Standby's xmin  ", client.backend_xmin))
    for name, position in entry.positions.items():
        diff = "" if position.diff_bytes is None else f" (diff: {pretty_size(position.diff_bytes)})"
        rows.append((_LSN_LABELS[name], f"{position.lsn}{diff}"))
    for label, value in rows:
        yield f"     {label}: {value}"


def _minimal_lines(server: str, status: ReplicationStatus, title: str) -> Iterator[str]:
    at = f"for master '{server}' (LSN @ {status.server_lsn})" if status.server_lsn else f"for slave '{server}'"
    yield f"{title.capitalize()} {at}:"
    if not status.clients:
        yield f"  No {title} attached"
    for number, entry in enumerate(status.clients, start=1):
        client = entry.client
        place = f"{client.user}@{client.client_addr or 'socket'}"
        if client.kind == "standby":
            letter = _letter(entry)
            reached = f"S:{client.sent_lsn} F:{client.flush_lsn} R:{client.replay_lsn}"
        else:
            letter, reached = "W", f"S:{client.sent_lsn} W:{client.write_lsn}"
        yield f"  {number}. {letter}) {place} {reached} P:{client.sync_priority} AN:{client.application_name}"


def _render_json(output: Output, server: str, status: ReplicationStatus, target: Target, *, minimal: bool) -> None:
    title = _TITLES[target]
    entries = [_minimal_entry(entry) if minimal else _full_entry(entry) for entry in status.clients]
    document: dict[str, object] = {"server_lsn": status.server_lsn, title.lower().replace(" ", "_"): entries}
    if not entries:
        document["standby_info"] = f"No {title} attached"
    output.result(server, document)


def _full_entry(entry: ClientStatus) -> dict[str, object]:
    client = entry.client
    document: dict[str, object] = {
        "name": entry.heading,
        "application_name": client.application_name,
        "sync_stage": entry.stage,
        "communication": _communication(entry),
        "user_name": client.user,
        "current_state": client.state,
        "current_sync_state": client.sync_state,
        "wal_sender_pid": client.pid,
        "started_at": str(client.backend_start),
    }
    if client.client_addr:
        document |= {"ip_address": client.client_addr, "port": client.client_port, "host": client.client_hostname}
    if client.slot_name:
        document["replication_slot"] = client.slot_name
    if client.backend_xmin:
        document["standbys_xmin"] = client.backend_xmin
    for name, position in entry.positions.items():
        document[f"{name}_lsn"] = position.lsn
        if position.diff_bytes is not None:
            document[f"{name}_lsn_diff"] = pretty_size(position.diff_bytes)
            document[f"{name}_lsn_diff_bytes"] = position.diff_bytes
    return document


def _minimal_entry(entry: ClientStatus) -> dict[str, object]:
    client = entry.client
    document: dict[str, object] = {
        "user_name": client.user,
        "client_addr": client.client_addr or "socket",
        "sent_lsn": client.sent_lsn,
        "sync_priority": client.sync_priority,
        "application_name": client.application_name,
    }
    if client.kind == "standby":
        reached = {"flush_lsn": client.flush_lsn, "replay_lsn": client.replay_lsn, "sync_state": _letter(entry)}
        return {**document, **reached}
    return {**document, "write_lsn": client.write_lsn}


def _communication(entry: ClientStatus) -> str:
    return "TCP/IP" if entry.client.client_addr else "Unix domain socket"


def _letter(entry: ClientStatus) -> str:
    return (entry.client.sync_state or "-")[0].upper()
