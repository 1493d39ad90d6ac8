"""How WAL is written into the archive: compressed, encrypted, both or neither, as configured."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from barman.errors import ConfigError
from barman.storage.compress.codecs import canonical_name, compress_stream, resolve_level
from barman.storage.compress.decoded import open_decoded
from barman.storage.encrypt.content_mark import digest_of, set_mark
from barman.storage.encrypt.gpg import encrypt_produced, encrypt_stream

if TYPE_CHECKING:
    from barman.server import Server
    from barman.storage.compress.codecs import CustomFilters
    from barman.wal.inspect import Inspection


# Of the 150 MiB that no command should need, what is left beside the program itself.
_MEMORY_MIB = 105
# These compress in a process of their own.
_PROGRAMS = frozenset({"pigz", "custom"})


class Encoding(NamedTuple):
    """What is to be done to a file. compression: an algorithm with its level; key_id: the recipient. None: nothing."""

    compression: str | None
    level: int | None
    custom: CustomFilters | None
    key_id: str | None

    def without_what(self, seen: Inspection) -> Encoding:
        """Return what is left to be done to a file: what is compressed or encrypted stays as it is."""
        if seen.encryption is not None:
            return self._replace(compression=None, key_id=None)
        return self if seen.compression is None else self._replace(compression=None)

    @property
    def changes(self) -> bool:
        """Whether anything is to be done."""
        return self.compression is not None or self.key_id is not None

    def words(self, seen: Inspection) -> tuple[str | None, str | None]:
        """Return compression and encryption of the result, for the ledger."""
        compression = canonical_name(self.compression) if self.compression else seen.compression
        return compression, "gpg" if self.key_id else seen.encryption

    def workers(self, cores: int) -> int:
        """Return how many files to encode at a time: as many as there are cores, and as memory is meant for."""
        if self.compression is None or self.compression in _PROGRAMS:
            return cores
        from barman.storage.compress.encoders import working_memory_mib

        need = working_memory_mib(canonical_name(self.compression), self.level or 0)
        return max(1, min(cores, _MEMORY_MIB // need))

    def write(self, source: BinaryIO, target: BinaryIO) -> None:
        """Write into target what source holds; both must be real files, source at its start.

        CommandError if a program fails, ConfigError if a library is missing.
        """
        compress = functools.partial(
            compress_stream, source, name=self.compression or "", level=self.level, custom=self.custom
        )
        if self.key_id is None:
            compress(target)
            return
        set_mark(target, _content_digest(source, self.custom))
        if self.compression is None:
            encrypt_stream(source, target, self.key_id)
        else:
            encrypt_produced(compress, target, self.key_id)


def encoding_of(server: Server) -> Encoding:
    """Return what the settings ask for; ConfigError if that is contradictory."""
    settings = server.settings
    if settings.encryption == "gpg" and settings.encryption_key_id is None:
        raise ConfigError(
            f"WAL of server '{server.name}' cannot be archived: encryption requires encryption_key_id",
            hint="Set encryption_key_id, or encryption = none.",
        )
    level = resolve_level(settings.compression or "", settings.compression_level)
    key_id = settings.encryption_key_id if settings.encryption == "gpg" else None
    return Encoding(settings.compression, level, server.custom_filters, key_id)


def _content_digest(source: BinaryIO, custom: CustomFilters | None) -> str:
    """Return the digest of what source holds decompressed; source is at its start again afterwards."""
    with (
        open(source.fileno(), "rb", closefd=False) as again,
        open_decoded(cast("BinaryIO", again), custom=custom) as reader,
    ):
        digest = digest_of(reader)
    # Not source.seek, which knows nothing of what was read beside it.
    os.lseek(source.fileno(), 0, os.SEEK_SET)
    return digest
