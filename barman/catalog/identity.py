"""identity.json: which PostgreSQL instance the backups of a server come from. Written once, then only compared."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from barman.errors import CatalogError
from barman.host.files import write_durably

if TYPE_CHECKING:
    from barman.catalog.layout import ServerPaths


@dataclass(frozen=True, slots=True)
class Identity:
    """systemid: the system identifier, decimal. version: major version as text, "15" or "9.6"; may be unknown."""

    systemid: str
    version: str | None = None


def read_identity(paths: ServerPaths) -> Identity | None:
    """Return what is known about the instance, None before the first backup; CatalogError if the file is damaged."""
    try:
        content = json.loads(paths.identity.read_bytes())
        return Identity(str(content["systemid"]), content.get("version"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CatalogError(f"cannot read {paths.identity}: {error.strerror}") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise CatalogError(f"{paths.identity} is damaged", hint="Restore it or remove it.") from error


def write_identity(paths: ServerPaths, systemid: str, version: str) -> None:
    """Remember the instance, durably, unless one is known already."""
    if read_identity(paths) is not None:
        return
    content = json.dumps({"systemid": systemid, "version": version}, indent=4, sort_keys=True)
    try:
        write_durably(paths.identity, f"{content}\n".encode())
    except OSError as error:
        raise CatalogError(f"cannot write {paths.identity}: {error.strerror}") from error
