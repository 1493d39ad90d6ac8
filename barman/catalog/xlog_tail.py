"""The end of the ledger as another Barman asks for it: what was added behind a line it knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from barman.catalog.xlog_lines import WalEntry, is_complete_line, parse_chunk, parse_row
from barman.errors import CatalogError, UserError
from barman.postgres.wal_names import is_wal_name

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Tail(NamedTuple):
    """entries: what was asked for, each name once. last_name, last_offset: the last line, and where it begins."""

    entries: tuple[WalEntry, ...]
    last_name: str
    last_offset: int


def read_ledger(path: Path) -> Tail:
    """Return the whole ledger, in name order; no entry, "" and 0 if it is empty. CatalogError if it cannot be read."""
    content = _read(path, 0)
    return _tail(content, 0, _in_order(_entries(content)))


def read_behind(path: Path, name: str, offset: int | None = None) -> Tail:
    """Return what stands behind the line of name, in the order it was added.

    offset: where that line begins, in bytes; what lies before is not read if it does. If name has no line, what sorts
    behind it; UserError if the ledger does not reach so far back, or not so far. CatalogError if it cannot be read.
    """
    if offset is not None and _begins_at(path, offset, name):
        content = _read(path, offset)
        return _tail(content, offset, _each_once(_entries(content)[1:]))
    content = _read(path, 0)
    entries = _entries(content)
    places = [number for number, entry in enumerate(entries) if entry.name == name]
    if places:
        return _tail(content, 0, _each_once(entries[places[-1] + 1 :]))
    if not is_wal_name(name):
        raise UserError(f"'{name}' is no name of a WAL file")
    names = [entry.name for entry in entries]
    if not names or name < min(names):
        raise UserError(f"{name} is older than the first WAL file of the archive ({min(names, default='none')})")
    if name > max(names):
        raise UserError(f"{name} is newer than the last WAL file of the archive ({max(names)})")
    return _tail(content, 0, _in_order(entry for entry in entries if entry.name > name))


def _begins_at(path: Path, offset: int, name: str) -> bool:
    try:
        with open(path, "rb") as file:
            file.seek(max(offset - 1, 0))
            found = file.read(len(name) + 2)
    except OSError as error:
        raise _unreadable(path, error) from error
    expected = name.encode()
    if offset > 0 and found[:1] != b"\n":
        return False
    line = found[1:] if offset > 0 else found[:-1]
    return line[:-1] == expected and line[-1:].isspace()


def _read(path: Path, offset: int) -> bytes:
    """Return whole lines; a torn last one is left out."""
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            content = file.read()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise _unreadable(path, error) from error
    end = content.rfind(b"\n") + 1
    rest = content[end:]
    return content[:end] + rest + b"\n" if rest and is_complete_line(rest) else content[:end]


def _unreadable(path: Path, error: OSError) -> CatalogError:
    return CatalogError(f"cannot read {path}: {error.strerror}")


def _entries(content: bytes) -> list[WalEntry]:
    return [parse_row(row) for row in parse_chunk(content).rows()] if content else []


def _in_order(entries: Iterable[WalEntry]) -> tuple[WalEntry, ...]:
    return tuple(sorted({entry.name: entry for entry in entries}.values()))


def _each_once(entries: Iterable[WalEntry]) -> tuple[WalEntry, ...]:
    """Of several lines of one name the last one counts."""
    return tuple({entry.name: entry for entry in entries}.values())


def _tail(content: bytes, offset: int, entries: tuple[WalEntry, ...]) -> Tail:
    lines = content.rstrip(b"\n")
    start = lines.rfind(b"\n") + 1
    name = lines[start:].split(b"\t", 1)[0].split(b" ", 1)[0].decode("ascii", "replace")
    return Tail(entries, name, offset + start if name else 0)
