"""Getting the files of a base backup into place: plain copies, and the layout they are put into."""

from __future__ import annotations

import functools
import os
import stat
from typing import TYPE_CHECKING

from barman.host.files import naming
from barman.host.transfer import copy_file, work_through
from barman.restore.exclusions import CONTROL_FILE, EMPTIED, HELD_BACK, is_excluded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from barman.host.transfer import Flow
    from barman.restore.placements import Placement

    # The target of a path relative to what is copied; None: it is left out, with all below it.
    Route = Callable[[str], str | None]

_FILES_PER_TASK = 32
_BYTES_PER_TASK = 8 << 20


def data_route(destination: Path, placements: Sequence[Placement], *, holds_back: bool = True) -> Route:
    """Return where the files of a backup's data directory go: without what has no place there.

    What is behind the links of tablespaces is left out, tablespaces that were in place go to their new locations.
    holds_back: the control file gets another name.
    """
    root = os.fspath(destination)
    locations = {
        f"pg_tblspc/{placement.oid}": os.fspath(placement.location) if placement.was_in_place else None
        for placement in placements
    }

    def route(path: str) -> str | None:
        if is_excluded(path):
            return None
        for link, location in locations.items():
            if path == link or path.startswith(f"{link}/"):
                return None if location is None else location + path[len(link) :]
        return os.path.join(root, HELD_BACK if holds_back and path == CONTROL_FILE else path)

    return route


def whole_route(directory: Path) -> Route:
    """Return the way of everything to the same name below directory."""
    return functools.partial(os.path.join, os.fspath(directory))


def copy_trees(trees: Sequence[tuple[Path, Route]], *, workers: int, flow: Flow) -> None:
    """Copy directories, each with the route its content takes; their own target directories are there.

    Symbolic links are copied as such, but for those that lead to the origin's WAL or log: they become directories.
    """
    work_through((task for root, route in trees for task in _tasks(root, route, flow)), workers=workers, flow=flow)


def make_links(destination: Path, placements: Sequence[Placement]) -> None:
    """Make the links from pg_tblspc to the places of the tablespaces."""
    directory = destination / "pg_tblspc"
    directory.mkdir(mode=0o700, exist_ok=True)
    for placement in placements:
        link = directory / str(placement.oid)
        if link.is_symlink():
            link.unlink()
        link.symlink_to(placement.location)


def tree_size(root: Path, route: Route) -> int:
    """Return how many bytes copy_trees would copy from root."""
    return sum(entry.stat(follow_symlinks=False).st_size for entry, _ in walk(root, route) if _is_file(entry))


def release_control_file(destination: Path) -> None:
    """Give the control file its name: the last step, after which PostgreSQL can be started."""
    os.rename(destination / HELD_BACK, destination / CONTROL_FILE)


def _tasks(root: Path, route: Route, flow: Flow) -> Iterator[Callable[[], None]]:
    batch: list[tuple[str, str]] = []
    size = 0
    for entry, target in walk(root, route):
        if entry.is_symlink() and os.path.relpath(entry.path, root) in EMPTIED:
            # Through the link the restored cluster would write into the WAL of the origin, if that is on this host.
            make_directory(target, stat.S_IRWXU)
        elif entry.is_symlink():
            os.symlink(os.readlink(entry.path), target)
        elif entry.is_dir():
            make_directory(target, stat.S_IMODE(entry.stat().st_mode))
        elif _is_file(entry):
            batch.append((entry.path, target))
            size += entry.stat().st_size
            if len(batch) >= _FILES_PER_TASK or size >= _BYTES_PER_TASK:
                yield functools.partial(_copy_files, batch, flow)
                batch, size = [], 0
    yield functools.partial(_copy_files, batch, flow)


def make_directory(path: str, mode: int) -> None:
    """Create a directory, unless it is there, with these permission bits; its owner may always use it."""
    with naming(path):
        if not os.path.isdir(path):
            os.mkdir(path)
        os.chmod(path, mode | stat.S_IRWXU)


def _copy_files(files: Sequence[tuple[str, str]], flow: Flow) -> None:
    for source, target in files:
        copy_file(source, target, flow)


def walk(root: Path, route: Route) -> Iterator[tuple[os.DirEntry[str], str]]:
    """Yield everything below root that has a target, directories before what is in them."""
    waiting = [(os.fspath(root), "")]
    while waiting:
        directory, prefix = waiting.pop()
        with os.scandir(directory) as entries:
            for entry in entries:
                path = prefix + entry.name
                target = route(path)
                if target is None:
                    continue
                yield entry, target
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((entry.path, f"{path}/"))


def _is_file(entry: os.DirEntry[str]) -> bool:
    return entry.is_file(follow_symlinks=False)
