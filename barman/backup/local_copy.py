"""Getting single files of this host into a backup; none is ever written into that is there."""

from __future__ import annotations

import errno
import filecmp
import os
import stat
from typing import TYPE_CHECKING

from barman.host import reflink, transfer
from barman.host.files import naming

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from barman.host.transfer import Flow


def bring(source: str, target: str, scratch: Path, flow: Flow) -> bool:
    """Copy a file, and give it its name when it is whole; False if it is not there any more.

    scratch: a directory of the caller's own, on the file system of target.
    """
    return _unless_gone(source, lambda: duplicate(source, target, scratch, flow))


def duplicate(source: str, target: str, scratch: Path, flow: Flow) -> None:
    """As bring, of a file that must be there: one of an earlier backup."""
    temporary = os.fspath(scratch / "file")
    transfer.copy_file(source, temporary, flow)
    with naming(target):
        os.rename(temporary, target)


def update(source: str, previous: Path, target: str, scratch: Path, flow: Flow) -> bool:
    """As bring, and let the copy share with previous, a file of an earlier backup, the blocks that are the same."""
    clone = clone_of(previous, scratch)
    if clone is None:
        return bring(source, target, scratch, flow)
    if not _unless_gone(source, lambda: transfer.update_file(source, os.fspath(clone), flow)):
        return False
    with naming(target):
        os.rename(clone, target)
    return True


def clone_of(previous: Path, scratch: Path) -> Path | None:
    """Return a new file in scratch that shares the blocks of another; None if that cannot be."""
    clone = scratch / "clone"
    clone.unlink(missing_ok=True)
    try:
        return clone if reflink.clone(previous, clone) else None
    except FileNotFoundError:
        return None


def link(previous: str, target: str, scratch: Path, flow: Flow) -> None:
    """Give a file of an earlier backup a second name, or copy it if it can have no more."""
    try:
        os.link(previous, target)
    except OSError as error:
        # A file has as many names as its file system can count.
        if error.errno != errno.EMLINK:
            raise
        duplicate(previous, target, scratch, flow)


def is_same(source: str, previous: str, mode: int) -> bool:
    """Whether a file has the content and the mode that an earlier copy has, given that size and time are equal."""
    try:
        return stat.S_IMODE(os.lstat(previous).st_mode) == mode and filecmp.cmp(source, previous, shallow=False)
    except FileNotFoundError:
        return False


def _unless_gone(source: str, copy: Callable[[], None]) -> bool:
    try:
        copy()
    except FileNotFoundError:
        if os.path.exists(source):
            raise
        return False
    return True
