"""Directories that two servers, or two options of one server, would share. Hot-safe; reads symbolic links only."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from barman.config.values import is_url

if TYPE_CHECKING:
    from collections.abc import Mapping


class SharedPaths(NamedTuple):
    """between: one message per pair of options of different servers. within: messages by server name."""

    between: tuple[str, ...]
    within: Mapping[str, tuple[str, ...]]


def find_shared_paths(directories: Mapping[str, Mapping[str, str]]) -> SharedPaths:
    """Return which directories are the same once symbolic links are resolved.

    directories: server -> option -> path as configured; URLs are passed over, nested directories are allowed.
    """
    owners: dict[str, list[tuple[str, str, str]]] = {}
    parents: dict[str, str] = {}
    for server, options in directories.items():
        for option, path in options.items():
            if not is_url(path):
                owners.setdefault(_real_path(path, parents), []).append((server, option, path))
    between: list[str] = []
    within: dict[str, tuple[str, ...]] = {}
    for real, found in owners.items():
        for index, (server, option, path) in enumerate(found):
            for other_server, other_option, other_path in found[index + 1 :]:
                ours, theirs = _describe(option, path, real), _describe(other_option, other_path, real)
                if server == other_server:
                    message = f"conflicting directories: {ours} and {theirs}"
                    within[server] = (*within.get(server, ()), message)
                else:
                    between.append(
                        f"conflicting directories: {ours} of server {server} and {theirs} of server {other_server}"
                    )
    return SharedPaths(tuple(between), within)


def _describe(option: str, path: str, real: str) -> str:
    link = f" (a symbolic link to {real})" if os.path.abspath(path) != real else ""
    return f"{option} = {path}{link}"


def _real_path(path: str, parents: dict[str, str]) -> str:
    """Resolve path; directories of many servers have few parents, and each is resolved once."""
    path = os.path.abspath(path)
    parent, name = os.path.split(path)
    if os.path.islink(path) or not name:
        return os.path.realpath(path)
    if parent not in parents:
        parents[parent] = os.path.realpath(parent)
    return os.path.join(parents[parent], name)
