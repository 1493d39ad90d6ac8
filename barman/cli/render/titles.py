"""Headings that several commands share. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barman.config.load import ServerConfig


def server_title(config: ServerConfig) -> str:
    """`Server NAME:`, with what keeps it from working."""
    if not config.is_active:
        return f"Server {config.name} (inactive):"
    if config.is_disabled:
        return f"Server {config.name} (WARNING: disabled):"
    return f"Server {config.name}:"
