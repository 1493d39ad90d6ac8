"""Reading compressed streams: the libraries behind one reader that notices damage and early ends. Hot-safe."""

from __future__ import annotations

import functools
import io
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol, cast

from barman.errors import Permanent
from barman.storage.compress.snappy import MAGIC, import_cramjam
from barman.storage.compress.zstd_pieces import ZstdPieces

if TYPE_CHECKING:
    from collections.abc import Callable

_LIMIT = 1 << 20
_PIECE = 128 << 10


class _Decoder(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    @property
    def decompress(self) -> Callable[..., bytes]: ...


class Decoding(NamedTuple):
    """How to decode one algorithm. read: a piece of the file to feed at once, so that little comes out at a time.

    limit: most bytes to be handed out at once, for decoders that keep the rest to themselves. errors: what damage
    raises.
    """

    new: Callable[[], _Decoder]
    read: Callable[[BinaryIO], bytes]
    limit: int | None
    errors: tuple[type[Exception], ...]


class DecodingReader(io.RawIOBase):
    """The decoded bytes of one or more compressed streams, one after the other."""

    def __init__(self, file: BinaryIO, decoding: Decoding) -> None:
        self._file = file
        self._decoding = decoding
        self._decoder = decoding.new()
        self._ready = memoryview(b"")
        self._fed = False

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill buffer as far as one step goes; 0 at the end."""
        while not self._ready:
            if not self._step():
                return 0
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _step(self) -> bool:
        """Decode a little more; False at the end of the file."""
        data = b""
        if self._decoder.eof:
            data = self._decoder.unused_data
            self._decoder = self._decoding.new()
            self._fed = False
        elif not getattr(self._decoder, "needs_input", True):
            self._decode(b"")
            return True
        data = data or self._decoding.read(self._file)
        if not data:
            if self._fed:
                raise Permanent("the compressed data end too early")
            return False
        self._fed = True
        self._decode(data)
        return True

    def _decode(self, data: bytes) -> None:
        limit = () if self._decoding.limit is None else (self._decoding.limit,)
        try:
            self._ready = memoryview(self._decoder.decompress(data, *limit))
        except self._decoding.errors as error:
            raise Permanent(f"the compressed data are damaged ({error})") from error


def _by(size: int) -> Callable[[BinaryIO], bytes]:
    return lambda file: file.read(size)


def _gzip_decoding() -> Decoding:
    import zlib

    try:
        from isal import igzip_lib
    except ImportError:
        return Decoding(lambda: zlib.decompressobj(31), _by(16384), None, (zlib.error,))
    new = functools.partial(igzip_lib.IgzipDecompressor, flag=igzip_lib.DECOMP_GZIP)
    return Decoding(new, _by(_PIECE), _LIMIT, (cast("type[Exception]", igzip_lib.IsalError),))


def _bzip2_decoding() -> Decoding:
    import bz2

    return Decoding(bz2.BZ2Decompressor, _by(_PIECE), _LIMIT, (OSError,))


def _xz_decoding() -> Decoding:
    import lzma

    return Decoding(lzma.LZMADecompressor, _by(_PIECE), _LIMIT, (lzma.LZMAError,))


def _lz4_decoding() -> Decoding:
    import lz4.frame

    return Decoding(lz4.frame.LZ4FrameDecompressor, _by(_PIECE), _LIMIT, (RuntimeError,))


def _zstd_decoding() -> Decoding:
    import zstandard

    return Decoding(
        lambda: zstandard.ZstdDecompressor().decompressobj(), ZstdPieces().read, None, (zstandard.ZstdError,)
    )


def _snappy_decoding() -> Decoding:
    cramjam = import_cramjam()
    return Decoding(lambda: _SnappyDecoder(cramjam.snappy.decompress), _by(65536), None, (cramjam.DecompressionError,))


class _SnappyDecoder:
    """Decodes the framing format chunk by chunk. Source: snappy, framing_format.txt."""

    needs_input = True
    unused_data = b""

    def __init__(self, decompress: Callable[[bytes], bytes]) -> None:
        self._decompress = decompress
        self._rest = b""

    @property
    def eof(self) -> bool:
        """The format has no end mark: it may end wherever a chunk does."""
        return not self._rest

    def decompress(self, data: bytes) -> bytes:
        data = self._rest + data
        end = 0
        while end + 4 <= len(data):
            following = end + 4 + int.from_bytes(data[end + 1 : end + 4], "little")
            if following > len(data):
                break
            end = following
        self._rest = data[end:]
        whole = data[:end] if data.startswith(MAGIC) else MAGIC + data[:end]
        return bytes(self._decompress(whole))


DECODINGS: dict[str, Callable[[], Decoding]] = {
    "gzip": _gzip_decoding,
    "bzip2": _bzip2_decoding,
    "xz": _xz_decoding,
    "lz4": _lz4_decoding,
    "zstd": _zstd_decoding,
    "snappy": _snappy_decoding,
}
