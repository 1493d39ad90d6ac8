"""Our reader of INI files takes what configparser takes, and reads the same."""

from __future__ import annotations

import configparser

from hypothesis import example, given
from hypothesis import strategies as st

from barman.config.edit import set_option
from barman.config.ini import parse_ini
from barman.config.values import unquote
from barman.errors import ConfigError

words = st.sampled_from(["a", "b", "conninfo", "X y", "host=h", "x:y", "#no", "; no", "%", "'q'", "[s]", "é", ""])
indents = st.sampled_from(["", "", "", " ", "    ", "\t"])
headers = st.sampled_from(["[main]", "[other:x]", "[DEFAULT]", "[a]b]", "[main] x"])
option_lines = st.builds(
    lambda name, sign, value: f"{name}{sign}{value}", words, st.sampled_from(["=", " = ", ":", " : "]), words
)
lines = st.builds(
    lambda indent, line: indent + line,
    indents,
    st.one_of(option_lines, option_lines, headers, words, st.sampled_from(["# c", "; c", ""])),
)
texts = st.lists(lines, max_size=14).map(lambda found: "\n".join(["[start]", *found]) + "\n")


def by_configparser(text):
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        return None
    return dict(parser.defaults()), {name: dict(parser._sections[name]) for name in parser.sections()}  # noqa: SLF001 - without the defaults


def by_us(text):
    ini = parse_ini(text, "f")
    if ini.errors:
        return None
    sections = {name: {key: item.value for key, item in options.items()} for name, options in ini.sections.items()}
    return {key: item.value for key, item in ini.defaults.items()}, sections


@given(texts)
@example("[start]\na = b\n\n  c\n# x\n  d\n")
@example("[start]\n  a = b\n c = d\n")
def test_ours_reads_what_configparser_reads(text):
    assert by_us(text) == by_configparser(text)


@given(
    texts,
    st.sampled_from(["start", "main", "other:x", "new"]),
    st.sampled_from(["a", "b", "conninfo"]),
    st.sampled_from(["1", "x y", " padded ", "a=b:c", "# text", "[x]"]),
)
@example("[start]\n[next]\nx = y", "start", "a", "1")
@example("[start]\n  a = b\n", "start", "b", "1")
@example("[start]\na=a\n#no\n [main]\n", "start", "a", "1")
def test_an_edit_changes_the_one_option_and_nothing_else(text, section, option, value):
    if by_us(text) is None:
        return
    try:
        edited = set_option(text, section, option, value)
    except ConfigError:
        return
    defaults, sections = by_configparser(text)
    sections.setdefault(section, {})[option] = value
    found_defaults, found = by_configparser(edited)
    assert unquote(found[section][option]) == value
    found[section][option] = value
    assert (found_defaults, found) == (defaults, sections)
    untouched = [line for line in text.split("\n") if line.lstrip().startswith(("#", ";"))]
    assert [line for line in untouched if line not in edited.split("\n")] == []
