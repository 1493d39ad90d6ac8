"""Making the background process that receives WAL follow a change of the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from barman.host.processes import stop_holder

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from barman.config.load import ServerConfig
    from barman.cron.tick import Starter
    from barman.server import Server


def find_affected(servers: Iterable[ServerConfig], changed: Collection[str]) -> list[str]:
    """Return the names of the servers whose options come from changed sections: their own, or of the model applied."""
    return [server.name for server in servers if server.name in changed or server.active_model in changed]


def restart_receiver(server: Server, starter: Starter) -> None:
    """Stop receive-wal of server if it runs, and start it anew if the server is to be received from.

    BarmanError if it cannot be stopped or started.
    """
    stop_holder(server.locks.receive_wal(), "receive-wal")
    config = server.config
    if server.settings.streaming_archiver and config.is_active and not config.is_disabled and not config.is_passive:
        starter.spawn((*starter.prefix, "receive-wal", server.name))
