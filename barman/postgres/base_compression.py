"""How pg_basebackup is to pack a backup, and what its versions can do of it. Pure.

Source: PostgreSQL manual, pg_basebackup, of versions 10 to 18.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from barman.postgres.versions import Feature, supports

Algorithm = Literal["gzip", "lz4", "zstd", "none"]

EXTENSIONS = {"gzip": "tar.gz", "lz4": "tar.lz4", "zstd": "tar.zst", "none": "tar"}

_LEVELS = {"gzip": (1, 9), "lz4": (0, 12), "zstd": (-131072, 22), "none": (0, 0)}
_GZIP_DEFAULT_LEVEL = -1


@dataclass(frozen=True, slots=True)
class BaseCompression:
    """What backup_compression and its companions ask for. level, workers: None leaves it to PostgreSQL.

    location: where it is compressed. format: what is stored; plain files arrive compressed and are stored as they are.
    """

    algorithm: Algorithm
    level: int | None = None
    workers: int | None = None
    location: Literal["client", "server"] = "client"
    format: Literal["plain", "tar"] = "tar"

    @property
    def extension(self) -> str:
        """The end of the names of the stored archives, without the dot."""
        return EXTENSIONS[self.algorithm]


class CompressionSettings(Protocol):
    """The options of a server that concern it."""

    @property
    def backup_compression(self) -> Algorithm | None:
        """How to compress."""

    @property
    def backup_compression_level(self) -> int | None:
        """How hard."""

    @property
    def backup_compression_workers(self) -> int | None:
        """With how many threads."""

    @property
    def backup_compression_location(self) -> Literal["client", "server"] | None:
        """Where."""

    @property
    def backup_compression_format(self) -> Literal["plain", "tar"] | None:
        """What is stored."""


def base_compression(settings: CompressionSettings) -> BaseCompression | None:
    """Return what the settings ask for; None without backup_compression: plain files, nothing compressed."""
    if settings.backup_compression is None:
        return None
    algorithm = settings.backup_compression
    return BaseCompression(
        algorithm=algorithm,
        level=settings.backup_compression_level,
        workers=settings.backup_compression_workers,
        location=settings.backup_compression_location or "client",
        # Archives that are not compressed are all that "none" can mean: without it files are plain anyway.
        format="tar" if algorithm == "none" else settings.backup_compression_format or "tar",
    )


def compression_problems(
    compression: BaseCompression, *, tool_version_num: int | None, server_version_num: int | None
) -> list[str]:
    """Return everything that speaks against it, one line each; versions that are not known are not judged."""
    problems = [
        *_level_problems(compression, tool_version_num),
        *_version_problems(compression, tool_version_num, "pg_basebackup"),
    ]
    if compression.location == "server":
        problems += _version_problems(compression, server_version_num, "PostgreSQL")
    if compression.workers is not None and compression.algorithm != "zstd":
        problems.append(f"backup_compression_workers is not possible with backup_compression = {compression.algorithm}")
    if compression.workers is not None and compression.workers < 0:
        problems.append(f"backup_compression_workers = {compression.workers} is negative")
    if compression.format == "plain" and compression.location == "client":
        problems.append("backup_compression_format = plain requires backup_compression_location = server")
    return list(dict.fromkeys(problems))


def _level_problems(compression: BaseCompression, tool_version_num: int | None) -> list[str]:
    algorithm, level = compression.algorithm, compression.level
    lowest, highest = _LEVELS[algorithm]
    if (
        algorithm == "gzip"
        and tool_version_num is not None
        and not supports(tool_version_num, Feature.SERVER_COMPRESSION)
    ):
        lowest = 0
    if level is None or lowest <= level <= highest or (algorithm == "gzip" and level == _GZIP_DEFAULT_LEVEL):
        return []
    return [
        f"backup_compression_level = {level} is out of range for {algorithm}"
        + (f" ({lowest} to {highest})" if lowest != highest else "")
    ]


def _version_problems(compression: BaseCompression, version_num: int | None, who: str) -> list[str]:
    if version_num is None or supports(version_num, Feature.SERVER_COMPRESSION):
        return []
    found = []
    if compression.algorithm in {"lz4", "zstd"}:
        found.append(f"backup_compression = {compression.algorithm} requires {who} 15 or later")
    if compression.location == "server" and compression.algorithm != "none":
        found.append(f"backup_compression_location = server requires {who} 15 or later")
    return found
