"""The syntax of option values: one parser per kind, pure and hot-safe.

A parser takes the text of a value, already expanded and unquoted and not empty, and returns the value; or raises
ValueError with a reason that reads well after "invalid value 'x' for option y: ".
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

    Value: TypeAlias = bool | int | str | timedelta | frozenset[str] | tuple[str, ...] | Mapping[str, int] | None

_TRUE = frozenset(("true", "t", "yes", "1", "on"))
_FALSE = frozenset(("false", "f", "no", "0", "off"))
_INTERVAL = re.compile(r"(\d+)\s+(hour|day|week|month)s?", re.IGNORECASE)
_HOURS = {"hour": 1, "day": 24, "week": 7 * 24, "month": 31 * 24}
_SIZE = re.compile(r"(\d+)\s*(k|Ki|M|Mi|G|Gi|T|Ti)?")
_FACTORS = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_SLOT = re.compile(r"[0-9a-z_]+")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_EXPIRATION = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_LEVELS = {"NOTSET": 0, "DEBUG": 10, "INFO": 20, "WARN": 30, "WARNING": 30, "ERROR": 40, "CRITICAL": 50, "FATAL": 50}


class Empty(Enum):
    """What an empty value (or the word None) means for a kind."""

    BLOCKS = "unset, also when [barman] sets it"
    FALLS_THROUGH = "as if the line were not there"
    INVALID = "refused"


class Kind(NamedTuple):
    """A kind of value. describe: for people. choices: the accepted words, where there is a closed list."""

    describe: str
    parse: Callable[[str], Value]
    empty: Empty = Empty.INVALID
    choices: tuple[str, ...] = ()


def unquote(text: str) -> str:
    """Return text without one pair of identical quotes around it."""
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return text


def is_unset(text: str) -> bool:
    """Whether an unquoted value means "no value": empty or the word None."""
    return text in ("", "None")


def is_url(text: str) -> bool:
    """Whether a directory option names an object store, not a local path."""
    return _SCHEME.match(text) is not None


def parse_bool(text: str) -> bool:
    """Return the truth value: true t yes 1 on / false f no 0 off, any case."""
    word = text.lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError("must be true or false")


def parse_int(text: str) -> int:
    """Return a decimal integer, sign allowed."""
    if not re.fullmatch(r"[+-]?[0-9]+", text.strip()):
        raise ValueError("must be an integer")
    return int(text)


def parse_interval(text: str) -> timedelta:
    """Return the length of "N hours|days|weeks|months", N at least 1; a month has 31 days."""
    match = _INTERVAL.fullmatch(text.strip())
    if match is None:
        raise ValueError("must be an integer, a space, and one of HOURS, DAYS, WEEKS, MONTHS")
    if int(match[1]) == 0:
        raise ValueError("must be at least 1")
    from datetime import timedelta

    return timedelta(hours=int(match[1]) * _HOURS[match[2].lower()])


def parse_size(text: str) -> int:
    """Return the bytes in "N[k|Ki|M|Mi|G|Gi|T|Ti]"; k, M, G, T are powers of 1000."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError("must be an integer, followed by k, Ki, M, Mi, G, Gi, T, Ti or nothing")
    return int(match[1]) * _FACTORS.get(match[2] or "", 1)


def parse_string(text: str) -> str:
    """Return text as it is."""
    return text


def parse_slot_name(text: str) -> str:
    """Return a replication slot name in lower case; only letters, digits and underscores may stand in it."""
    name = text.lower()
    if not _SLOT.fullmatch(name):
        raise ValueError("must consist of lower-case letters, digits and underscores")
    return name


def parse_absolute_path(text: str) -> str:
    """Return an absolute path."""
    if not text.startswith("/"):
        raise ValueError("must be an absolute path")
    return text


def parse_directory_or_url(text: str) -> str:
    """Return a local path, or the URL of an object store: s3://, gs://, https:// (Azure, Google console)."""
    match = _SCHEME.match(text)
    if match is None or match[1] in ("s3", "gs"):
        return text
    if match[1] == "https" and re.match(
        r"https://([^/]+\.blob\.core\.windows\.net|console\.cloud\.google\.com/storage/browser)/.", text
    ):
        return text
    raise ValueError("must be a path or a URL of the form s3://, gs://, or https://ACCOUNT.blob.core.windows.net/")


def parse_bandwidth(text: str) -> int | None:
    """Return kB/s, or None (unlimited) for 0."""
    limit = parse_int(text)
    if limit < 0:
        raise ValueError("must be at least 0")
    return limit or None


def parse_tablespace_limits(text: str) -> Mapping[str, int]:
    """Return {tablespace: kB/s} from NAME:KBPS rules separated by commas or white space."""
    limits = {}
    for rule in re.split(r"[,\s]+", text.strip(", \t\n")):
        name, colon, limit = rule.rpartition(":")
        if not colon or not name or not limit.isdecimal():
            raise ValueError(f"must be NAME:KBPS rules, {rule!r} is none")
        limits[name] = int(limit)
    return limits


def parse_compression_level(text: str) -> int | str:
    """Return low, medium or high, or a number (limited to what the algorithm knows when it is used)."""
    word = text.lower()
    if word in ("low", "medium", "high"):
        return word
    try:
        return parse_int(text)
    except ValueError:
        raise ValueError("must be low, medium, high or an integer") from None


