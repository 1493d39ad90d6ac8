"""What values look like."""

from __future__ import annotations

from datetime import timedelta

import pytest

from barman.config import values


def words(value):
    return value.describe if isinstance(value, values.Kind) else str(value)


def _described(value):
    """Part of a test's id; the repr of a kind holds an address, which differs between worker processes."""
    return value.describe if isinstance(value, values.Kind) else str(value)


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (values.BOOL, "Yes", True),
        (values.BOOL, "t", True),
        (values.BOOL, "OFF", False),
        (values.integer(), "-3", -3),
        (values.integer(0), "+7", 7),
        (values.INTERVAL, "3  hours", timedelta(hours=3)),
        (values.SIZE, "2Gi", 2 * 2**30),
        (values.SIZE, "2 k", 2000),
        (values.SIZE, "17", 17),
        (values.BANDWIDTH, "0", None),
        (values.BANDWIDTH, "400", 400),
        (values.TABLESPACE_LIMITS, "a:1, b:2", {"a": 1, "b": 2}),
        (values.TABLESPACE_LIMITS, "a:1\nb:2", {"a": 1, "b": 2}),
        (values.one_of("AES256", "aws:kms"), "aes256", "AES256"),
        (values.set_of("get-wal", "delta-restore"), "GET-WAL, get-wal,", {"get-wal"}),
        (values.COMPRESSION, "ZSTD", "zstd"),
        (values.COMPRESSION, "none", None),
        (values.COMPRESSION_LEVEL, "High", "high"),
        (values.COMPRESSION_LEVEL, "-7", -7),
        (values.SLOT_NAME, "Barman_1", "barman_1"),
        (values.MAGIC, "0x1f8B", "0x1f8B"),
        (values.NAMES, "a, b", ("a", "b")),
        (values.ABSOLUTE_PATH, "/x", "/x"),
        (values.EXPIRATION, "2030-01-02T03:04:05.678Z", "2030-01-02T03:04:05.678Z"),
        (values.DIRECTORY_OR_URL, "gs://b/p", "gs://b/p"),
        (values.DIRECTORY_OR_URL, "https://a.blob.core.windows.net/c/p", "https://a.blob.core.windows.net/c/p"),
        (values.DIRECTORY_OR_URL, "https://console.cloud.google.com/storage/browser/b", "https://console.cloud.google.com/storage/browser/b"),
        (values.LOG_LEVEL, "debug", 10),
        (values.LOG_LEVEL, "15", 15),
    ],
    ids=_described,
)  # fmt: skip
def test_a_value_is_parsed(kind, text, expected):
    assert kind.parse(text) == expected


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (values.BOOL, "maybe"),
        (values.integer(), "1.5"),
        (values.integer(), "1_000"),
        (values.integer(1), "0"),
        (values.integer(1, 72), "73"),
        (values.INTERVAL, "3hours"),
        (values.INTERVAL, "0 days"),
        (values.INTERVAL, "3 years"),
        (values.SIZE, "3 g"),
        (values.SIZE, "1.5G"),
        (values.BANDWIDTH, "-1"),
        (values.BANDWIDTH, "fast"),
        (values.TABLESPACE_LIMITS, "a"),
        (values.TABLESPACE_LIMITS, "a:x"),
        (values.one_of("a", "b"), "c"),
        (values.set_of("a", "b"), "a,c"),
        (values.set_of("a", "b", exclusive=("a", "b")), "a,b"),
        (values.COMPRESSION, "nonsense"),
        (values.COMPRESSION_LEVEL, "highest"),
        (values.SLOT_NAME, "a-b"),
        (values.MAGIC, "1f8b"),
        (values.MAGIC, "0x123"),
        (values.NAMES, "a,,b"),
        (values.ABSOLUTE_PATH, "x"),
        (values.EXPIRATION, "tomorrow"),
        (values.DIRECTORY_OR_URL, "ftp://x/y"),
        (values.DIRECTORY_OR_URL, "https://example.com/x"),
        (values.LOG_LEVEL, "LOUD"),
    ],
    ids=_described,
)
def test_a_wrong_value_is_refused_with_a_reason(kind, text):
    with pytest.raises(ValueError, match=r"must|is not|exclude"):
        kind.parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("'a b'", "a b"), ('" x "', " x "), ("'a\"", "'a\""), ("'", "'"), ("''", ""), ("a'b'", "a'b'")],
)
def test_one_pair_of_identical_quotes_is_removed(text, expected):
    assert values.unquote(text) == expected


@pytest.mark.parametrize(("text", "unset"), [("", True), ("None", True), ("none", False), ("0", False)])
def test_empty_and_none_mean_unset(text, unset):
    assert values.is_unset(text) is unset
