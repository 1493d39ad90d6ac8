"""Encrypting the tarballs of a backup, once it is copied."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from barman.storage.encrypt.gpg import encrypt_stream

if TYPE_CHECKING:
    from pathlib import Path

    from barman.progress import Reporter


def encrypt_tarballs(data: Path, key_id: str, reporter: Reporter) -> None:
    """Replace every tarball in a backup's data directory by an encrypted one, NAME.gpg; not durably.

    CommandError if gpg fails: those done are encrypted then, the others are as they were.
    """
    tarballs = sorted(path for path in data.glob("*.tar*") if path.suffix != ".gpg")
    total = sum(path.stat().st_size for path in tarballs)
    with reporter.bar("Encrypting", total=total, unit="bytes") as bar:
        for path in tarballs:
            _encrypt(path, key_id)
            bar.advance(path.stat().st_size)
            path.unlink()


def _encrypt(path: Path, key_id: str) -> None:
    encrypted = path.with_name(f"{path.name}.gpg")
    try:
        with path.open("rb") as source, encrypted.open("wb") as target:
            os.fchmod(target.fileno(), stat.S_IMODE(os.fstat(source.fileno()).st_mode))
            encrypt_stream(source, target, key_id)
    except BaseException:
        encrypted.unlink(missing_ok=True)
        raise
