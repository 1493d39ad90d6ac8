from __future__ import annotations

import io
import os

import pytest
import zstandard

from barman.storage.compress.zstd_pieces import ZstdPieces

NOISE = os.urandom(1 << 20)
ZEROS = bytes(40 << 20)


def _pieces(data):
    file, cutter = io.BytesIO(data), ZstdPieces()
    return list(iter(lambda: cutter.read(file), b""))


@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize("size_is_known", [True, False])
def test_pieces_are_all_of_it_and_each_decodes_to_little(checksum, size_is_known):
    compressor = zstandard.ZstdCompressor(level=1, write_checksum=checksum, write_content_size=size_is_known)
    frames = [compressor.compress(content) for content in (NOISE + ZEROS, b"", b"short", ZEROS + NOISE)]

    for data in (*frames, b"".join(frames)):
        pieces = _pieces(data)
        assert b"".join(pieces) == data
    for frame in frames:
        decoder = zstandard.ZstdDecompressor().decompressobj()
        sizes = [len(decoder.decompress(piece)) for piece in _pieces(frame)]
        assert decoder.eof
        assert max(sizes) <= 1 << 20
        assert len(sizes) <= sum(sizes) // (256 << 10) + 1


@pytest.mark.parametrize(
    "data",
    [
        NOISE,
        b"\x28\xb5\x2f\xfd",
        b"\x28\xb5\x2f\xfd" + NOISE,
        zstandard.ZstdCompressor().compress(NOISE)[:100_000],
        b"\x50\x2a\x4d\x18\x04\x00\x00\x00skip" + zstandard.ZstdCompressor().compress(NOISE),
    ],
    ids=["noise", "only a mark", "noise behind a mark", "cut", "something to skip"],
)
def test_nothing_is_lost_of_what_cannot_be_understood(data):
    assert b"".join(_pieces(data)) == data
