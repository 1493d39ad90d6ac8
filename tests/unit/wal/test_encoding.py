"""How many files are encoded at a time."""

from __future__ import annotations

import pytest

from barman.storage.compress.codecs import CODECS
from barman.storage.compress.encoders import working_memory_mib
from barman.wal.encoding import Encoding


@pytest.mark.parametrize(
    ("compression", "level", "workers"),
    [
        (None, None, 64),
        ("pigz", 6, 64),
        ("custom", None, 64),
        ("gzip", 6, 52),
        ("xz", 3, 3),
        ("xz", 5, 1),
        ("xz", 9, 1),
        ("zstd", 19, 1),
    ],
)
def test_on_many_cores_memory_is_the_limit(compression, level, workers):
    assert Encoding(compression, level, None, None).workers(64) == workers


@pytest.mark.parametrize("compression", [name for name in CODECS if name != "pigz"])
def test_what_the_words_for_levels_mean_stays_within_memory(compression):
    levels = CODECS[compression].levels
    for level in (levels.low, levels.medium, levels.high) if levels else (0,):
        encoding = Encoding(compression, level, None, None)
        assert encoding.workers(1) == 1
        name = {"pygzip": "gzip", "pybzip2": "bzip2"}.get(compression, compression)
        assert encoding.workers(64) * working_memory_mib(name, level) <= 105
