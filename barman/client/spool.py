"""Directories that the programs for the PostgreSQL host keep for themselves. Hot-safe."""

from __future__ import annotations

import contextlib
import os
import stat

from barman.client.remote import ClientError


def make_own_directory(path: str) -> None:
    """Create a directory, not its parents, that nobody else can write; ClientError if it is not ours or unusable."""
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        status = os.stat(path)
    except OSError as error:
        raise ClientError(f"cannot create the spool directory {path}: {error.strerror}") from error
    if not stat.S_ISDIR(status.st_mode) or not os.access(path, os.W_OK | os.X_OK):
        raise ClientError(f"cannot use the spool directory {path}")
    if status.st_uid not in (os.geteuid(), 0):
        raise ClientError(f"the spool directory {path} belongs to another user")
