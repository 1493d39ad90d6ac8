"""Reading backup_manifest, line by line: it has one for every file of the cluster, and memory is flat. Pure.

PostgreSQL writes each file and each WAL range as one JSON object on a line of its own. Source: PostgreSQL manual,
"Backup Manifest Format", and source code backup_manifest.c.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from barman.errors import CatalogError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class ManifestFile(NamedTuple):
    """A file of the backup. path: relative to the data directory. checksum: hex text, None without algorithm."""

    path: str
    size: int
    algorithm: str | None
    checksum: str | None


class WalRange(NamedTuple):
    """WAL that the backup needs, on one timeline, end excluded. LSNs are text."""

    timeline: int
    start_lsn: str
    end_lsn: str


def read_files(lines: Iterable[str]) -> Iterator[ManifestFile]:
    """Yield the files a manifest lists, in its order; CatalogError for a line that is no manifest's."""
    for entry in _objects(lines):
        if "Path" in entry or "Encoded-Path" in entry:
            yield _file(entry)


def read_wal_ranges(lines: Iterable[str]) -> tuple[WalRange, ...]:
    """Return the WAL a manifest asks for; () if it does not say. CatalogError for a line that is no manifest's."""
    return tuple(
        WalRange(int(str(entry["Timeline"])), str(entry["Start-LSN"]), str(entry["End-LSN"]))
        for entry in _objects(lines)
        if "Start-LSN" in entry
    )


def _objects(lines: Iterable[str]) -> Iterator[dict[str, object]]:
    for line in lines:
        # The last object of a list may be followed by the list's end.
        text = line.strip().rstrip(",]").rstrip()
        if not text.startswith("{") or not text.endswith("}"):
            continue
        try:
            entry = json.loads(text)
        except ValueError as error:
            raise CatalogError(f"damaged backup_manifest: {error} in {line[:80]!r}") from error
        yield entry


def _file(entry: dict[str, object]) -> ManifestFile:
    try:
        # A path that is not UTF-8 is written in hex.
        path = str(entry["Path"]) if "Path" in entry else _decoded(str(entry["Encoded-Path"]))
        algorithm, checksum = entry.get("Checksum-Algorithm"), entry.get("Checksum")
        return ManifestFile(
            path,
            int(str(entry["Size"])),
            None if algorithm is None else str(algorithm),
            None if checksum is None else str(checksum),
        )
    except (KeyError, ValueError) as error:
        raise CatalogError(f"damaged backup_manifest: {error}") from error


def _decoded(hexadecimal: str) -> str:
    return bytes.fromhex(hexadecimal).decode("utf-8", "surrogateescape")
