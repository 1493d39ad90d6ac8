"""PostgreSQL's own programs: finding them, and the command lines we give them (built by pure functions).

Passwords are not on these command lines: programs get them from Conninfo.environment().
"""

from __future__ import annotations

import functools
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from barman.errors import CommandError
from barman.host import runner
from barman.postgres.versions import Feature, is_tool_compatible, major_version, parse_tool_version, supports

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike

    from barman.postgres.base_compression import BaseCompression
    from barman.postgres.conninfo import Conninfo

_VERSION_TIMEOUT_S = 30
# Where distributions keep the programs of the server, which are not in PATH.
_PROGRAM_DIRECTORIES = ("/usr/lib/postgresql/{0}/bin", "/usr/pgsql-{0}/bin")
_GZIP_DEFAULT_LEVEL = -1
_HANDING_OUT = threading.Lock()


@dataclass(frozen=True, slots=True)
class Tool:
    """A program of PostgreSQL that is installed here."""

    name: str
    path: str
    version_num: int


def find_tool(name: str, path_prefix: str | None, *, old_name: str | None = None) -> Tool:
    """Return the program, looked for in path_prefix and then in PATH.

    old_name: accepted in its place (pg_receivexlog). CommandError if there is none, or it does not tell its version.
    """
    for candidate in filter(None, (name, old_name)):
        path = runner.which(candidate, path_prefix)
        if path is not None:
            return Tool(candidate, path, _version_of(path))
    raise CommandError(
        f"{name} not found in {f'path_prefix ({path_prefix}) or ' if path_prefix else ''}PATH",
        hint="Install PostgreSQL's client programs, or name their directory in path_prefix.",
    )


def program_directories(major: str) -> tuple[str, ...]:
    """Return where distributions keep the programs of that major version."""
    return tuple(place.format(major) for place in _PROGRAM_DIRECTORIES)


def _version_of(path: str) -> int:
    """Return the version a program tells; each is asked once, however many servers use it at the same time."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise CommandError(f"cannot run '{path}': {error.strerror}") from error
    with _HANDING_OUT:
        turn = _turn_to_ask(path)
    with turn:
        return _ask_version(path, (status.st_dev, status.st_ino, status.st_mtime_ns))


@functools.cache
def _turn_to_ask(_path: str) -> threading.Lock:
    return threading.Lock()


@functools.lru_cache(maxsize=32)
def _ask_version(path: str, _installed: tuple[int, ...]) -> int:
    done = runner.run([path, "--version"], timeout_s=_VERSION_TIMEOUT_S, env=runner.environment(LC_ALL="C"))
    return parse_tool_version(done.stdout)


def require_compatible(tool: Tool, server_version_num: int) -> None:
    """Raise CommandError if the tool's major version is older than the server's."""
    if not is_tool_compatible(tool.version_num, server_version_num):
        server, own = major_version(server_version_num), major_version(tool.version_num)
        raise CommandError(
            f"{tool.path} is of PostgreSQL {own}, too old for a server of version {server}",
            hint=f"Install the client programs of PostgreSQL {server}, or name their directory in path_prefix.",
        )


def pg_waldump_argv(tool: Tool, *, directory: PathLike[str], first: str, last: str) -> list[str]:
    """Return the command line that reads, and so checks, all records of the segments first to last in directory."""
    return [tool.path, "--stats", f"--path={directory}", first, last]


def pg_receivewal_argv(
    tool: Tool,
    *,
    conninfo: Conninfo,
    directory: PathLike[str],
    slot: str | None = None,
    synchronous: bool = False,
    end_lsn: str | None = None,
) -> list[str]:
    """Return the command line that streams WAL into directory until it is stopped or the connection ends.

    end_lsn: it ends by itself when everything before is there.
    """
    return [
        tool.path,
        f"--dbname={_dsn(tool, conninfo)}",
        "--verbose",
        "--no-loop",
        "--no-password",
        f"--directory={directory}",
        *([f"--slot={slot}"] if slot else []),
        *(["--synchronous"] if synchronous else []),
        *([f"--endpos={end_lsn}"] if end_lsn is not None else []),
    ]


def pg_basebackup_argv(  # noqa: PLR0913  one keyword per choice of the command line
    tool: Tool,
    *,
    conninfo: Conninfo,
    directory: PathLike[str],
    tablespace_mapping: Mapping[str, PathLike[str]],
    bandwidth_kib_s: int | None = None,
    immediate_checkpoint: bool = False,
    parent_manifest: PathLike[str] | None = None,
    compression: BaseCompression | None = None,
    target_dbid: int | None = None,
) -> list[str]:
    """Return the command line that copies a cluster into directory, without its WAL.

    tablespace_mapping: location on the server to directory here. bandwidth_kib_s: 0 and None are unlimited.
    parent_manifest: makes the backup incremental. target_dbid: for WarehousePG only.
    """
    return [
        tool.path,
        f"--dbname={_dsn(tool, conninfo)}",
        "--verbose",
        "--no-password",
        f"--pgdata={directory}",
        "--no-slot",
        "--wal-method=none",
        *_tablespace_options(tablespace_mapping),
        *([f"--max-rate={bandwidth_kib_s}"] if bandwidth_kib_s else []),
        *([f"--incremental={parent_manifest}"] if parent_manifest is not None else []),
        *(["--checkpoint=fast"] if immediate_checkpoint else []),
        *([f"--target-gp-dbid={target_dbid}"] if target_dbid is not None else []),
        *(_compression_options(compression, tool.version_num) if compression is not None else []),
    ]


def pg_combinebackup_argv(
    tool: Tool,
    *,
    backups: Sequence[PathLike[str]],
    output: PathLike[str],
    tablespace_mapping: Mapping[str, PathLike[str]],
    mode: str | None = None,
) -> list[str]:
    """Return the command line that makes a full backup in output of a chain of backups, the full one first.

    Nothing is synced. tablespace_mapping: location in the last backup of the chain to new location. mode: copy (None),
    link, clone or copy-file-range.
    """
    return [
        tool.path,
        "--no-sync",
        f"--output={output}",
        *_tablespace_options(tablespace_mapping),
        *([f"--{mode}"] if mode is not None and mode != "copy" else []),
        *(str(backup) for backup in backups),
    ]


def _dsn(tool: Tool, conninfo: Conninfo) -> str:
    return (conninfo.with_tcp_limits() if supports(tool.version_num, Feature.TCP_LIMITS) else conninfo).to_dsn()


def _tablespace_options(mapping: Mapping[str, PathLike[str]]) -> list[str]:
    # The programs split at the first "=" that has no backslash before it.
    pairs = ((str(part).replace("=", r"\=") for part in pair) for pair in mapping.items())
    return [f"--tablespace-mapping={old}={new}" for old, new in pairs]


def _compression_options(compression: BaseCompression, tool_version_num: int) -> list[str]:
    level = compression.level
    if compression.algorithm == "gzip" and level == _GZIP_DEFAULT_LEVEL:
        level = None
    if not supports(tool_version_num, Feature.SERVER_COMPRESSION):
        chosen = [f"--compress={level}"] if level is not None else []
        return ["--format=tar", *([] if compression.algorithm == "none" else [*chosen, "--gzip"])]
    if compression.algorithm == "none":
        return ["--format=tar", "--compress=none"]
    details = [
        *([f"level={level}"] if level is not None else []),
        *([f"workers={compression.workers}"] if compression.workers is not None else []),
    ]
    method = f"{compression.location}-{compression.algorithm}"
    return [f"--format={compression.format}", f"--compress={':'.join(filter(None, (method, ','.join(details))))}"]
