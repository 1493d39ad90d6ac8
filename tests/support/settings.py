"""Configurations without files of one's own: settings with defaults, and configurations written on the spot."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

from barman.config.load import load_config
from barman.config.resolve import resolve_server
from barman.config.settings import build_server_settings
from barman.config.sources import Setting, Sources

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from barman.config.load import Config
    from barman.config.settings import ServerSettings


def server_settings(name: str = "main", home: str = "/srv/barman", **overrides: object) -> ServerSettings:
    """Return ServerSettings of a server for which only overrides are configured, as text."""

    def settings(values: Mapping[str, object]) -> dict[str, Setting]:
        return {option: Setting(str(value), "barman.conf", 1) for option, value in values.items()}

    sources = Sources(
        path="barman.conf",
        files=("barman.conf",),
        auto_file=f"{home}/.barman.auto.conf",
        globals=settings({"barman_home": home}),
        servers={name: settings(overrides)},
        models={},
        problems=(),
    )
    return build_server_settings(resolve_server(sources, name).values)


def write_configuration(directory: Path, text: str, *, globals_text: str = "") -> Path:
    """Write barman.conf with a [barman] section for this user and home DIRECTORY/home, then text; return its path."""
    (directory / "home").mkdir(exist_ok=True)
    path = directory / "barman.conf"
    user = pwd.getpwuid(os.geteuid()).pw_name
    path.write_text(f"[barman]\nbarman_home = {directory}/home\nbarman_user = {user}\n{globals_text}\n{text}")
    return path


def load_text(directory: Path, text: str, *, globals_text: str = "") -> Config:
    """Return the Config of such a file."""
    return load_config(write_configuration(directory, text, globals_text=globals_text))
