"""The model applied to a server: the file that remembers it, and the options with it applied. Hot-safe."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from barman.config.resolve import resolve_server
from barman.errors import ConfigError
from barman.host import files

if TYPE_CHECKING:
    from collections.abc import Collection

    from barman.config.resolve import Resolved
    from barman.config.sources import Sources

STATE_FILE = ".active-model.auto"


def read_active_model(backup_directory: str) -> str | None:
    """Return the name of the applied model, None if there is none; ConfigError if the file cannot be read."""
    path = os.path.join(backup_directory, STATE_FILE)
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip() or None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"cannot read the active model from {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"cannot read the active model from {path}: {error}") from error


def write_active_model(backup_directory: str, model: str | None) -> None:
    """Remember the model durably; None forgets it."""
    path = os.path.join(backup_directory, STATE_FILE)
    if model is None:
        files.unlink_durably(path)
    else:
        files.make_directories(backup_directory)
        files.write_durably(path, model.encode())


class ActiveServer(NamedTuple):
    """The options of a server as they are now. model: the one applied. errors: what that disables the server for."""

    resolved: Resolved
    model: str | None
    errors: tuple[str, ...]


def resolve_active_server(sources: Sources, name: str, *, only: Collection[str] | None = None) -> ActiveServer:
    """Return the options of a server with its remembered model applied; only as in resolve_server."""
    directory = resolve_server(sources, name, only=("backup_directory",)).values["backup_directory"]
    try:
        model = read_active_model(str(directory))
    except ConfigError as error:
        return ActiveServer(resolve_server(sources, name, only=only), None, (error.message,))
    if model is not None and model not in sources.models:
        return ActiveServer(resolve_server(sources, name, only=only), None, (f"active model {model!r} does not exist",))
    resolved = resolve_server(sources, name, model=model, only=only)
    errors = (f"disabled by model {model!r}",) if resolved.values.get("disabled") else ()
    return ActiveServer(resolved, model, errors)
