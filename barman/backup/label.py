"""Reading back the backup label that PostgreSQL put into a copy."""

from __future__ import annotations

import os
import tarfile
from typing import TYPE_CHECKING

from barman.errors import CatalogError, StorageError
from barman.storage.compress.codecs import LONGEST_MAGIC, identify, open_reader

if TYPE_CHECKING:
    from pathlib import Path

_NAME = "backup_label"
_MAXIMUM_SIZE = 1 << 20


def read_label(data: Path) -> str:
    """Return the content of backup_label in a copied data directory, or inside the base archive that stands for it.

    An archive is read only as far as the label, which PostgreSQL sends first. CatalogError if there is none, or the
    archive is damaged.
    """
    plain = data / _NAME
    if plain.exists():
        return os.fsdecode(plain.read_bytes())
    archives = sorted(data.glob("base.tar*"))
    if not archives:
        raise CatalogError(f"no {_NAME} and no base archive in {data}")
    return _from_archive(archives[0])


def _from_archive(archive: Path) -> str:
    try:
        with archive.open("rb") as file:
            codec = identify(file.read(LONGEST_MAGIC))
            file.seek(0)
            stream = file if codec is None else open_reader(file, codec)
            with tarfile.open(fileobj=stream, mode="r|") as tar:
                for member in tar:
                    content = tar.extractfile(member) if member.name.removeprefix("./") == _NAME else None
                    if content is not None:
                        return os.fsdecode(content.read(_MAXIMUM_SIZE))
    except (tarfile.TarError, StorageError) as error:
        raise CatalogError(f"cannot read {archive}: {error}") from error
    raise CatalogError(f"no {_NAME} in {archive}")
