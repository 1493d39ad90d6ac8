"""Why a command cannot work on a server, in the same words whichever way the configuration was read. Hot-safe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from barman.errors import ConfigError, UnknownServer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def unknown_server(name: str, servers: Iterable[str]) -> UnknownServer:
    """Return the error for a name that none of the servers has."""
    # Not at the top: it is only for those who have made a mistake.
    from difflib import get_close_matches

    like = get_close_matches(name.lower(), {one.lower(): one for one in servers}, n=1)
    near = next((one for one in servers if one.lower() in like), None)
    hint = "See 'barman list-servers'." if near is None else f"Did you mean '{near}'?"
    return UnknownServer(f"Unknown server '{name}'", hint=hint)


def colliding_directories(collisions: Sequence[str]) -> ConfigError:
    """Return the error for directories of different servers that are the same."""
    return ConfigError(
        "the directories of servers collide", problems=collisions, hint="Give each server directories of its own."
    )


def disabled_server(name: str, errors: Iterable[str]) -> ConfigError:
    """Return the error for a server whose options cannot be used, for these reasons."""
    problems = [f"server '{name}' is disabled: {error}" for error in errors]
    return ConfigError(f"server '{name}' is disabled", problems=problems, hint=f"See 'barman check {name}'.")
