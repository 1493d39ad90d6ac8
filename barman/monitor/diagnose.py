"""`diagnose`: everything about an installation in one document, for the one who has to find out what is wrong."""

from __future__ import annotations

import logging
import os
import platform
import re
import shlex
import sys
from typing import TYPE_CHECKING

from barman.catalog.record import record_to_json
from barman.errors import BarmanError
from barman.host import runner
from barman.host.ssh import parse_ssh_command
from barman.monitor.check_facts import RemoteFacts, ToolFacts
from barman.monitor.probes import probe_remote, probe_tools
from barman.monitor.remote_status import remote_status
from barman.monitor.servers import plain, shown_options
from barman.postgres.conninfo import mask_secrets
from barman.server import Server
from barman.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from barman.catalog.xlog_lines import WalEntry
    from barman.config.load import Config, ModelConfig

_log = logging.getLogger(__name__)

_TOOL_TIMEOUT_S = 10
# Facts about another host, a line each; what it has not leaves its line empty.
_LOOK = r"""
say() { name=$1; shift; printf '%s=%s\n' "$name" "$("$@" 2>&1 | head -n 1)"; }
say kernel_ver uname -a
say python_ver python3 --version
say python_executable command -v python3
say release sh -c '. /etc/os-release && echo "$PRETTY_NAME"'
say rsync_ver rsync --version
say ssh_ver ssh -V
"""
_VERSION = re.compile(r"\d+(\.\w+)+")


def diagnose(config: Config, now: datetime, *, show_source: bool) -> Mapping[str, object]:
    """The document; JSON data, but for datetimes. What cannot be found out is left out, and the log says why.

    show_source: every option of the configuration becomes its value and the file it comes from.
    """
    document = {
        "global": {"config": _globals(config, show_source=show_source), "system_info": system_info(now)},
        "models": {name: {"config": _model(model, show_source=show_source)} for name, model in config.models.items()},
        "servers": {
            name: _server(Server(found, config.globals, config.path), show_source=show_source)
            for name, found in config.servers.items()
        },
    }
    return {name: _masked(part) for name, part in document.items()}


def _masked(value: object) -> object:
    """The same data without passwords; masking the finished text instead would tear its quotes."""
    if isinstance(value, str):
        return mask_secrets(value)
    if isinstance(value, dict):
        return {key: _masked(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_masked(part) for part in value]
    return value


def _globals(config: Config, *, show_source: bool) -> Mapping[str, object]:
    settings = config.globals
    values: dict[str, object] = {
        **config.global_options,
        "barman_lock_directory": str(settings.barman_lock_directory),
        "config_changes_queue": str(settings.config_changes_queue),
        "lock_directory_cleanup": settings.lock_directory_cleanup,
    }
    return {**_sourced(values, config.global_origins, show_source=show_source), "errors_list": [*config.path_conflicts]}


def _model(model: ModelConfig, *, show_source: bool) -> Mapping[str, object]:
    values = {name: plain(value) for name, value in model.options.items()}
    values |= {"model": True, "cluster": model.cluster}
    return _sourced(values, model.origins, show_source=show_source)


def _server(server: Server, *, show_source: bool) -> Mapping[str, object]:
    config = server.config
    return {
        "active_model": config.active_model,
        "msg_list": [*config.errors],
        "config": _sourced(shown_options(config), config.origins, show_source=show_source),
        "status": _status(server),
        **_source_info(server),
        "backups": _backups(server),
        "wals": {"last_archived_wal_per_timeline": _newest_wal(server)},
    }


def _sourced(values: Mapping[str, object], origins: Mapping[str, str], *, show_source: bool) -> dict[str, object]:
    if not show_source:
        return dict(values)
    return {name: {"value": value, "source": origins.get(name, "default")} for name, value in values.items()}


def _status(server: Server) -> Mapping[str, object]:
    remote, tools = RemoteFacts(), ToolFacts()
    if server.config.is_active and not server.config.is_passive:
        remote = probe_remote(server, server.settings.check_timeout or None, with_size=True)
        tools = probe_tools(server)
    return remote_status(server.settings, remote, tools)


def _backups(server: Server) -> Mapping[str, object]:
    try:
        return {record.backup_id: record_to_json(record, iso_times=True) for record in server.backups.load().values()}
    except (BarmanError, OSError) as error:
        _log.warning("server %s: cannot read the backups: %s", server.name, error)
        return {}


def _newest_wal(server: Server) -> Mapping[str, object]:
    try:
        newest = server.xlogdb.newest_per_timeline()
    except (BarmanError, OSError) as error:
        _log.warning("server %s: cannot read the WAL catalogue: %s", server.name, error)
        return {}
    return {f"{timeline:08X}": _wal(entry) for timeline, entry in newest.items()}


def _wal(entry: WalEntry) -> Mapping[str, object]:
    """A line of the WAL catalogue under the keys that Barman always used."""
    fields = entry._asdict()
    return {"time" if name == "mtime" else name: value for name, value in fields.items()}


def system_info(now: datetime) -> Mapping[str, object]:
    """Facts about this host and the programs on it; JSON data, but for the datetime."""
    return {
        "barman_ver": __version__,
        "kernel_ver": " ".join(os.uname()),
        "python_ver": f"Python {platform.python_version()}",
        "python_executable": sys.executable,
        "release": _release(),
        "rsync_ver": _tool_version("rsync", "--version"),
        "ssh_ver": _tool_version("ssh", "-V"),
        "timestamp": now.astimezone(),
    }


def _source_info(server: Server) -> Mapping[str, object]:
    """Facts about the host that ssh_command leads to; {} if nobody can log in there."""
    command = server.settings.ssh_command
    if command is None:
        return {}
    try:
        shell = parse_ssh_command(command)
        done = shell.run(f"sh -c {shlex.quote(_LOOK)}", timeout_s=_TOOL_TIMEOUT_S, env=server.environment())
    except BarmanError as error:
        _log.warning("server %s: nothing is known of its host: %s", server.name, error)
        return {}
    lines = [line.partition("=") for line in done.stdout.splitlines()]
    return {"system_info": {name: value or None for name, _, value in lines}} if done.status == 0 else {}


def _release() -> str:
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return platform.platform()
    return release.get("PRETTY_NAME", release.get("NAME", ""))


def _tool_version(*argv: str) -> str | None:
    """The first line a program prints about its version; ssh prints it on standard error."""
    try:
        completed = runner.run(argv, timeout_s=_TOOL_TIMEOUT_S, check=False)
    except BarmanError:
        return None
    text = (completed.stdout or completed.stderr).strip()
    return text.splitlines()[0] if _VERSION.search(text) else None
