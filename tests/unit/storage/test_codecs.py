"""Every compression: out and back, levels, recognition, damage."""

from __future__ import annotations

import io
import tempfile

import pytest

from barman.errors import ConfigError, Permanent
from barman.host.runner import which
from barman.storage.compress import decoders, encoders
from barman.storage.compress.codecs import (
    CODECS,
    CustomFilters,
    canonical_name,
    compress_stream,
    identify,
    open_reader,
    resolve_level,
)
from tests.support.wal import MIB, name_of, segment

GZIP_FILTERS = CustomFilters("gzip -1", "gzip -dc", b"\x1f\x8b")
CONTENT = segment(name_of(1), size=2 * MIB)


def compressed(name, content=CONTENT, level="medium", custom=None):
    if name == "snappy":
        pytest.importorskip("cramjam")
    if name == "pigz" and which("pigz") is None:
        pytest.skip("pigz is not installed")
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as target:
        source.write(content)
        source.seek(0)
        compress_stream(source, target, name, resolve_level(name, level), custom=custom)
        target.seek(0)
        return target.read()


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("level", ["low", "high"])
def test_what_was_compressed_reads_back(name, level):
    stored = compressed(name, level=level)
    assert identify(stored[:10]) == canonical_name(name)
    with open_reader(io.BytesIO(stored), name) as reader:
        assert reader.read() == CONTENT
    assert len(stored) < len(CONTENT)


@pytest.mark.parametrize("name", CODECS)
def test_nothing_is_a_stream_too(name):
    assert open_reader(io.BytesIO(compressed(name, b"")), name).read() == b""


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz", "zstd", "lz4", "snappy"])
def test_streams_may_follow_one_another(name):
    stored = compressed(name, b"one") + compressed(name, b"two")
    assert open_reader(io.BytesIO(stored), name).read() == b"onetwo"


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz", "zstd", "lz4", "snappy"])
@pytest.mark.parametrize("cut", [1, 5, 1000])
def test_a_stream_that_ends_too_early_is_noticed(name, cut):
    with pytest.raises(Permanent):
        open_reader(io.BytesIO(compressed(name)[:-cut]), name).read()


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz", "zstd", "lz4", "snappy"])
def test_a_flipped_bit_is_noticed(name):
    stored = bytearray(compressed(name))
    stored[len(stored) // 2] ^= 0x10
    with pytest.raises(Permanent):
        open_reader(io.BytesIO(stored), name).read()


@pytest.mark.parametrize("name", ["gzip", "zstd", "xz", "bzip2", "lz4", "snappy"])
def test_a_reader_gives_pieces_as_small_as_asked_for(name):
    reader = open_reader(io.BytesIO(compressed(name)), name)
    assert reader.read(40) == CONTENT[:40]
    assert reader.read(7) == CONTENT[40:47]


def test_a_reader_leaves_its_file_open():
    file = io.BytesIO(compressed("gzip", b"content"))
    open_reader(file, "gzip").close()
    assert not file.closed


def test_custom_filters_are_run():
    with tempfile.TemporaryFile() as file:
        file.write(compressed("custom", custom=GZIP_FILTERS))
        file.seek(0)
        with open_reader(file, "custom", custom=GZIP_FILTERS) as reader:
            assert reader.read() == CONTENT


@pytest.mark.parametrize("custom", [None, CustomFilters(None, None)])
def test_custom_without_filters_is_a_configuration_error(custom):
    with pytest.raises(ConfigError, match="custom_compression_filter"):
        compress_stream(io.BytesIO(), io.BytesIO(), "custom", None, custom=custom)
    with pytest.raises(ConfigError, match="custom_decompression_filter"):
        open_reader(io.BytesIO(), "custom", custom=custom)


def test_a_missing_library_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cramjam", None)
    with pytest.raises(ConfigError) as caught:
        compress_stream(io.BytesIO(), io.BytesIO(), "snappy", None)
    assert "barman[snappy]" in caught.value.hint
    with pytest.raises(ConfigError):
        open_reader(io.BytesIO(), "snappy")


def test_gzip_does_without_its_fast_libraries(monkeypatch):
    for module in ("isal", "zlib_ng"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    for level in (1, 6):
        encoder = encoders.ENCODERS["gzip"](level)
        stored = encoder.compress(CONTENT) + encoder.flush()
        assert decoders.DecodingReader(io.BytesIO(stored), decoders.DECODINGS["gzip"]()).readall() == CONTENT


@pytest.mark.parametrize(
    ("name", "level", "expected"),
    [
        ("gzip", "low", 1),
        ("gzip", "medium", 6),
        ("pigz", None, 6),
        ("gzip", 99, 9),
        ("gzip", 0, 1),
        ("bzip2", "medium", 5),
        ("xz", "high", 5),
        ("zstd", "high", 9),
        ("zstd", -30, -22),
        ("lz4", "low", 0),
        ("lz4", 12, 12),
        ("snappy", "high", None),
        ("custom", 3, None),
        ("", "medium", None),
    ],
)
def test_levels_are_words_or_numbers_within_the_range(name, level, expected):
    assert resolve_level(name, level) == expected


@pytest.mark.parametrize(
    ("first_bytes", "custom", "expected"),
    [
        (b"", None, None),
        (CONTENT[:10], None, None),
        (b"\x1f\x8b\x08 and so on", None, "gzip"),
        (b"MAGIC and so on", CustomFilters("a", "b", b"MAGIC"), "custom"),
        (b"other", CustomFilters("a", "b", b"MAGIC"), None),
        (b"\x1f\x8b\x08 and so on", CustomFilters("a", "b"), "gzip"),
        (b"\x00\x01\x02\x03", CustomFilters("a", "b"), "custom"),
        (CONTENT[:10], CustomFilters("a", "b"), None),
        (b"START WAL LOCATION", CustomFilters("a", "b"), None),
    ],
)
def test_files_are_recognised_by_their_first_bytes(first_bytes, custom, expected):
    assert identify(first_bytes, custom=custom) == expected


def test_names_for_the_same_format_have_one_canonical_name():
    assert [canonical_name(name) for name in ("pigz", "pygzip", "pybzip2", "xz", "custom")] == [
        "gzip",
        "gzip",
        "bzip2",
        "xz",
        "custom",
    ]
