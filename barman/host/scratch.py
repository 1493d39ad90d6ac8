"""Directories for the time of one job; what killed jobs have left of theirs goes with the next one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def scratch_directory(prefix: str, parent: Path | None = None, *, label: str = "") -> Iterator[Path]:
    """Make a directory below parent, which only we may enter; it is gone after the with block, whatever happened.

    Directories of the same prefix and user whose process was killed are removed first. parent: is there already; None:
    the system's place for temporary files. label: stands in its name behind the prefix. OSError.
    """
    place = Path(tempfile.gettempdir()) if parent is None else parent
    sweep(place, prefix)
    directory, held = _make(place, prefix + label)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(held)


def sweep(place: Path, prefix: str) -> None:
    """Remove the directories of this prefix and user below place whose process was killed. OSError."""
    with os.scandir(place) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(prefix)]
    for name in names:
        # Not ours, held by somebody, gone already, or no directory at all: not our business.
        with contextlib.suppress(OSError):
            _remove_left(place / name)


def _make(place: Path, prefix: str) -> tuple[Path, int]:
    """Return a new directory, and the descriptor that holds it: the system lets go of it with this process."""
    while True:
        directory = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
        try:
            held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            # Somebody swept it before we held it.
            continue
        # Where directories cannot be locked nobody sweeps, either.
        with contextlib.suppress(OSError):
            fcntl.flock(held, fcntl.LOCK_EX)
        if os.fstat(held).st_nlink:
            return directory, held
        os.close(held)


def _remove_left(directory: Path) -> None:
    """Remove a directory of ours that nobody holds. OSError otherwise."""
    held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(held).st_uid == os.geteuid():
            shutil.rmtree(directory)
    finally:
        os.close(held)
