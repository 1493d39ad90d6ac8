"""Reading ahead of who reads: what decompresses works while what writes does."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

_PIECE = 1 << 20
_PIECES = 4


class _Piece(NamedTuple):
    """What was read at a time. size: of what counts of buffer; 0 at the end. error: what reading raised."""

    buffer: memoryview
    size: int
    error: BaseException | None = None


class ReadAhead:
    """What has been read of another file already; only one thread may read it."""

    def __init__(self, full: SimpleQueue[_Piece], free: SimpleQueue[memoryview | None]) -> None:
        """full: gives what was read, in order. free: takes the buffers back."""
        self._full = full
        self._free = free
        self._piece: _Piece | None = None
        self._begin = 0

    def readinto(self, buffer: memoryview) -> int:
        """Read into buffer; return how many bytes, 0 at the end. Raises what reading the other file raises."""
        piece = self._piece
        if piece is None or (piece.size and self._begin == piece.size):
            piece = self._next()
        if piece.error is not None:
            raise piece.error
        size = min(len(buffer), piece.size - self._begin)
        buffer[:size] = piece.buffer[self._begin : self._begin + size]
        self._begin += size
        return size

    def read(self, size: int) -> bytes:
        """Return up to size bytes; otherwise as readinto."""
        buffer = bytearray(size)
        return bytes(buffer[: self.readinto(memoryview(buffer))])

    def _next(self) -> _Piece:
        if self._piece is not None:
            self._free.put(self._piece.buffer)
        self._piece, self._begin = self._full.get(), 0
        return self._piece


@contextlib.contextmanager
def reading_ahead(file: BinaryIO) -> Iterator[ReadAhead]:
    """Read file, which has readinto, in a thread of its own for the time of the block; a few megabytes ahead."""
    full: SimpleQueue[_Piece] = SimpleQueue()
    free: SimpleQueue[memoryview | None] = SimpleQueue()
    for _ in range(_PIECES):
        free.put(memoryview(bytearray(_PIECE)))

    def read() -> None:
        while (buffer := free.get()) is not None:
            try:
                piece = _Piece(buffer, _fill(file, buffer))
            except BaseException as error:  # noqa: BLE001  it is raised where the file is read
                piece = _Piece(buffer, 0, error)
            full.put(piece)
            if not piece.size:
                return

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ahead") as pool:
        pool.submit(read)
        try:
            yield ReadAhead(full, free)
        finally:
            free.put(None)


def _fill(file: BinaryIO, buffer: memoryview) -> int:
    """Read until buffer is full or the file ends; return how many bytes."""
    filled = 0
    while filled < len(buffer):
        size: int = file.readinto(buffer[filled:])  # type: ignore[attr-defined]
        if not size:
            break
        filled += size
    return filled
