"""What an encrypted file holds, told by a digest beside it, so that it can be compared by who cannot decrypt it.

A Barman host that only has the public key can encrypt WAL and never look at it again; the second copy of a segment,
from the other archiver, must be recognised all the same. The digest is in an extended attribute of the file: it comes
with the file's name or not at all, and goes with the file. Where a file system has none, nothing is known.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import BinaryIO

_NAME = "user.barman.content_sha256"
_CHUNK = 1 << 20


def digest_of(file: BinaryIO) -> str:
    """Return the digest of what file still holds."""
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def set_mark(file: BinaryIO, digest: str) -> None:
    """Note at file, which is open for writing, the digest of what it holds before encryption, if that is possible."""
    with contextlib.suppress(OSError, AttributeError):
        os.setxattr(file.fileno(), _NAME, digest.encode())


def read_mark(file: BinaryIO) -> str | None:
    """Return the digest noted at file, None if there is none."""
    try:
        return os.getxattr(file.fileno(), _NAME).decode()
    except (OSError, AttributeError):
        return None
