"""Making PostgreSQL close its current WAL segment, and waiting until it is archived."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from barman.errors import Refused, WalError
from barman.wal.wait import wait_for_wal

if TYPE_CHECKING:
    from barman.postgres.connection import Postgres
    from barman.postgres.facts import SwitchResult
    from barman.progress import Reporter
    from barman.server import Server

DEFAULT_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class SwitchReport:
    """What came of it.

    closed: the completed segment, None if there was nothing to switch. archived: whether WAL arrived in the archive in
    time, None if nobody waited for it.
    """

    closed: str | None
    archived: bool | None = None


def switch_wal(
    server: Server,
    reporter: Reporter,
    *,
    force: bool = False,
    archive: bool = False,
    timeout_s: int = DEFAULT_TIMEOUT_S,
) -> SwitchReport:
    """Close the current WAL segment of the server; of its primary, if it is a standby and we know that.

    force: have a checkpoint first, so that there is something to switch. archive: archive and wait until the segment,
    or if none was closed any new one, is in the archive; timeout_s: 0 waits for ever. WalError if the closed segment is
    not archived in time, Refused for a passive server or without the privilege for a checkpoint.
    """
    if server.config.is_passive:
        raise Refused(
            f"server {server.name} is passive and has no connection to PostgreSQL",
            hint="Switch WAL on its primary Barman host.",
        )
    result = _switch(server, reporter, force=force)
    if result is None:
        return SwitchReport(None)
    if result.closed is None:
        reporter.info(f"No switch required for server '{server.name}'")
    else:
        reporter.info(f"The WAL file {result.closed} has been closed on server '{server.name}'")
    return SwitchReport(result.closed, _wait(server, reporter, result.closed, timeout_s) if archive else None)


def _switch(server: Server, reporter: Reporter, *, force: bool) -> SwitchResult | None:
    """Switch where that is possible; None where it is not: a standby whose primary we do not know."""
    with server.postgres() as postgres:
        if not postgres.is_in_recovery():
            return _switch_primary(postgres, force=force)
        system_identifier = postgres.facts().system_identifier
    primary = server.primary_postgres()
    if primary is None:
        reporter.info(f"No switch performed because server '{server.name}' is a standby.")
        return None
    with primary:
        if primary.facts().system_identifier != system_identifier:
            raise Refused(f"primary_conninfo of server {server.name} leads to another cluster than its standby")
        return _switch_primary(primary, force=force)


def _switch_primary(postgres: Postgres, *, force: bool) -> SwitchResult:
    if force:
        if not postgres.facts().has_checkpoint_privileges:
            raise Refused(
                "the role of the connection may not request a checkpoint",
                hint="Use a superuser, or from PostgreSQL 15 on grant the role pg_checkpoint.",
            )
        postgres.checkpoint()
    return postgres.switch_wal()


def _wait(server: Server, reporter: Reporter, name: str | None, timeout_s: int) -> bool:
    what = "a WAL file" if name is None else f"the WAL file {name}"
    limit = f" (max: {timeout_s} seconds)" if timeout_s else ""
    reporter.info(f"Waiting for {what} from server '{server.name}'{limit}")
    if wait_for_wal(server, name, timeout_s or None, reporter):
        return True
    late = f"{what[0].upper()}{what[1:]} has not been received in {timeout_s} seconds"
    if name is not None:
        raise WalError(late, hint=f"Run 'barman check {server.name}' to see why WAL does not arrive.")
    reporter.info(late)
    return False
