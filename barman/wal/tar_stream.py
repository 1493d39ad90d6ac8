"""Tar archives on a pipe, with as little work per byte as can be. Hot-safe.

tarfile's own streams copy every byte several times, and what a segment costs on its way is copying. Headers are
tarfile's; contents go through one buffer.
"""

from __future__ import annotations

import re
import tarfile
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from barman.errors import WalError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CHUNK = 1 << 20

_LARGEST_HEADER = 1 << 16
_LATEST = 1 << 40
_RECORD = re.compile(rb"(\d+) ([^=\n]+)=")


class CutError(WalError):
    """The stream ended in the middle of something."""


class Member(NamedTuple):
    """A file of the stream. mtime: seconds. is_file: a regular one. type: as tarfile has it."""

    name: str
    size: int
    mode: int
    mtime: float
    is_file: bool
    type: bytes


class TarReader:
    """Reads the members of a stream, one after the other. CutError where it is cut, WalError if it is no tar archive.

    After next_member, copy must take what the member holds.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.headers: Mapping[str, str] = {}
        """The global headers that were seen so far."""
        self._stream = stream
        self._buffer = memoryview(bytearray(CHUNK))

    def next_member(self) -> Member | None:
        """Return the next member, None at the end of the archive."""
        own: dict[str, str] = {}
        while True:
            info = self._read_header()
            if info is None:
                return None
            if info.type == tarfile.XGLTYPE:
                self.headers = {**self.headers, **self._read_records(info.size)}
            elif info.type == tarfile.XHDTYPE:
                own = self._read_records(info.size)
            else:
                return _member(info, own)

    def copy(self, size: int, take: Callable[[memoryview], object]) -> None:
        """Give the size bytes of the member just read to take, in pieces that are only valid until it returns."""
        left = size
        while left:
            wanted = min(left, CHUNK)
            if self._fill(wanted) != wanted:
                raise CutError("the stream is not a complete tar archive: it is cut in the middle of a file")
            take(self._buffer[:wanted])
            left -= wanted
        padding = -size % tarfile.BLOCKSIZE
        if self._fill(padding) != padding:
            raise CutError("the stream is not a complete tar archive: it is cut behind a file")

    def drain(self) -> None:
        """Read what is behind the end of the archive, so that whoever writes it is not cut off."""
        while self._fill(CHUNK):
            pass

    def _fill(self, size: int) -> int:
        """Read size bytes into the buffer, less only at the end of the stream; return how many."""
        filled = 0
        while filled < size:
            count = self._stream.readinto(self._buffer[filled:size])  # type: ignore[attr-defined]
            if not count:
                break
            filled += count
        return filled

    def _read_header(self) -> tarfile.TarInfo | None:
        count = self._fill(tarfile.BLOCKSIZE)
        block = bytes(self._buffer[:count])
        if not block:
            return None
        try:
            return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            return None
        except tarfile.TruncatedHeaderError as error:  # type: ignore[attr-defined]
            raise CutError("the stream is not a complete tar archive: it is cut in a header") from error
        except tarfile.TarError as error:
            raise WalError(f"the stream is not a complete tar archive: {error}") from error

    def _read_records(self, size: int) -> dict[str, str]:
        """Return the records of an extended header. Source: POSIX, pax Interchange Format."""
        if size > _LARGEST_HEADER:
            raise WalError(f"the stream is not a complete tar archive: a header of {size} bytes")
        parts: list[bytes] = []
        self.copy(size, lambda piece: parts.append(bytes(piece)))
        text = b"".join(parts)
        records = {}
        place = 0
        while found := _RECORD.match(text, place):
            end = place + int(found[1])
            if end <= found.end() or end > len(text):
                break
            records[found[2].decode("utf-8", "replace")] = text[found.end() : end - 1].decode("utf-8", "replace")
            place = end
        return records


class TarWriter:
    """Writes files to a stream, each as the head and then what it holds."""

    def __init__(
        self, stream: BinaryIO, headers: Mapping[str, str] | None = None, *, alive: Callable[[], object] | None = None
    ) -> None:
        """headers: global ones, which whoever does not know them ignores. alive: called before each piece."""
        self._stream = stream
        self._alive = alive
        self._buffer = memoryview(bytearray(CHUNK))
        self._written = 0
        if headers:
            self._write(tarfile.TarInfo.create_pax_global_header(dict(headers)))

    def add(self, name: str, source: BinaryIO, size: int, *, mtime: float = 0, mode: int = 0o644) -> bool:
        """Write a file of size bytes; False if source has not so many."""
        info = tarfile.TarInfo(name)
        info.size, info.mtime, info.mode = size, mtime, mode
        self._write(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))
        left = size
        while left:
            count = source.readinto(self._buffer[: min(left, CHUNK)])  # type: ignore[attr-defined]
            if not count:
                return False
            if self._alive:
                self._alive()
            self._write(self._buffer[:count])
            left -= count
        self._write(bytes(-size % tarfile.BLOCKSIZE))
        return True

    def finish(self) -> None:
        """Write the end of the archive, and all that is still held back."""
        self._write(bytes(2 * tarfile.BLOCKSIZE))
        self._write(bytes(-self._written % tarfile.RECORDSIZE))
        self._stream.flush()

    def _write(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        self._written += len(view)
        while view:
            # A pipe without a buffer may take a part.
            view = view[self._stream.write(view) :]


def _member(info: tarfile.TarInfo, records: Mapping[str, str]) -> Member:
    try:
        size, mtime = int(records.get("size", info.size)), float(records.get("mtime", info.mtime))
    except ValueError as error:
        raise WalError(f"the stream is not a complete tar archive: {error}") from error
    if size < 0 or not abs(mtime) < _LATEST:
        raise WalError(f"the stream is not a complete tar archive: a file of {size} bytes and time {mtime}")
    return Member(records.get("path", info.name), size, info.mode & 0o7777, mtime, info.isreg(), info.type)
