"""config-switch: apply a model to a server, or take it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from barman.config.active_model import write_active_model
from barman.config.settings import option_values
from barman.errors import ConfigError, Refused, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from barman.config.load import Config, ModelConfig, ServerConfig
    from barman.progress import Reporter


def apply_model(config: Config, server: ServerConfig, name: str, reporter: Reporter) -> None:
    """Remember that the model is applied to server, and tell what that changes; nothing if it already is.

    UserError if there is no such model, Refused if it belongs to another cluster.
    """
    model = config.models.get(name)
    if model is None:
        raise UserError(f"Unknown model '{name}'")
    if model.cluster != server.settings.cluster:
        raise Refused(
            f"model '{name}' has cluster = {model.cluster}, server '{server.name}' cluster = {server.settings.cluster}"
        )
    if server.active_model == name:
        reporter.info(f"Model '{name}' is already active for server '{server.name}', skipping...")
        return
    _write(server, name)
    reporter.info(f"Applying model '{name}' to server '{server.name}'")
    for line in _differences(server, model):
        reporter.info(line)


def reset_model(server: ServerConfig, reporter: Reporter) -> None:
    """Forget the model applied to server, if there is one."""
    _write(server, None)
    reporter.info(f"Resetting the active model for the server {server.name}")


def _write(server: ServerConfig, model: str | None) -> None:
    try:
        write_active_model(str(server.settings.backup_directory), model)
    except OSError as error:
        raise ConfigError(
            f"cannot remember the model of server '{server.name}': {error.filename}: {error.strerror}"
        ) from error


def _differences(server: ServerConfig, model: ModelConfig) -> Iterator[str]:
    current = option_values(server.settings)
    for option, value in model.options.items():
        if value is not None and option != "cluster" and str(value) != str(current[option]):
            yield (
                f"Changing value of option '{option}' for server '{server.name}' from '{current[option]}'"
                f" to '{value}' through the model '{model.name}'"
            )
