"""A configuration in a temporary directory, and barman run on it in this process."""

from __future__ import annotations

import getpass
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from barman.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Ended:
    """What a command left."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Its output as data."""
        return json.loads(self.out)


class Desk:
    """Configuration files and a place to run commands."""

    def __init__(self, directory: Path, run: Callable[..., Ended]) -> None:
        """A configuration without servers."""
        self.directory = directory
        self.home = directory / "home"
        self.conf = directory / "barman.conf"
        self.log = directory / "barman.log"
        self._run = run
        self._text = ""
        self.section("barman", barman_user=getpass.getuser(), barman_home=self.home, log_file=self.log)

    def section(self, name: str, **options: object) -> None:
        """Add a section."""
        self._text += f"[{name}]\n" + "".join(f"{option} = {value}\n" for option, value in options.items())
        self.conf.write_text(self._text)

    def server(self, name: str, **options: object) -> None:
        """Add a server that needs no PostgreSQL to be listed."""
        defaults = {"conninfo": f"host={self.directory} dbname=postgres", "backup_method": "postgres", "archiver": "on"}
        self.section(name, **{**defaults, **options})

    def run(self, *words: object) -> Ended:
        """Run `barman -c CONF WORDS…`."""
        return self._run("-c", self.conf, *words)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run barman with just these words."""

    def run_main(*words: object) -> Ended:
        capsys.readouterr()
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return run_main


@pytest.fixture
def desk(tmp_path: Path, run: Callable[..., Ended]) -> Desk:
    """A configuration without servers."""
    return Desk(tmp_path, run)
