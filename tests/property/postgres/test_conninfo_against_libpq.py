"""libpq reads connection strings; ours must read the same out of them."""

from __future__ import annotations

import psycopg
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from barman.errors import ConfigError
from barman.postgres.conninfo import parse_conninfo

words = st.sampled_from(["host", "user", "=", " ", "'", "\\", "a", "/x", "dbname=", "password='", "\n", "port=5"])
# How spaces in a URI are taken changed in libpq 18; ours is that of 18.
spaces = [" "] if psycopg.pq.version() >= 180000 else []
uri_words = st.sampled_from(
    ["u", ":", "@", "h", ",", "[::1]", "/", "db", "?", "&", "user=x", "=", "%41", "%4", "5432", *spaces]
)


def _ours(text):
    try:
        return parse_conninfo(text).reveal()
    except ConfigError:
        return None


def _libpqs(text):
    try:
        return conninfo_to_dict(text)
    except psycopg.ProgrammingError:
        return None


@given(st.lists(words, max_size=12).map("".join))
@example("host=a\\")
@example("host = 'a'user=b")
@example("= a")
def test_key_value_pairs_are_read_as_libpq_does(text):
    assert _ours(text) == _libpqs(text)


@given(st.lists(uri_words, max_size=12).map("".join))
@example("u:p@h:5432,g:5433/db?user=x")
@example("/db")
@example("?user=x&user=y")
def test_uris_are_read_as_libpq_does(text):
    assert _ours(f"postgresql://{text}") == _libpqs(f"postgresql://{text}")
