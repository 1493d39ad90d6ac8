"""Cutting zstd data where a decoder can be fed much at a time without ever handing out too much. Hot-safe.

Source: RFC 8878, 3.1.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import BinaryIO

_MAGIC = b"\x28\xb5\x2f\xfd"
_RUN = 1
_LARGEST_BLOCK = 128 << 10
_BLOCKS = 4
# A kibibyte of run-length blocks decodes to 32 MiB; what cannot be understood is never given in larger pieces.
_BLINDLY = 1024


class ZstdPieces:
    """Reads zstd data in pieces that decode to half a megabyte at most; nothing is left out, even of damaged data."""

    def __init__(self) -> None:
        self._is_in_frame = False
        self._checksum_size = 0

    def read(self, file: BinaryIO) -> bytes:
        """Return the next piece of file, nothing at its end."""
        parts = []
        if not self._is_in_frame:
            begin = file.read(5)
            if len(begin) < 5 or not begin.startswith(_MAGIC):
                return begin + file.read(_BLINDLY)
            parts = [begin, file.read(self._enter(begin[4]))]
        for _ in range(_BLOCKS):
            header = file.read(3)
            value = int.from_bytes(header, "little")
            size = value >> 3
            parts.append(header)
            if size > _LARGEST_BLOCK:
                self._is_in_frame = False
                break
            parts.append(file.read(1 if value >> 1 & 3 == _RUN else size))
            if value & 1:
                parts.append(file.read(self._checksum_size))
                self._is_in_frame = False
                break
        return b"".join(parts)

    def _enter(self, descriptor: int) -> int:
        """Note what kind of frame begins; return how long the rest of its header is."""
        is_single_segment = descriptor >> 5 & 1
        self._is_in_frame = True
        self._checksum_size = 4 * (descriptor >> 2 & 1)
        return (1 - is_single_segment) + (0, 1, 2, 4)[descriptor & 3] + (is_single_segment, 2, 4, 8)[descriptor >> 6]
