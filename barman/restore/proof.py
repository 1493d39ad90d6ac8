"""Whether what a backup's manifest promises is there: every file, with its size. Contents are not read."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from barman.postgres.manifest import read_files
from barman.restore.exclusions import CONTROL_FILE, HELD_BACK, is_excluded

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

_IN_TABLESPACE = re.compile(r"pg_tblspc/(\d+)/(.*)", re.DOTALL)


def find_damage(
    manifest: Path, data: Path, *, tablespaces: Mapping[int, Path], changed: Collection[str] = ()
) -> Iterator[str]:
    """Yield what is wrong with files that a manifest lists, as "base/1/2 is missing"; nothing if there is no manifest.

    data: where they are; the control file may be held back. tablespaces: where those are, by OID, that are elsewhere.
    changed: names of files that are not as in the backup any more. CatalogError if the manifest cannot be read.
    """
    yield from compare_sizes(manifest, lambda name: _size(_place(name, data, tablespaces)), changed=changed)


def compare_sizes(
    manifest: Path, size_of: Callable[[str], int | None], *, changed: Collection[str] = ()
) -> Iterator[str]:
    """Yield the same of files wherever they are. size_of: bytes of the file of a name; None: it is missing."""
    if not manifest.is_file():
        return
    with manifest.open(encoding="utf-8", errors="surrogateescape") as lines:
        for file in read_files(lines):
            if is_excluded(file.path) or file.path in changed:
                continue
            found = size_of(file.path)
            if found is None and file.path == CONTROL_FILE:
                found = size_of(HELD_BACK)
            if found is None:
                yield f"{file.path} is missing"
            elif found != file.size:
                yield f"{file.path} has {found} bytes instead of {file.size}"


def _place(name: str, data: Path, tablespaces: Mapping[int, Path]) -> Path:
    match = _IN_TABLESPACE.match(name)
    if match is not None and int(match[1]) in tablespaces:
        return tablespaces[int(match[1])] / match[2]
    return data / name


def _size(path: Path) -> int | None:
    try:
        return os.lstat(path).st_size
    except OSError:
        return None
