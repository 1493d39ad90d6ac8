"""The INI dialect of the configuration files, read with line numbers. Pure and hot-safe.

The same dialect as the standard library's configparser (non-strict, with "=" and ":", whole-line comments "#" and ";",
indented continuation lines); a property test compares the two. Own code because configparser tells no line numbers,
which messages and in-place editing need, and because it alone would cost the hot programs a fifth of their start-up.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

DEFAULT_SECTION = "DEFAULT"

_SECTION = re.compile(r"\[(?P<name>.+)\]")
_OPTION = re.compile(r"(?P<name>.*?)\s*[=:]\s*(?P<value>.*)$")
_REFERENCE = re.compile(r"%%%%|%%|%\((?P<name>[^)]+)\)s|%")


class Item(NamedTuple):
    """One thing found in a file.

    section: name of the section it opens or stands in ("" before the first). option: its lower-case name; None for a
    section header and for an error. value: the raw value, continuation lines joined by newlines. first, last: line
    numbers from 1, both included. error: what is wrong with the line; "" otherwise.
    """

    section: str
    option: str | None
    value: str
    first: int
    last: int
    error: str = ""


class _OpenOption:
    """An option whose continuation lines may still come."""

    __slots__ = ("first", "last", "lines", "name", "section")

    def __init__(self, section: str, name: str, value: str, first: int) -> None:
        self.section, self.name, self.lines, self.first, self.last = section, name, [value], first, first

    def close(self) -> Item:
        return Item(self.section, self.name, "\n".join(self.lines).rstrip(), self.first, self.last)


def scan(lines: Iterable[str]) -> Iterator[Item]:
    """Yield the section headers, options and faulty lines of a file in order."""
    section = ""
    indent = 0
    current: _OpenOption | None = None
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text:
            if current is not None:
                current.lines.append("")
            continue
        if text[0] in "#;":
            continue
        indented = len(line) - len(line.lstrip())
        if current is not None and indented > indent:
            current.lines.append(text)
            current.last = number
            continue
        if current is not None:
            yield current.close()
            current = None
        indent = indented
        item = _parse_line(text, section, number)
        if isinstance(item, _OpenOption):
            current = item
        else:
            section = item.section
            yield item
    if current is not None:
        yield current.close()


def _parse_line(text: str, section: str, number: int) -> _OpenOption | Item:
    header = _SECTION.match(text)
    if header is not None:
        return Item(header["name"], None, "", number, number)
    if not section:
        return Item(section, None, "", number, number, f"line before the first section: {text!r}")
    match = _OPTION.match(text)
    if match is None or not match["name"]:
        return Item(section, None, "", number, number, f"neither a section nor option = value: {text!r}")
    return _OpenOption(section, match["name"].rstrip().lower(), match["value"].strip(), number)


class IniFile(NamedTuple):
    """A file as a mapping: section -> option -> its last item. errors: the faulty lines. DEFAULT is kept apart."""

    path: str
    sections: Mapping[str, Mapping[str, Item]]
    defaults: Mapping[str, Item]
    errors: tuple[Item, ...]

    def options(self, section: str) -> Mapping[str, Item]:
        """Return what holds in a section: its own options and those of [DEFAULT] it does not override."""
        return {**self.defaults, **self.sections.get(section, {})}


def parse_ini(text: str, path: str) -> IniFile:
    """Return the contents of a file; path only serves messages. Never raises: faulty lines are in errors."""
    sections: dict[str, dict[str, Item]] = {}
    defaults: dict[str, Item] = {}
    errors = []
    for item in scan(text.split("\n")):
        if item.error:
            errors.append(item)
        elif item.section == DEFAULT_SECTION:
            if item.option is not None:
                defaults[item.option] = item
        else:
            options = sections.setdefault(item.section, {})
            if item.option is not None:
                options[item.option] = item
    return IniFile(path, sections, defaults, tuple(errors))


def expand(value: str, options: Mapping[str, Item], *, _active: tuple[str, ...] = ()) -> str:
    """Return value with %(name)s replaced by other options of its section, and %% or %%%% by one percent sign.

    options: what holds in the section. ValueError names the unknown or recursive reference, or the stray percent.
    """
    if "%" not in value:
        return value

    def replace(match: re.Match[str]) -> str:
        if match["name"] is None:
            if match[0] == "%":
                raise ValueError("a literal percent sign must be written twice")
            return "%"
        name = match["name"].lower()
        if name in _active:
            raise ValueError(f"%({name})s refers to itself")
        if name not in options:
            raise ValueError(f"%({name})s refers to an option that is not in this section")
        return expand(options[name].value, options, _active=(*_active, name))

    return _REFERENCE.sub(replace, value)
