"""The file that remembers which model is applied to a server. Hot-safe."""

from __future__ import annotations

import os

from barman.errors import ConfigError
from barman.host import files

STATE_FILE = ".active-model.auto"


def read_active_model(backup_directory: str) -> str | None:
    """Return the name of the applied model, None if there is none; ConfigError if the file cannot be read."""
    path = os.path.join(backup_directory, STATE_FILE)
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip() or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the active model from {path}: {error}") from error


def write_active_model(backup_directory: str, model: str | None) -> None:
    """Remember the model durably; None forgets it."""
    path = os.path.join(backup_directory, STATE_FILE)
    if model is None:
        files.unlink_durably(path)
    else:
        files.make_directories(backup_directory)
        files.write_durably(path, model.encode())
