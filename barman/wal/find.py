"""Finding a WAL file of a server wherever it is, and looking into it, for get-wal. Hot."""

from __future__ import annotations

import contextlib
import itertools
import os
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from barman.config.values import is_url
from barman.errors import BarmanError, StorageError, UserError, WalError
from barman.postgres.wal_header import LONG_HEADER_SIZE, parse_page_header
from barman.postgres.wal_names import (
    DEFAULT_SEGMENT_SIZE,
    SEGMENT_SIZES,
    WalKind,
    archive_directory,
    next_segment,
    parse_wal_name,
)
from barman.storage.compress import codecs
from barman.storage.compress.decoded import open_decrypted
from barman.storage.encrypt.openpgp import is_openpgp
from barman.wal.hot_program import STOP_RECOVERY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from barman.config.hot import HotServer
    from barman.postgres.wal_names import WalName


class NoSuchWal(WalError):
    """No place has a complete file of this name."""


class CannotSend(WalError):
    """The file is there, and cannot be had whole."""

    exit_code = STOP_RECOVERY


class Wal(NamedTuple):
    """A file that was found. file: decrypted. codec: its compression, None if it is plain. size: of file."""

    name: WalName
    path: str
    file: BinaryIO
    size: int
    codec: str | None
    is_encrypted: bool
    filters: codecs.CustomFilters | None

    def require_whole(self) -> None:
        """Raise CannotSend if the file is plain and has not the size of a segment, and should."""
        if self.codec is None:
            self.require_size(self.size)

    def require_size(self, size: int) -> None:
        """Raise CannotSend if size bytes cannot be what the file holds."""
        is_segment = self.name.kind is WalKind.SEGMENT and not self.path.endswith(".partial")
        if is_segment and size not in SEGMENT_SIZES:
            raise CannotSend(f"WAL file {self.path} is damaged: {size} bytes are no segment")


def require_archive(server: HotServer) -> None:
    """Raise UserError if the archive is not where it should be: its file system is not mounted, say."""
    directory = server.wals_directory
    if not is_url(directory) and not os.path.isdir(directory):
        raise UserError(
            f"the WAL archive of server '{server.name}' is not there: {directory}",
            hint=f"Is its file system mounted? A new server has one after 'barman check {server.name}'.",
        )


def peek(server: HotServer, name: WalName, count: int) -> Iterator[str]:
    """Yield up to count names of files that are there, from name on without a gap."""
    for following in itertools.islice(names_from(server, name), count):
        if not any(_exists(path) for path in _complete_places(server, following.text)):
            return
        yield following.text


def names_from(server: HotServer, name: WalName) -> Iterator[WalName]:
    """Yield name and, once it is known to be there, the names of the segments that follow; of other files only name."""
    yield name
    if name.kind is not WalKind.SEGMENT:
        return
    segment_size = _segment_size(server, name)
    while True:
        name = parse_wal_name(next_segment(name.text, segment_size))
        yield name


def _exists(path: str) -> bool:
    """Whether there is such a file; OSError if that cannot be told, which is another thing than no."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _segment_size(server: HotServer, name: WalName) -> int:
    """Return the size of a segment: a plain file shows it, of a compressed one the first page tells."""
    with open_wal(server, name, partial=False) as wal:
        if wal.codec is None and wal.size in SEGMENT_SIZES:
            return wal.size
        try:
            with decoded(wal) as reader:
                size = parse_page_header(reader.read(LONG_HEADER_SIZE)).segment_size
        except (StorageError, WalError) as error:
            raise CannotSend(f"WAL file {wal.path} is damaged: {error.message}") from error
        return size if size in SEGMENT_SIZES else DEFAULT_SEGMENT_SIZE


def _complete_places(server: HotServer, name: str) -> tuple[str, str, str]:
    return (
        os.path.join(server.wals_directory, archive_directory(name), name),
        os.path.join(server.incoming_wals_directory, name),
        os.path.join(server.streaming_wals_directory, name),
    )


def _places(server: HotServer, name: WalName, *, partial: bool) -> tuple[str, ...]:
    """Return where to look, in order; files move while we do, so some places come twice."""
    archived, incoming, streaming = _complete_places(server, name.text)
    if not partial or name.kind is not WalKind.SEGMENT:
        return archived, incoming, streaming, archived
    return (
        archived,
        incoming,
        streaming,
        f"{streaming}.partial",
        streaming,
        f"{archived}.partial",
        f"{incoming}.partial",
        archived,
    )


@contextlib.contextmanager
def open_wal(server: HotServer, name: WalName, *, partial: bool) -> Iterator[Wal]:
    """Open the first complete file that goes by the name; NoSuchWal if there is none."""
    filters = server.custom_filters()
    for path in _places(server, name, partial=partial):
        try:
            file = open(path, "rb")  # noqa: SIM115 - closed below
        except (FileNotFoundError, NotADirectoryError):
            continue
        with file:
            wal = _inspect(name, path, file, filters)
            if _is_still_arriving(wal, server):
                continue
            if not wal.is_encrypted:
                yield wal
                return
            with _decrypted(wal, server) as plain:
                yield _inspect(name, path, plain, filters)
                return
    require_archive(server)
    raise NoSuchWal(f"WAL file '{name.text}' not found in server '{server.name}'")


def _inspect(name: WalName, path: str, file: BinaryIO, filters: codecs.CustomFilters | None) -> Wal:
    descriptor = file.fileno()
    # Not file.read: a filter will be given the descriptor, which must stand at the beginning.
    first_bytes = os.pread(descriptor, codecs.LONGEST_MAGIC, 0)
    codec = codecs.identify(first_bytes, custom=filters)
    return Wal(name, path, file, os.fstat(descriptor).st_size, codec, is_openpgp(first_bytes), filters)


def _decrypted(wal: Wal, server: HotServer) -> BinaryIO:
    """Return what the file holds decrypted, as a real file."""
    try:
        return open_decrypted(wal.file, server.decryption())
    except BarmanError as error:
        raise CannotSend(f"WAL file {wal.path} cannot be sent: {error.message}", hint=error.hint) from error


def _is_still_arriving(wal: Wal, server: HotServer) -> bool:
    """Whether this is the beginning of a file that somebody is writing: archived files are whole or damaged."""
    if wal.path.startswith(os.path.join(server.wals_directory, "")):
        return False
    if wal.path.endswith(".partial"):
        return wal.size == 0
    return wal.name.kind is WalKind.SEGMENT and wal.codec is None and wal.size not in SEGMENT_SIZES


@contextlib.contextmanager
def decoded(wal: Wal) -> Iterator[BinaryIO]:
    """Give a reader of what the file holds once decompressed."""
    if wal.codec is None:
        yield wal.file
        return
    try:
        reader = codecs.open_reader(wal.file, wal.codec, custom=wal.filters)
    except BarmanError as error:
        raise CannotSend(f"WAL file {wal.path} cannot be decompressed: {error.message}", hint=error.hint) from error
    with reader:
        yield reader
