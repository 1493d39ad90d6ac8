"""The INI dialect, with line numbers."""

from __future__ import annotations

import pytest

from barman.config.ini import expand, parse_ini

TEXT = """\
# comment
[DEFAULT]
host = h1

[main]
Conninfo = host=%(host)s
  dbname=x
; not part of it
  user=y

description: a # b
[main]
description = again
[other] trailing
x=
"""


def values(options):
    return {name: item.value for name, item in options.items()}


def test_sections_options_and_continuations_are_read():
    ini = parse_ini(TEXT, "f")
    assert values(ini.sections["main"]) == {"conninfo": "host=%(host)s\ndbname=x\nuser=y", "description": "again"}
    assert values(ini.options("other")) == {"host": "h1", "x": ""}
    assert ini.errors == ()


def test_every_item_knows_its_lines():
    ini = parse_ini(TEXT, "f")
    conninfo = ini.sections["main"]["conninfo"]
    assert (conninfo.first, conninfo.last) == (6, 9)
    assert ini.sections["main"]["description"].first == 13


def test_all_faulty_lines_are_reported_with_their_numbers():
    ini = parse_ini("a = b\n[x]\nfoo\n= bar\n", "f")
    assert [item.first for item in ini.errors] == [1, 3, 4]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "plain"),
        ("%(host)s:%(PORT)s", "h:1"),
        ("100%%", "100%"),
        ("100%%%%", "100%"),
        ("%%(host)s", "%(host)s"),
        ("%%%%(asctime)s", "%(asctime)s"),
        ("%(both)s!", "h 1!"),
    ],
)
def test_references_and_percent_signs_are_expanded(value, expected):
    options = parse_ini("[s]\nhost = h\nport = 1\nboth = %(host)s %(port)s\n", "f").options("s")
    assert expand(value, options) == expected


@pytest.mark.parametrize(
    ("value", "reason"),
    [("50%", "twice"), ("%x", "twice"), ("%(nosuch)s", "not in this section"), ("%(self)s", "refers to itself")],
)
def test_other_percent_signs_are_refused(value, reason):
    options = parse_ini("[s]\nself = %(self)s\n", "f").options("s")
    with pytest.raises(ValueError, match=reason):
        expand(value, options)
