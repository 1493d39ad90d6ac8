"""The compression algorithms of WAL files and tarballs: names, levels, recognition, reading and writing.

Hot-safe: the libraries are imported by the function that needs them. Everything is streamed; memory stays below
about 64 MB per stream whatever the data.
"""

from __future__ import annotations

import io
from typing import BinaryIO, NamedTuple, cast

from barman.errors import ConfigError
from barman.storage.compress.decoders import DECODINGS, DecodingReader
from barman.storage.compress.snappy import MAGIC as SNAPPY_MAGIC

_CHUNK = 1 << 20
_PIECE = 1 << 18
LONGEST_MAGIC = 10


class Levels(NamedTuple):
    """What the words mean for an algorithm, and its range."""

    low: int
    medium: int
    high: int
    minimum: int
    maximum: int


class Codec(NamedTuple):
    """One algorithm. magic: the first bytes of its output. levels: None where it has none."""

    name: str
    magic: bytes
    levels: Levels | None


class CustomFilters(NamedTuple):
    """The algorithm "custom": shell text that filters standard input, and how its output begins (None: unknown)."""

    compress: str | None
    decompress: str | None
    magic: bytes | None = None


_GZIP_LEVELS = Levels(1, 6, 9, 1, 9)
_BZIP2_LEVELS = Levels(1, 5, 9, 1, 9)

# Source of magics: the formats' specifications. Of several names for one magic the first is the one recognised.
CODECS = {
    codec.name: codec
    for codec in (
        Codec("gzip", b"\x1f\x8b\x08", _GZIP_LEVELS),
        Codec("pigz", b"\x1f\x8b\x08", _GZIP_LEVELS),
        Codec("pygzip", b"\x1f\x8b\x08", _GZIP_LEVELS),
        Codec("bzip2", b"BZh", _BZIP2_LEVELS),
        Codec("pybzip2", b"BZh", _BZIP2_LEVELS),
        Codec("xz", b"\xfd7zXZ\x00", Levels(1, 3, 5, 0, 9)),
        Codec("zstd", b"\x28\xb5\x2f\xfd", Levels(1, 4, 9, -22, 22)),
        Codec("lz4", b"\x04\x22\x4d\x18", Levels(0, 6, 10, 0, 16)),
        Codec("snappy", SNAPPY_MAGIC, None),
    )
}


def identify(first_bytes: bytes, *, custom: CustomFilters | None = None) -> str | None:
    """Return the name of the algorithm whose output begins so; None for what is not compressed.

    first_bytes: at least LONGEST_MAGIC of them, unless the file is shorter. custom: the configured filters, if
    compression is custom; with a magic it is asked for too, without one all that is neither known nor a plain WAL
    page, label or history counts as custom.
    """
    for codec in CODECS.values():
        if first_bytes.startswith(codec.magic):
            return codec.name
    if custom is None:
        return None
    if custom.magic is not None:
        return "custom" if first_bytes.startswith(custom.magic) else None
    return None if _is_plain(first_bytes) else "custom"


def canonical_name(name: str) -> str:
    """Return the name identify gives to what the algorithm name writes: gzip for pigz."""
    return name if name == "custom" else identify(CODECS[name].magic) or name


def resolve_level(name: str, level: int | str | None) -> int | None:
    """Return the level as a number within the algorithm's range; None if it has no levels.

    level: a number, clamped to the range; "low", "medium" or "high"; None is medium.
    """
    levels = CODECS[name].levels if name in CODECS else None
    if levels is None:
        return None
    if isinstance(level, int):
        return min(max(level, levels.minimum), levels.maximum)
    return {"low": levels.low, "high": levels.high}.get(level or "", levels.medium)


def open_reader(file: BinaryIO, name: str, *, custom: CustomFilters | None = None) -> BinaryIO:
    """Return a reader of what file, compressed by the algorithm name, holds; not seekable.

    file stays open when the reader is closed, and must be a real file for custom. Reading raises Permanent when the
    data are damaged or end too early; ConfigError here when a library or filter is missing.
    """
    if name == "custom":
        return _run_custom_reader(file, custom)
    return cast("BinaryIO", io.BufferedReader(DecodingReader(file, DECODINGS[canonical_name(name)]()), _CHUNK))


def compress_stream(
    source: BinaryIO, target: BinaryIO, name: str, level: int | None, *, custom: CustomFilters | None = None
) -> None:
    """Compress all that source still holds into target, with the algorithm name at a level of resolve_level.

    Both must be real files for pigz and custom. Releases the interpreter lock while it works. To stop it, let target
    refuse to be written: it is asked at least every second. ConfigError when a library or filter is missing;
    CommandError when a program fails.
    """
    if name in {"pigz", "custom"}:
        _run_writer(source, target, name, level, custom)
        return
    from barman.storage.compress.encoders import ENCODERS

    encoder = ENCODERS[canonical_name(name)](level if level is not None else 0)
    # One buffer for all of it: fresh memory for every piece costs a quarter of the time of a fast algorithm.
    buffer = bytearray(_PIECE)
    piece = memoryview(buffer)
    while size := cast("io.BufferedIOBase", source).readinto(buffer):
        target.write(encoder.compress(piece[:size]))
    target.write(encoder.flush())


def _run_custom_reader(file: BinaryIO, custom: CustomFilters | None) -> BinaryIO:
    import tempfile

    from barman.host.runner import run_shell

    if custom is None or custom.decompress is None:
        raise ConfigError("option custom_decompression_filter is not set")
    decoded = tempfile.TemporaryFile()  # noqa: SIM115  it is what we return
    try:
        run_shell(custom.decompress, timeout_s=None, stdin=file, stdout=cast("BinaryIO", decoded))
        decoded.seek(0)
    except BaseException:
        decoded.close()
        raise
    return cast("BinaryIO", decoded)


def _run_writer(source: BinaryIO, target: BinaryIO, name: str, level: int | None, custom: CustomFilters | None) -> None:
    from barman.host.runner import run, run_shell

    def ask() -> None:
        # The program writes past target; whoever wants it to stop refuses this.
        target.write(b"")

    if name == "pigz":
        run(["pigz", "-c", f"-{level}"], timeout_s=None, stdin=source, stdout=target, on_tick=ask)
    elif custom is None or custom.compress is None:
        raise ConfigError("option custom_compression_filter is not set")
    else:
        run_shell(custom.compress, timeout_s=None, stdin=source, stdout=target, on_tick=ask)


def _is_plain(first_bytes: bytes) -> bool:
    """Whether this may begin a WAL page (magic 0xD0xx or 0xD1xx, little-endian) or a text file."""
    return first_bytes[1:2] in {b"\xd0", b"\xd1"} or (first_bytes.isascii() and b"\0" not in first_bytes)
