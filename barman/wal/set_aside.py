"""Moving what cannot be archived to the errors directory, where check finds it and a person decides."""

from __future__ import annotations

import errno
import os
import shutil
from typing import TYPE_CHECKING

from barman.errors import StorageError
from barman.host import files
from barman.wal.error_names import free_error_path

if TYPE_CHECKING:
    from pathlib import Path


def set_aside(path: Path, errors: Path, reason: str) -> Path:
    """Move a file or directory to the errors directory, durably, and return where it is now.

    reason: one word, the suffix of its new name. Nothing is ever replaced. StorageError if it cannot be moved.
    """
    try:
        files.make_directories(errors)
        target = free_error_path(str(errors), path.name, reason)
        try:
            os.rename(path, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _move_across(path, target)
        files.fsync_directory(errors)
        files.fsync_directory(path.parent)
    except OSError as error:
        raise StorageError(f"cannot move {path} to {errors}: {error.strerror}") from error
    return errors / os.path.basename(target)


def _move_across(path: Path, target: str) -> None:
    """Move between file systems: what stands under the final name is whole."""
    if path.is_dir() and not path.is_symlink():
        shutil.copytree(path, target, symlinks=True)
        files.fsync_tree(target, workers=1)
        files.remove_tree(path)
    elif path.is_file() and not path.is_symlink():
        with path.open("rb") as source, files.replacing(target, mode=path.stat().st_mode & 0o7777) as copy:
            shutil.copyfileobj(source, copy)
        shutil.copystat(path, target)
        path.unlink()
    else:
        shutil.move(path, target)
