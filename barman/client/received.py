"""A WAL file that came over the wire: decompress it where needed, and make sure that it is whole. Hot-safe."""

from __future__ import annotations

import os
from typing import BinaryIO

from barman.client.remote import ClientError
from barman.errors import BarmanError
from barman.postgres.wal_names import SEGMENT_SIZES, is_segment_name
from barman.storage.compress import codecs
from barman.wal.hot_program import STOP_RECOVERY

CHUNK = 1 << 20


def finish(path: str, name: str) -> None:
    """Make the file at path, received as WAL file name, what PostgreSQL wants: plain and complete.

    ClientError with STOP_RECOVERY if it is damaged: recovery must not end quietly before it.
    """
    with open(path, "rb") as file:
        codec = codecs.identify(file.read(codecs.LONGEST_MAGIC))
        file.seek(0)
        if codec is not None:
            _decompress(file, codec, path, name)
    size = os.path.getsize(path)
    if not is_whole(name, size):
        raise ClientError(f"WAL file {name} arrived with {size} bytes, which is no segment", STOP_RECOVERY)


def check_segment(path: str, name: str, *, system_id: str | None = None) -> str | None:
    """Return why the plain file at path cannot be segment name, None if it can; system_id: of which cluster."""
    from barman.errors import WalError
    from barman.postgres.wal_header import LONG_HEADER_SIZE, check_header, parse_page_header

    try:
        with open(path, "rb") as file:
            header = parse_page_header(file.read(LONG_HEADER_SIZE))
            size = os.fstat(file.fileno()).st_size
    except WalError as error:
        return error.message
    return check_header(header, name=name, segment_size=size, system_id=system_id)


def require_segment(path: str, name: str, *, system_id: str | None = None) -> None:
    """Raise ClientError with STOP_RECOVERY if the plain file at path cannot be segment name of that cluster."""
    reason = check_segment(path, name, system_id=system_id)
    if reason is not None:
        hint = None
        if system_id is not None and check_segment(path, name) is None:
            hint = "Is this the right server of the right Barman host?"
        raise ClientError(f"WAL file {name} cannot be used: {reason}", STOP_RECOVERY, hint=hint)


def is_whole(name: str, size: int) -> bool:
    """Whether size bytes can be all of the plain WAL file name."""
    return size in SEGMENT_SIZES if is_segment_name(name) else size > 0


def _decompress(file: BinaryIO, codec: str, path: str, name: str) -> None:
    """Replace path by its decompressed content."""
    plain = f"{path}.plain"
    try:
        with open(plain, "wb") as target, codecs.open_reader(file, codec) as reader:
            while chunk := reader.read(CHUNK):
                target.write(chunk)
        os.rename(plain, path)
    except BaseException as error:
        if os.path.exists(plain):
            os.unlink(plain)
        if isinstance(error, BarmanError):
            message = f"WAL file {name} cannot be decompressed: {error.message}"
            raise ClientError(message, STOP_RECOVERY, hint=error.hint) from error
        raise
