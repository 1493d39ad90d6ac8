from __future__ import annotations

from itertools import pairwise

import pytest

from barman.errors import CommandError
from barman.postgres.versions import (
    Feature,
    is_tool_compatible,
    major_version,
    parse_tool_version,
    supports,
    version_text,
)


@pytest.mark.parametrize(
    ("number", "major", "text"),
    [(90624, "9.6", "9.6.24"), (100023, "10", "10.23"), (150018, "15", "15.18"), (180000, "18", "18.0")],
)
def test_a_version_number_is_written_as_postgresql_does(number, major, text):
    assert major_version(number) == major
    assert version_text(number) == text


@pytest.mark.parametrize(
    ("output", "number"),
    [
        ("pg_basebackup (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", 150018),
        ("pg_receivexlog (PostgreSQL) 9.6.24", 90624),
        ("pg_receivewal (PostgreSQL) 18beta1", 180000),
        ("pg_receivewal (PostgreSQL) 19devel", 190000),
        ("pg_receivewal (PostgreSQL) 17.10", 170010),
    ],
)
def test_a_tool_tells_its_version(output, number):
    assert parse_tool_version(output) == number


def test_a_program_that_is_not_postgresqls_is_refused():
    with pytest.raises(CommandError, match="no PostgreSQL version"):
        parse_tool_version("bash 5.2")


@pytest.mark.parametrize(
    ("tool", "server", "compatible"),
    [(150018, 150000, True), (180000, 90624, True), (140012, 150000, False), (90500, 90600, False)],
)
def test_a_tool_must_not_be_of_an_older_major_version_than_the_server(tool, server, compatible):
    assert is_tool_compatible(tool, server) is compatible


@pytest.mark.parametrize("feature", Feature)
def test_a_feature_comes_once_and_at_most_goes_once(feature):
    history = [supports(number * 10000, feature) for number in range(9, 20)]
    assert sum(one != other for one, other in pairwise(history)) == 1


def test_what_changed_with_15_is_not_there_in_the_last_14():
    assert not supports(149999, Feature.SERVER_COMPRESSION)
    assert supports(150000, Feature.SERVER_COMPRESSION)
    assert supports(149999, Feature.EXCLUSIVE_BACKUP)
    assert not supports(150000, Feature.EXCLUSIVE_BACKUP)
