"""What the configured retention policy of a server says about its backups."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from barman.errors import ConfigError
from barman.retention.policy import Combined, parse_policy, standing_alone, verdicts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from barman.catalog.record import BackupId, BackupRecord, KeepTarget
    from barman.retention.policy import Policy, Verdict
    from barman.server import Server

_log = logging.getLogger(__name__)


def server_policy(server: Server) -> Policy | None:
    """Return the configured policy, if there is one; ConfigError if it cannot be understood."""
    text = server.settings.retention_policy
    return None if text is None else parse_policy(text)


def server_verdicts(
    server: Server, records: Mapping[BackupId, BackupRecord], now: datetime
) -> Mapping[BackupId, Verdict]:
    """Return what the configured policy says about each backup; ConfigError if the policy cannot be understood."""
    policy = server_policy(server)
    keeps = server.backups.keeps() if policy else {}
    return verdicts(records, keeps, policy, minimum_redundancy=server.settings.minimum_redundancy, now=now)


def server_keeps(
    server: Server, records: Mapping[BackupId, BackupRecord], now: datetime
) -> Mapping[BackupId, KeepTarget]:
    """Return how backups are kept, with those that the policy keeps for the long term: what decides about their WAL.

    A policy that cannot be understood keeps none for the long term, so that more WAL stays.
    """
    keeps = server.backups.keeps()
    try:
        if isinstance(server_policy(server), Combined):
            return standing_alone(server_verdicts(server, records, now), keeps)
    except ConfigError as error:
        _log.warning("server %s: %s", server.name, error)
    return keeps
