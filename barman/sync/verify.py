"""Comparing a copied backup with its manifest, and telling which files are damaged."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, NamedTuple

from barman.errors import CommandError
from barman.host import runner
from barman.postgres.tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from barman.catalog.record import BackupRecord
    from barman.server import Server

_log = logging.getLogger(__name__)

_TOOL = "pg_verifybackup"
_MANIFEST = "backup_manifest"
# Source: PostgreSQL's pg_verifybackup.c.
_DAMAGED = re.compile(
    r'checksum mismatch for file "(?P<checksum>.*)"'
    r'|"(?P<missing>.*)" is present in the manifest but not on disk'
    r'|"(?P<size>.*)" has size \d+ on disk'
    r'|file "(?P<short>.*)" should contain \d+ bytes'
)
_ALIEN = re.compile(r'".*" is present on disk but not in the manifest')
_IN_TABLESPACE = re.compile(r"pg_tblspc/(\d+)/(.*)")


class Verified(NamedTuple):
    """damaged: files that do not agree with the manifest, relative to the backup's directory.

    unverified: why checksums could not be compared, None if they were.
    """

    damaged: tuple[str, ...] = ()
    unverified: str | None = None


def has_manifest(data: Path, record: BackupRecord) -> bool:
    """Whether there is a manifest that the files of a backup can be compared with."""
    return record.compression is None and (data / _MANIFEST).is_file()


def can_verify(server: Server) -> bool:
    """Whether this host can compare a backup with its manifest."""
    try:
        find_tool(_TOOL, server.settings.path_prefix)
    except CommandError:
        return False
    return True


def verify(server: Server, record: BackupRecord) -> Verified:
    """Compare every file of a backup with its manifest."""
    data = server.paths.data_dir(record.backup_id)
    if not has_manifest(data, record):
        return Verified(unverified="it has no backup_manifest, or is in tar format")
    try:
        tool = find_tool(_TOOL, server.settings.path_prefix)
    except CommandError as error:
        return Verified(unverified=error.message)
    argv = [tool.path, "--no-parse-wal", str(data)]
    env = runner.environment(server.settings.path_prefix, LC_ALL="C")
    done = runner.run(argv, timeout_s=None, env=env, check=False)
    damaged = _damaged_files(done.stderr.splitlines())
    if done.status and not damaged:
        said = next((line for line in done.stderr.splitlines() if not _ALIEN.search(line)), None)
        return Verified(unverified=said)
    return Verified(damaged)


def _damaged_files(lines: Sequence[str]) -> tuple[str, ...]:
    names = [_tree_name(match[match.lastgroup or 0]) for match in map(_DAMAGED.search, lines) if match]
    return tuple(dict.fromkeys(names))


def _tree_name(path: str) -> str:
    """Return where a file of the manifest is in the backup's directory: tablespaces have directories of their own."""
    match = _IN_TABLESPACE.fullmatch(path)
    return f"{match[1]}/{match[2]}" if match else f"data/{path}"
