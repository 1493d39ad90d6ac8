"""What a directory that is to be sent to another host holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from barman.restore.delta import Item, Kind
from barman.restore.exclusions import CONTROL_FILE, EMPTIED, is_excluded
from barman.restore.fetch import walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from barman.restore.job import Layout


class File(NamedTuple):
    """A regular file. name: below the directory. mtime: whole seconds. mode: permission bits."""

    name: str
    size: int
    mtime: int
    mode: int


class Tree(NamedTuple):
    """A directory to be sent. target: where to, there. leaves_out: whether a name below it stays here."""

    source: Path
    target: Path
    leaves_out: Callable[[str], bool]


class Inventory(NamedTuple):
    """What of a tree is sent. emptied: links here that become empty directories there."""

    tree: Tree
    directories: tuple[str, ...]
    links: tuple[str, ...]
    emptied: tuple[str, ...]
    files: tuple[File, ...]

    @property
    def items(self) -> dict[str, Item]:
        """All of it, by name; what is emptied has no content."""
        found = {name: Item(Kind.DIRECTORY) for name in (*self.directories, *self.emptied)}
        found |= {name: Item(Kind.LINK) for name in self.links}
        found |= {file.name: Item(Kind.FILE, file.size, file.mtime, file.mode) for file in self.files}
        return found

    @property
    def names(self) -> list[str]:
        """Of all that is sent, directories first."""
        return [*self.directories, *self.links, *(file.name for file in self.files)]

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(file.size for file in self.files)


def take_inventory(tree: Tree) -> Inventory:
    """Return what there is to send; OSError if the tree cannot be read."""
    directories: list[str] = []
    links: list[str] = []
    emptied: list[str] = []
    files: list[File] = []
    for entry, name in walk(tree.source, lambda name: None if tree.leaves_out(name) else name):
        if entry.is_symlink():
            # Through the link the restored cluster would write where the origin does.
            (emptied if name in EMPTIED else links).append(name)
        elif entry.is_dir():
            directories.append(name)
        elif entry.is_file(follow_symlinks=False):
            status = entry.stat(follow_symlinks=False)
            files.append(File(name, status.st_size, int(status.st_mtime_ns // 10**9), status.st_mode & 0o7777))
    return Inventory(tree, tuple(directories), tuple(links), tuple(emptied), tuple(files))


def trees(layout: Layout, *, holds_back: bool = True) -> Iterator[Tree]:
    """Yield what is sent of a plain backup: without what has no place there, and what is behind links.

    holds_back: the control file is not sent.
    """
    elsewhere = {f"pg_tblspc/{place.oid}" for place in layout.places}

    def leaves_out(name: str) -> bool:
        return is_excluded(name) or name in elsewhere or (holds_back and name == CONTROL_FILE)

    yield Tree(layout.source, layout.data, leaves_out)
    for place in layout.places:
        yield Tree(layout.origins[place.oid], place.location, lambda _: False)
