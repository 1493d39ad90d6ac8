"""File systems of the tests' own, on loop devices or in memory; for root only."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from tests.support.users import give

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MAKERS = {
    "ext4": ("mkfs.ext4", "-q", "-m", "0"),
    "xfs": ("mkfs.xfs", "-q", "-m", "reflink=1"),
    "btrfs": ("mkfs.btrfs", "-q"),
}


def is_possible(kind: str) -> bool:
    """Whether a file system of this kind can be made and mounted here: ext4, xfs or btrfs."""
    return os.geteuid() == 0 and _MAKERS.get(kind) is not None and shutil.which(_MAKERS[kind][0]) is not None


@contextlib.contextmanager
def mounted(kind: str, directory: Path, image: Path, size_mib: int) -> Iterator[None]:
    """Mount a new file system on directory, for the unprivileged user; image: a new file it lives in."""
    with image.open("xb") as file:
        file.truncate(size_mib << 20)
    subprocess.run([*_MAKERS[kind], str(image)], check=True, capture_output=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(directory)], check=True)
    try:
        give(directory, 0o755)
        yield
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)
        image.unlink()


@contextlib.contextmanager
def small_disk(directory: Path, options: str) -> Iterator[None]:
    """Mount a file system in memory on directory, for the unprivileged user; options as `size=40m`."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)], check=True)
    try:
        give(directory, 0o755)
        yield
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def remount(directory: Path, options: str) -> None:
    """Change the options of a mounted file system: `size=40m`, `ro`."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(directory)], check=True)


def used_bytes(directory: Path) -> int:
    """How much of the file system is taken, once everything is written."""
    os.sync()
    state = os.statvfs(directory)
    return (state.f_blocks - state.f_bfree) * state.f_frsize
