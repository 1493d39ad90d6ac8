"""Who we are, as the restored cluster has to know it to fetch its WAL from us."""

from __future__ import annotations

import os
import pwd
import socket
from typing import TYPE_CHECKING

from barman.config.sources import SEARCHED
from barman.restore.access import Origin

if TYPE_CHECKING:
    from barman.config.settings import ServerSettings
    from barman.restore.request import RestoreRequest
    from barman.server import Server


def find_origin(server: Server, request: RestoreRequest, settings: ServerSettings) -> Origin:
    """Return how the cluster that request restores finds this server of ours."""
    config = str(server.config_path.absolute())
    program = ("barman", "-c", config)
    if request.remote_ssh_command is None:
        return Origin(server.name, program)
    return Origin(
        server.name,
        program,
        user=pwd.getpwuid(os.geteuid()).pw_name,
        host=_own_name(),
        config_path=None if config in map(os.path.expanduser, SEARCHED) else config,
        jobs=settings.parallel_jobs,
    )


def _own_name() -> str:
    """Return the name by which others may know this host: never one that means themselves to them."""
    name = socket.getfqdn()
    return socket.gethostname() if name.partition(".")[0] in ("localhost", "ip6-localhost") else name
