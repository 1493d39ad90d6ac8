"""Replacing a small file on a full disk, with room taken while there was some."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from barman.host.files import fsync_directory, naming, open_temporary

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self


class Reserve:
    """Room for the next content of one file, held for the time of a with block.

    It is a temporary file beside it, which a killed process leaves to files.remove_stale_temporaries. OSError names the
    file.
    """

    def __init__(self, path: Path, size_bytes: int = 16 * 1024) -> None:
        """path: the file to be replaced, whose directory exists. size_bytes: what its next content may have."""
        self._path = path
        self._size_bytes = size_bytes

    def __enter__(self) -> Self:
        """Take the room."""
        self._place, self._file = open_temporary(self._path)
        try:
            with naming(self._place):
                # Bytes, not a hole: what is written over them later needs no further block.
                self._file.write(bytes(self._size_bytes))
                self._file.flush()
                os.fsync(self._file.fileno())
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the room back, if it was not used."""
        self._release()

    def replace(self, content: bytes) -> None:
        """Make content that of the file, atomically and durably, in the room taken; it can be used once."""
        with naming(self._place):
            self._file.seek(0)
            self._file.write(content)
            self._file.truncate()
            self._file.flush()
            os.fsync(self._file.fileno())
        os.rename(self._place, self._path)
        fsync_directory(self._path.parent)

    def _release(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._place)
        # Closing writes what is buffered, and on a full disk fails again.
        with contextlib.suppress(OSError):
            self._file.close()
