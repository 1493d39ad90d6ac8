"""A server on a temporary directory, with nobody behind its connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from barman.server import Server, open_server
from tests.support.settings import load_text
from tests.support.wal import segment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_SECTION = """
[main]
conninfo = host=/nonexistent user=nobody
backup_method = postgres
archiver = on
"""


@pytest.fixture
def server(tmp_path: Path) -> Server:
    """The server, its directories made."""
    made = open_server(load_text(tmp_path, _SECTION), "main")
    for directory in made.paths.directories:
        directory.mkdir(parents=True, exist_ok=True)
    return made


@pytest.fixture
def deliver(server: Server) -> Callable[..., None]:
    """Puts segments where archive_command puts them: deliver(*names)."""

    def put(*names: str) -> None:
        for name in names:
            temporary = server.paths.incoming / f".{name}.tmp"
            temporary.write_bytes(segment(name))
            temporary.rename(server.paths.incoming / name)

    return put
