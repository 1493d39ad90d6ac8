"""Making directories of this host equal to a backup: looking at what is there, and writing only what differs."""

from __future__ import annotations

import contextlib
import filecmp
import functools
import os
import shutil
import stat
import sys
from typing import TYPE_CHECKING

from barman.catalog.record import parse_record
from barman.errors import CatalogError
from barman.host.files import naming
from barman.host.transfer import work_through
from barman.restore.delta import Existing, Item, Kind, find_differences
from barman.restore.exclusions import CONTROL_FILE, EMPTIED, INCOMPLETE, RECORD_COPY
from barman.restore.fetch import copy_trees, walk

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence
    from datetime import datetime
    from pathlib import Path

    from barman.host.transfer import Flow
    from barman.restore.fetch import Route


def look_closer(destination: Path) -> Existing:
    """Return what a data directory on this host tells of itself."""
    identifier = _read(destination / CONTROL_FILE, 8)
    mark, record = _read(destination / INCOMPLETE), _read(destination / RECORD_COPY)
    return Existing(
        has_pid_file=os.path.lexists(destination / "postmaster.pid"),
        # Source: PostgreSQL, catalog/pg_control.h: a control file begins with it.
        system_identifier=str(int.from_bytes(identifier, sys.byteorder)) if identifier else None,
        mark=None if mark is None else os.fsdecode(mark),
        begin_time=begin_time_in(None if record is None else os.fsdecode(record)),
    )


def begin_time_in(record: str | None) -> datetime | None:
    """Return when the backup of a record began; None if that cannot be read."""
    if record is None:
        return None
    try:
        return parse_record(record, "20000101T000000").begin_time
    except CatalogError:
        return None


def update_trees(
    trees: Sequence[tuple[Path, Route]],
    roots: Iterable[Path],
    *,
    horizon: int | None,
    spared: Container[str],
    workers: int,
    flow: Flow,
) -> None:
    """Make what is below roots what copy_trees would make of them if they were empty; the mark stays.

    A file that is there is never written into: it may have other names. horizon: as of find_differences. spared: paths
    of what stays although no tree has it.
    """
    origins: dict[str, str] = {}
    wanted: dict[str, Item] = {}
    for source, route in trees:
        for entry, target in walk(source, route):
            origins[target] = entry.path
            is_emptied = os.path.relpath(entry.path, source) in EMPTIED
            wanted[target] = Item(Kind.DIRECTORY) if is_emptied else _item(entry.stat(follow_symlinks=False))
    there = {
        path: _item(entry.stat(follow_symlinks=False))
        for root in roots
        for entry, path in walk(root, functools.partial(os.path.join, os.fspath(root)))
        if entry.name != INCOMPLETE and path not in spared
    }
    found = find_differences(wanted, there, horizon=horizon)
    for path in found.removed:
        remove(path)
    kept = set(found.kept)

    def compare(path: str) -> None:
        if filecmp.cmp(origins[path], path, shallow=False):
            with naming(path):
                shutil.copystat(origins[path], path)
            kept.add(path)
        flow.passed(0)

    work_through((functools.partial(compare, path) for path in found.doubtful), workers=workers, flow=flow)
    for path in {*found.changed, *found.doubtful} - kept:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    flow.passed(sum(wanted[path].size for path in kept))
    copy_trees([(source, _without(route, kept)) for source, route in trees], workers=workers, flow=flow)


def empty(directory: Path, *, spared: Container[str] = ()) -> None:
    """Remove all there is in a directory, but the mark and spared paths; nothing happens if it is not there."""
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(directory):
            path = os.path.join(directory, name)
            if name != INCOMPLETE and path not in spared:
                remove(path)


def remove(path: str) -> None:
    """Remove a file, a link, or a directory with all below it."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def _without(route: Route, kept: set[str]) -> Route:
    def narrowed(path: str) -> str | None:
        target = route(path)
        return None if target in kept else target

    return narrowed


def _item(status: os.stat_result) -> Item:
    if stat.S_ISDIR(status.st_mode):
        return Item(Kind.DIRECTORY)
    if stat.S_ISREG(status.st_mode):
        mtime = status.st_mtime_ns // 10**9
        return Item(Kind.FILE, status.st_size, mtime, stat.S_IMODE(status.st_mode))
    return Item(Kind.LINK)


def _read(path: Path, size: int = -1) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError:
        return None
