"""A stored file as it was before it was compressed, whatever it was compressed with."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO, cast

from barman.storage.compress.codecs import LONGEST_MAGIC, identify, open_reader

if TYPE_CHECKING:
    from barman.storage.compress.codecs import CustomFilters


class _Decoded(io.RawIOBase):
    """Reads through reader; closing it closes the file below, too."""

    def __init__(self, reader: BinaryIO, file: BinaryIO) -> None:
        self._reader = reader
        self._file = file

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill buffer as far as the reader goes."""
        data = self._reader.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close both."""
        try:
            self._reader.close()
        finally:
            self._file.close()
            super().close()


def open_decoded(file: BinaryIO, *, custom: CustomFilters | None = None) -> BinaryIO:
    """Return what file, a real file at its start, holds decompressed; the result owns file.

    custom: the configured filters, if compression is custom. Raises as open_reader does, and closes file then.
    """
    try:
        name = identify(file.read(LONGEST_MAGIC), custom=custom)
        file.seek(0)
        if name is None:
            return file
        return cast("BinaryIO", io.BufferedReader(_Decoded(open_reader(file, name, custom=custom), file)))
    except BaseException:
        file.close()
        raise
