"""Looking at the primary of a passive server: can it be reached, and how far are we behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from barman.errors import BarmanError
from barman.host.ssh import parse_ssh_command
from barman.monitor.check_facts import PrimaryFacts
from barman.monitor.source import describe_login_failure
from barman.sync.watch import look_at_lag

if TYPE_CHECKING:
    from datetime import datetime

    from barman.server import Server

_LIMIT_S = 30.0


def probe_primary(server: Server, now: datetime, timeout_s: float | None) -> PrimaryFacts:
    """Log in to the primary, and compare what it last said with what is here."""
    try:
        lag, lag_error = look_at_lag(server, now), None
    except (BarmanError, OSError) as error:
        lag, lag_error = None, str(error)
    try:
        shell = parse_ssh_command(server.settings.primary_ssh_command or "")
        limit_s = _LIMIT_S if timeout_s is None else max(timeout_s, 0.1)
        done = shell.run("true", timeout_s=limit_s, env=server.environment())
    except BarmanError as error:
        return PrimaryFacts(lag, lag_error, ssh_error=error.message)
    if done.status == 0:
        return PrimaryFacts(lag, lag_error)
    return PrimaryFacts(lag, lag_error, ssh_error=describe_login_failure(shell, done))
