"""`list-servers` and `show-servers`: what is configured, and how it is."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from barman.config.settings import option_values
from barman.errors import ConfigError
from barman.host import clock
from barman.human import pretty_interval
from barman.monitor.check_facts import ToolFacts
from barman.monitor.probes import probe_remote, probe_tools
from barman.monitor.remote_status import remote_status
from barman.postgres.conninfo import mask_secrets
from barman.retention.policy import parse_policy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from barman.config.load import ServerConfig
    from barman.server import Server


def describe(config: ServerConfig) -> str:
    """The description as list-servers shows it: what the operator wrote, and what keeps the server from working."""
    return (config.settings.description or "") + _state(config) + (" (Passive)" if config.is_passive else "")


def shown_options(config: ServerConfig) -> dict[str, object]:
    """Every option of a server and its name, as JSON data, passwords blackened; `disabled` tells how the server is."""
    values = {name: plain(value) for name, value in option_values(config.settings).items()}
    policy = _retention_policy(config.settings.retention_policy)
    return values | {"name": config.name, "disabled": config.is_disabled, "retention_policy": policy}


def show_server(server: Server) -> Mapping[str, object]:
    """Every option and the remote status of one server by key, passwords blackened. JSON data, but for datetimes."""
    settings = server.settings
    shown = shown_options(server.config) | {
        "description": settings.description or _state(server.config).strip() or None,
        # As they apply, and as Barman 3.19 shows them.
        "streaming_conninfo": plain(settings.effective_streaming_conninfo),
        "encryption": None if settings.encryption == "none" else settings.encryption,
        "wal_retention_policy": settings.wal_retention_policy.upper(),
        "tablespace_bandwidth_limit": plain(settings.tablespace_bandwidth_limit) or None,
        "passive_node": server.config.is_passive,
        "active_model": server.config.active_model,
        "last_backup_maximum_age": _maximum_age(server, clock.now()),
        "last_wal_maximum_age": None if settings.last_wal_maximum_age is None else str(settings.last_wal_maximum_age),
    }
    if not server.config.is_passive:
        remote = probe_remote(server, server.settings.check_timeout or None, with_size=True)
        tools = probe_tools(server) if server.config.is_active else ToolFacts()
        shown |= remote_status(server.settings, remote, tools)
    return shown


def plain(value: object) -> object:
    """An option's value as JSON data: numbers, booleans and None as they are, sets joined, everything else as text."""
    if isinstance(value, frozenset):
        return ",".join(sorted(value))
    if isinstance(value, timedelta):
        return pretty_interval(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, str):
        return mask_secrets(value)
    if isinstance(value, tuple):
        return list(value)
    return value


def _retention_policy(text: str | None) -> str | None:
    """The policy as it is understood; as it is written if it is not."""
    if text is None:
        return None
    try:
        return str(parse_policy(text))
    except ConfigError:
        return text


def _state(config: ServerConfig) -> str:
    if not config.is_active:
        return " (inactive)"
    return " (WARNING: disabled)" if config.is_disabled else ""


def _maximum_age(server: Server, now: datetime) -> str | None:
    limit = server.settings.last_backup_maximum_age
    if limit is None:
        return None
    ends = [record.end_time for record in server.backups.load().values() if record.is_copy_done and record.end_time]
    if not ends:
        return f"{pretty_interval(limit)} (WARNING! no backup available)"
    age = now - max(ends)
    if age > limit:
        return f"{pretty_interval(limit)} (WARNING! latest backup is {pretty_interval(age)} old)"
    return f"{pretty_interval(limit)} (latest backup: {pretty_interval(age)} )"
