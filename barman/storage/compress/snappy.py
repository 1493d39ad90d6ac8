"""The library for snappy, which is optional and has no types. Hot-safe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from barman.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

MAGIC = b"\xff\x06\x00\x00sNaPpY"


def import_cramjam() -> Cramjam:
    """Return the module; ConfigError if it is not installed."""
    try:
        import cramjam
    except ImportError:
        raise ConfigError(
            "compression snappy needs a library that is not installed", hint="Run: pip install 'barman[snappy]'."
        ) from None
    return cast("Cramjam", cramjam)


class _Snappy(Protocol):
    Compressor: Callable[[], _SnappyStream]
    decompress: Callable[[bytes], bytes]


class _SnappyStream(Protocol):
    def compress(self, data: bytes, /) -> int: ...

    def flush(self) -> bytes: ...

    def finish(self) -> bytes: ...


class Cramjam(Protocol):
    """The part of the module that is used."""

    snappy: _Snappy
    DecompressionError: type[Exception]
