"""Changing one option in the text of a configuration file; every other line stays as it is. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from barman.config.ini import parse_ini, scan
from barman.config.values import unquote
from barman.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from barman.config.ini import Item


def set_option(text: str, section: str, option: str, value: str) -> str:
    """Return text with option = value in section: its line replaced, else added to the section, else to a new one.

    value: one line without line breaks; quoted where blanks would get lost. ConfigError if the text is so odd that
    the change cannot be made without touching anything else.
    """
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    items = [item for item in scan(line.rstrip("\r\n") for line in lines) if not item.error]
    own = [item for item in items if item.section == section]
    present = [item for item in own if item.option == option]
    line = f"{option} = {_quote(value)}\n"
    if present:
        target = present[-1]
        # Between the lines of a long value.
        comments = [other for other in lines[target.first : target.last] if other.lstrip().startswith(("#", ";"))]
        lines[target.first - 1 : target.last] = [_indent_of(lines, target) + line, *comments]
    elif own:
        lines.insert(own[-1].last, _indent_after(lines, items, own[-1]) + line)
    else:
        lines += ["\n"] * bool(lines and lines[-1].strip()) + [f"[{section}]\n", line]
    changed = "".join(lines)
    _require_only_change(text, changed, section, option, unquote(_quote(value)))
    return changed


def _quote(value: str) -> str:
    return f'"{value}"' if value != value.strip() else value


def _indent_of(lines: list[str], item: Item) -> str:
    line = lines[item.first - 1]
    return line[: len(line) - len(line.lstrip())]


def _indent_after(lines: list[str], items: list[Item], last: Item) -> str:
    """Return an indent at which a line after last starts an option, and the line that follows starts anew too."""
    if last.option is not None:
        return _indent_of(lines, last)
    following = [item for item in items if item.first > last.last]
    return _indent_of(lines, following[0]) if following else _indent_of(lines, last)


def _require_only_change(before: str, after: str, section: str, option: str, value: str) -> None:
    expected = _contents(before)
    expected.setdefault(section, {})[option] = value
    if _contents(after) != expected:
        raise ConfigError(f"option {option} of section [{section}] cannot be changed without changing other lines")


def _contents(text: str) -> dict[str, dict[str, str]]:
    ini = parse_ini(text, "")

    def values(options: Mapping[str, Item]) -> dict[str, str]:
        return {name: unquote(item.value) for name, item in options.items()}

    sections = {name: values(options) for name, options in ini.sections.items()}
    return {"": values(ini.defaults), **sections}
