"""Writing compressed streams: one encoder per algorithm, all with the interpreter lock released while they work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from barman.storage.compress.snappy import import_cramjam

if TYPE_CHECKING:
    from collections.abc import Callable


_ISAL_LEVELS = 3
_GZIP_USUAL = 6
# Memory of one encoder, in MiB, as measured; of xz by level. Source for xz: its manual page.
_XZ_MIB = (3, 9, 17, 32, 48, 94, 94, 186, 370, 674)
_OTHERS_MIB = {"gzip": 2, "bzip2": 8, "lz4": 3, "snappy": 2}
# What zstandard holds beside what it tells.
_ZSTD_BUFFERS_MIB = 6


class Encoder(Protocol):
    """A compressor of one stream; what compress keeps to itself, flush gives, with the end mark."""

    def compress(self, data: bytes | memoryview, /) -> bytes:
        """Take data, give what is ready."""

    def flush(self) -> bytes:
        """Give the rest."""


def _gzip_encoder(level: int) -> Encoder:
    """Take the fastest library there is for the level: isal knows only the lowest three."""
    import zlib

    if level <= _ISAL_LEVELS:
        try:
            from isal import isal_zlib

            # Its first is no faster than its second.
            return cast("Encoder", isal_zlib.compressobj(max(level, 2), wbits=31))
        except ImportError:
            pass
    try:
        from zlib_ng import zlib_ng

        # Of WAL its fifth level makes files as small as its sixth, within half a per cent, in two thirds of the time.
        return cast("Encoder", zlib_ng.compressobj(5 if level == _GZIP_USUAL else level, wbits=31))
    except ImportError:
        return zlib.compressobj(level, wbits=31)


def _bzip2_encoder(level: int) -> Encoder:
    import bz2

    return bz2.BZ2Compressor(level)


def _xz_encoder(level: int) -> Encoder:
    import lzma

    return lzma.LZMACompressor(preset=level)


def _zstd_encoder(level: int) -> Encoder:
    import zstandard

    return zstandard.ZstdCompressor(level=level, write_checksum=True).compressobj()


class _Lz4Encoder:
    """The frame compressor with its header; content checksum, so that damage shows."""

    def __init__(self, level: int) -> None:
        import lz4.frame

        self._frame = lz4.frame.LZ4FrameCompressor(
            compression_level=level, content_checksum=True, block_size=lz4.frame.BLOCKSIZE_MAX1MB
        )
        self._head = self._frame.begin()

    def compress(self, data: bytes | memoryview, /) -> bytes:
        head, self._head = self._head, b""
        return bytes(head + self._frame.compress(data))

    def flush(self) -> bytes:
        return bytes(self._head + self._frame.flush())


class _SnappyEncoder:
    def __init__(self, _level: int) -> None:
        self._stream = import_cramjam().snappy.Compressor()

    def compress(self, data: bytes | memoryview, /) -> bytes:
        self._stream.compress(bytes(data))
        return bytes(self._stream.flush())

    def flush(self) -> bytes:
        return bytes(self._stream.finish())


ENCODERS: dict[str, Callable[[int], Encoder]] = {
    "gzip": _gzip_encoder,
    "bzip2": _bzip2_encoder,
    "xz": _xz_encoder,
    "lz4": _Lz4Encoder,
    "zstd": _zstd_encoder,
    "snappy": _SnappyEncoder,
}


def working_memory_mib(algorithm: str, level: int) -> int:
    """Return about how much memory an encoder takes, whatever it compresses; algorithm: a key of ENCODERS."""
    if algorithm == "xz":
        return _XZ_MIB[level]
    if algorithm == "zstd":
        import zstandard

        parameters = zstandard.ZstdCompressionParameters.from_level(level)
        return (parameters.estimated_compression_context_size() >> 20) + _ZSTD_BUFFERS_MIB
    return _OTHERS_MIB[algorithm]
