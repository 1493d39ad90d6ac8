from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from barman.host.session import open_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from barman.host.session import Session


@pytest.fixture
def local_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Makes a zone the local one for the time of the test."""

    def choose(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield choose
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """A session on this very host, by a script that is called like ssh."""
    script = tmp_path / "connect"
    script.write_text('#!/bin/sh\nshift\nwhile [ "$1" = -o ]; do shift 2; done\nexec sh -c "$*"\n')
    script.chmod(0o755)
    with open_session(f"{script} there", env=os.environ) as opened:
        yield opened