def parse_compression(text: str) -> str | None:
    """Return the name of an algorithm for archived WAL in lower case; None for the word none."""
    word = text.lower()
    if word == "none":
        return None
    if word not in WAL_COMPRESSIONS:
        raise ValueError(f"must be one of {', '.join(WAL_COMPRESSIONS)}")
    return word


def parse_magic(text: str) -> str:
    """Return the hexadecimal first bytes of a file, written 0x…."""
    if not re.fullmatch(r"0[xX](?:[0-9a-fA-F]{2})+", text):
        raise ValueError("must be 0x followed by an even number of hexadecimal digits")
    return text


def parse_names(text: str) -> tuple[str, ...]:
    """Return the items of a comma-separated list; none may be empty."""
    items = tuple(item.strip() for item in text.split(","))
    if not all(items):
        raise ValueError("must be a comma-separated list without empty items")
    return items


def parse_expiration(text: str) -> str:
    """Return a time as AWS wants it, YYYY-MM-DDTHH:MM:SS.sssZ."""
    if not _EXPIRATION.fullmatch(text):
        raise ValueError("must have the form YYYY-MM-DDTHH:MM:SS.sssZ")
    return text


def parse_log_level(text: str) -> int:
    """Return the number of a log level given by name, any case, or by number."""
    if text.upper() in _LEVELS:
        return _LEVELS[text.upper()]
    try:
        return parse_int(text)
    except ValueError:
        raise ValueError("must be DEBUG, INFO, WARNING, ERROR, CRITICAL or a number") from None


def integer(minimum: int | None = None, maximum: int | None = None, *, unit: str = "") -> Kind:
    """Return the kind of integers from minimum to maximum, both included."""
    bounds = [f"at least {minimum}"] * (minimum is not None) + [f"at most {maximum}"] * (maximum is not None)

    def parse(text: str) -> int:
        number = parse_int(text)
        if (minimum is not None and number < minimum) or (maximum is not None and number > maximum):
            raise ValueError(f"must be {' and '.join(bounds)}")
        return number

    return Kind(" ".join(filter(None, ("integer", unit and f"({unit})", " and ".join(bounds)))), parse)


def one_of(*words: str) -> Kind:
    """Return the kind of a closed list of words, any case, kept as spelt in the list."""
    by_lower = {word.lower(): word for word in words}

    def parse(text: str) -> str:
        try:
            return by_lower[text.lower()]
        except KeyError:
            raise ValueError(f"must be one of {', '.join(words)}") from None

    return Kind("one of " + ", ".join(words), parse, choices=words)


def set_of(*words: str, exclusive: tuple[str, ...] = ()) -> Kind:
    """Return the kind of comma-separated sets of words, any case; at most one of exclusive may be in it."""

    def parse(text: str) -> frozenset[str]:
        chosen = frozenset(word.strip().lower() for word in text.split(",") if word.strip())
        wrong = sorted(chosen.difference(words))
        if wrong:
            raise ValueError(f"{wrong[0]!r} is not one of {', '.join(words)}")
        if len(chosen.intersection(exclusive)) > 1:
            raise ValueError(f"{' and '.join(exclusive)} exclude each other")
        return chosen

    return Kind("comma-separated list of " + ", ".join(words), parse, Empty.BLOCKS, words)


WAL_COMPRESSIONS = ("gzip", "bzip2", "pygzip", "pybzip2", "pigz", "xz", "zstd", "lz4", "snappy", "custom")

BOOL = Kind("true or false", parse_bool, choices=("true", "false"))
INTERVAL = Kind("N hours, days, weeks or months", parse_interval, Empty.FALLS_THROUGH)
SIZE = Kind("bytes, with an optional unit k Ki M Mi G Gi T Ti", parse_size, Empty.FALLS_THROUGH)
STRING = Kind("text", parse_string, Empty.BLOCKS)
CONNINFO = Kind("connection string, key=value or URI", parse_string, Empty.BLOCKS)
COMMAND = Kind("shell command", parse_string, Empty.BLOCKS)
DIRECTORY = Kind("path", parse_string, Empty.BLOCKS)
FILE = Kind("path", parse_string, Empty.BLOCKS)
ABSOLUTE_PATH = Kind("absolute path", parse_absolute_path, Empty.BLOCKS)
DIRECTORY_OR_URL = Kind("path or URL of an object store", parse_directory_or_url, Empty.BLOCKS)
SLOT_NAME = Kind("letters, digits and underscores", parse_slot_name, Empty.BLOCKS)
BANDWIDTH = Kind("integer (kB/s) at least 0, 0 = unlimited", parse_bandwidth, Empty.BLOCKS)
TABLESPACE_LIMITS = Kind("NAME:KBPS rules, separated by commas or spaces", parse_tablespace_limits, Empty.BLOCKS)
COMPRESSION = Kind("one of " + ", ".join(WAL_COMPRESSIONS), parse_compression, Empty.BLOCKS, WAL_COMPRESSIONS)
COMPRESSION_LEVEL = Kind("low, medium, high or an integer", parse_compression_level, Empty.BLOCKS)
MAGIC = Kind("0x and hexadecimal digits", parse_magic, Empty.BLOCKS)
NAMES = Kind("comma-separated list", parse_names, Empty.BLOCKS)
EXPIRATION = Kind("time as YYYY-MM-DDTHH:MM:SS.sssZ", parse_expiration, Empty.BLOCKS)
LOG_LEVEL = Kind("DEBUG, INFO, WARNING, ERROR, CRITICAL or a number", parse_log_level, Empty.FALLS_THROUGH)
