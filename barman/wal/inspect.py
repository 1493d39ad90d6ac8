"""Looking at a WAL file before it is archived: is it what its name says, whole, and of our cluster? Hot-safe."""

from __future__ import annotations

import functools
import os
import stat
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from barman.errors import Permanent, WalError
from barman.postgres.wal_header import LONG_HEADER_SIZE, check_header, parse_page_header
from barman.postgres.wal_names import WalKind, parse_wal_name
from barman.storage.compress.codecs import identify, open_reader
from barman.storage.encrypt.openpgp import is_openpgp

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from barman.postgres.wal_names import WalName
    from barman.storage.compress.codecs import CustomFilters

_CHUNK = 1 << 20
_LARGEST_TEXT = 1 << 20

DAMAGED = "damaged"
FOREIGN = "foreign"


class Inspection(NamedTuple):
    """What a file turned out to be.

    size, mtime_ns, mode: of the file as it is. compression, encryption: of its content, None for none. system_id: of
    the cluster that wrote it, None if the file does not tell. is_blank: there is no WAL in it at all, not even the
    header of a page. fault: None if all is well, else DAMAGED or FOREIGN, and reason says more.
    """

    size: int
    mtime_ns: int
    mode: int
    compression: str | None
    encryption: str | None
    system_id: str | None
    is_blank: bool
    fault: str | None
    reason: str


def inspect_wal(
    path: Path,
    *,
    name: str,
    segment_size: int | None = None,
    system_id: str | None = None,
    version: str | None = None,
    custom: CustomFilters | None = None,
) -> Inspection:
    """Return what the file at path is, said to be the WAL file name.

    segment_size, system_id, version (major): what they must be, None if that is not known. custom: the configured
    filters, if compression is custom. Compressed files are read to their end, plain ones only as far as the first page
    header; encrypted ones cannot be looked into. OSError if the file cannot be read.
    """
    with open(path, "rb") as file:
        return inspect_file(
            file, name=name, segment_size=segment_size, system_id=system_id, version=version, custom=custom
        )


def inspect_file(
    file: BinaryIO,
    *,
    name: str,
    segment_size: int | None = None,
    system_id: str | None = None,
    version: str | None = None,
    custom: CustomFilters | None = None,
) -> Inspection:
    """The same as inspect_wal, for a real file that is open at its start; where it stands afterwards is undefined."""
    status = os.fstat(file.fileno())
    # Not file.read: a filter will be given the descriptor, which must stand at the beginning.
    start = os.pread(file.fileno(), LONG_HEADER_SIZE, 0)
    encryption = "gpg" if is_openpgp(start) else None
    compression = None if encryption else identify(start, custom=custom)
    found = _Found(None, "")
    if encryption is None:
        content = _Content(file, status.st_size, compression, custom)
        found = _look(content, parse_wal_name(name), _Expected(segment_size, system_id, version))
    return Inspection(
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        mode=stat.S_IMODE(status.st_mode),
        compression=compression,
        encryption=encryption,
        system_id=found.system_id,
        is_blank=not any(start),
        fault=found.fault,
        reason=found.reason,
    )


class _Expected(NamedTuple):
    segment_size: int | None
    system_id: str | None
    version: str | None


class _Found(NamedTuple):
    fault: str | None
    reason: str
    system_id: str | None = None


class _Content(NamedTuple):
    """The file, opened at its start."""

    file: BinaryIO
    stored_size: int
    compression: str | None
    custom: CustomFilters | None

    def read(self, look: Callable[[BinaryIO], _Found]) -> _Found:
        """Let look read what PostgreSQL wrote."""
        if self.compression is None:
            return look(self.file)
        try:
            with open_reader(self.file, self.compression, custom=self.custom) as reader:
                return look(reader)
        except Permanent as error:
            return _Found(DAMAGED, error.message)


def _look(content: _Content, name: WalName, expected: _Expected) -> _Found:
    if content.stored_size == 0:
        return _Found(DAMAGED, "the file is empty")
    if name.kind in {WalKind.LABEL, WalKind.HISTORY}:
        return content.read(lambda file: _look_at_text(file, name))
    return content.read(lambda file: _look_at_segment(file, content, name, expected))


def _look_at_segment(file: BinaryIO, content: _Content, name: WalName, expected: _Expected) -> _Found:
    start = file.read(LONG_HEADER_SIZE)
    try:
        header = parse_page_header(start)
    except WalError as error:
        return _Found(DAMAGED, error.message)
    check = functools.partial(check_header, header, name=name.segment or "", segment_size=expected.segment_size)
    reason = check(system_id=expected.system_id, version=expected.version)
    if reason is not None:
        is_foreign = header.system_id != expected.system_id and check() is None
        return _Found(FOREIGN if is_foreign else DAMAGED, reason, header.system_id)
    size = content.stored_size
    if content.compression is not None:
        size = len(start)
        while chunk := file.read(_CHUNK):
            size += len(chunk)
    if size != header.segment_size:
        return _Found(DAMAGED, f"{size} bytes, expected {header.segment_size}", header.system_id)
    return _Found(None, "", header.system_id)


def _look_at_text(file: BinaryIO, name: WalName) -> _Found:
    text = file.read(_LARGEST_TEXT).decode(errors="replace")
    if name.kind is WalKind.LABEL:
        if not text.startswith("START WAL LOCATION"):
            return _Found(DAMAGED, "no backup label: it does not begin with START WAL LOCATION")
        return _Found(None, "")
    # Here, because it loads dataclasses, and hot programs see a history file once in a lifetime.
    from barman.postgres.timelines import parse_history

    try:
        parse_history(text, name.timeline)
    except WalError as error:
        return _Found(DAMAGED, error.message)
    return _Found(None, "")
