"""A stored file as it was before it was compressed and encrypted, whatever with. Hot-safe."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, BinaryIO, cast

from barman.errors import Encrypted
from barman.storage.compress.codecs import LONGEST_MAGIC, identify, open_reader
from barman.storage.encrypt.openpgp import is_openpgp

if TYPE_CHECKING:
    from barman.storage.compress.codecs import CustomFilters
    from barman.storage.encrypt.gpg import Decryption


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


def open_decoded(
    file: BinaryIO, *, custom: CustomFilters | None = None, decryption: Decryption | None = None
) -> BinaryIO:
    """Return what file, a real file at its start, holds decrypted and decompressed; the result owns file.

    custom: the configured filters, if compression is custom. decryption: None if there is no passphrase. Raises as
    open_reader and Decryption do, Encrypted also without decryption, and closes file then.
    """
    try:
        file = open_decrypted(file, decryption)
        name = identify(_magic(file), custom=custom)
        if name is None:
            return file
        return cast("BinaryIO", io.BufferedReader(_Decoded(open_reader(file, name, custom=custom), file)))
    except BaseException:
        file.close()
        raise


def open_decrypted(file: BinaryIO, decryption: Decryption | None) -> BinaryIO:
    """Return file, a real file at its start, if it is not encrypted, else what it holds, as another real file.

    file is closed then. Raises as Decryption does, Encrypted also without one, and leaves file open.
    """
    if not is_openpgp(_magic(file)):
        return file
    if decryption is None:
        raise Encrypted(
            f"{getattr(file, 'name', 'it')} is encrypted, and there is no passphrase for it",
            hint="Set encryption_passphrase_command.",
        )
    decrypted = decryption.open(file)
    file.close()
    return decrypted


def _magic(file: BinaryIO) -> bytes:
    # Not file.read: a program will be given the descriptor, which must stand at the beginning.
    return os.pread(file.fileno(), LONGEST_MAGIC, 0)
