"""A server that archives WAL without a PostgreSQL behind it, and what one sees of it from outside."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.support.users import give
from tests.support.wal import segment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.homes import BarmanHome, BarmanServer


def archiving_server(home: BarmanHome, name: str = "main", **options: object) -> BarmanServer:
    """Add a server that gets WAL from both sides; nobody answers its connections."""
    common = {
        "description": "no PostgreSQL behind it",
        "conninfo": "host=/nonexistent user=nobody dbname=postgres",
        "streaming_conninfo": "host=/nonexistent user=nobody",
        "backup_method": "postgres",
        "archiver": "on",
        "streaming_archiver": "on",
        "slot_name": "barman",
    }
    server = home.server(name, **{**common, **options})
    for directory in (server.directory, server.incoming, server.streaming, server.wals):
        directory.mkdir(exist_ok=True)
        give(directory, 0o755)
    return server


def put(path: Path, content: bytes) -> Path:
    """Make a file of barman's user."""
    path.write_bytes(content)
    return give(path)


def deliver(directory: Path, *names: str, **options: object) -> None:
    """Write segments as archive_command or pg_receivewal would; names may be those of partial ones."""
    for name in names:
        put(directory / name, segment(name[:24], **options))  # type: ignore[arg-type]


def catalogue(server: BarmanServer) -> list[list[str]]:
    """Return the lines of the WAL catalogue, split."""
    path = server.wals / f"{server.name}-xlog.db"
    return [line.split("\t") for line in path.read_text().splitlines()] if path.exists() else []


def listed(server: BarmanServer) -> list[str]:
    """Return the names in the WAL catalogue, in its order."""
    return [line[0] for line in catalogue(server)]


def errors(server: BarmanServer) -> dict[str, str]:
    """Return why files were set aside, by name."""
    directory = server.directory / "errors"
    split = (path.name.rsplit(".", 2) for path in directory.iterdir()) if directory.exists() else ()
    return {name: reason for name, _, reason in split}


def stored(server: BarmanServer, name: str) -> Path:
    """Return where an archived file is."""
    return server.wals / name if name.endswith(".history") else server.wals / name[:16] / name


def left(directory: Path) -> list[str]:
    """Return all names in a directory, sorted."""
    return sorted(os.listdir(directory))
