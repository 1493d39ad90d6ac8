"""What the configured retention policy of a server says about its backups."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from barman.errors import ConfigError
from barman.retention.policy import parse_policy, standing_alone, verdicts

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


def require_understood(server: Server) -> None:
    """ConfigError if a value that says what must not be deleted could not be understood, and its default counts."""
    deciding = ("minimum_redundancy", "retention_policy", "retention_policy_mode", "wal_retention_policy")
    for problem in server.config.problems:
        if problem.bad_value and problem.option in deciding:
            raise ConfigError(
                f"no backup of server '{server.name}' is deleted: {problem.text}",
                hint=f"Correct {problem.option} first.",
            )


def server_verdicts(
    server: Server,
    records: Mapping[BackupId, BackupRecord],
    now: datetime,
    *,
    keeps: Mapping[BackupId, KeepTarget] | None = None,
) -> Mapping[BackupId, Verdict]:
    """Return what the configured policy says about each backup; ConfigError if the policy cannot be understood.

    keeps: the annotations, where somebody has read them already.
    """
    policy = server_policy(server)
    if keeps is None:
        keeps = server.backups.keeps() if policy else {}
    return verdicts(records, keeps, policy, minimum_redundancy=server.settings.minimum_redundancy, now=now)


def server_keeps(
    server: Server, records: Mapping[BackupId, BackupRecord], now: datetime
) -> Mapping[BackupId, KeepTarget]:
    """Return how backups are kept, as it decides about their WAL: by annotations, and by the policy for the long term.

    Without a policy, or with one that cannot be understood, nobody says that the WAL behind a backup is not wanted: it
    stays.
    """
    keeps = server.backups.keeps()
    try:
        return standing_alone(server_verdicts(server, records, now, keeps=keeps), keeps)
    except ConfigError as error:
        _log.warning("server %s: %s", server.name, error)
        return standing_alone({}, keeps)
