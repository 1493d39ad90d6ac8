"""Looking at the host whose files are copied: can it be reached, and are they there."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from barman.errors import BarmanError
from barman.host.ssh import parse_ssh_command
from barman.monitor.check_facts import SourceFacts

if TYPE_CHECKING:
    from barman.host.runner import Completed
    from barman.host.ssh import Logins, RemoteShell
    from barman.server import Server

_LABEL = "backup_label"
_FOUND = "barman:label"
_LIMIT_S = 30.0


def probe_source(
    server: Server, pgdata: str | None, timeout_s: float | None, logins: Logins | None = None
) -> SourceFacts:
    """Log in, or look here, and see. pgdata: None if nobody knows where the data directory is.

    logins: on that host, begun already; None: log in for this.
    """
    if server.settings.backup_method == "local-rsync":
        return _look_here(pgdata)
    try:
        shell = parse_ssh_command(server.settings.ssh_command or "")
        command = "true" if pgdata is None else f"test -e {shlex.quote(f'{pgdata}/{_LABEL}')} && printf {_FOUND}; true"
        limit_s = _LIMIT_S if timeout_s is None else max(timeout_s, 0.1)
        if logins is None:
            done = shell.run(command, timeout_s=limit_s, env=server.environment())
        else:
            done = logins.run(command, timeout_s=limit_s)
    except BarmanError as error:
        return SourceFacts(error=error.message)
    if done.status != 0:
        return SourceFacts(error=describe_login_failure(shell, done))
    noise = done.stdout.removesuffix(_FOUND)
    return SourceFacts(noise=noise, has_label=noise != done.stdout)


def describe_login_failure(shell: RemoteShell, done: Completed) -> str:
    """Return where a login led, and the last that was said of its failure."""
    said = done.stderr.strip().splitlines()[-1:] or [f"ssh ended with exit status {done.status}"]
    reason = said[0].strip()
    return reason if shell.name in reason else f"{shell.name}: {reason}"


def _look_here(pgdata: str | None) -> SourceFacts:
    if pgdata is None:
        return SourceFacts()
    try:
        os.listdir(pgdata)
    except OSError as error:
        return SourceFacts(error=f"{pgdata}: {error.strerror}")
    return SourceFacts(has_label=os.path.exists(os.path.join(pgdata, _LABEL)))
