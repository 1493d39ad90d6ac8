"""What is changed in the configuration of a restored cluster. Pure: text in, text and findings out.

Nothing that made the origin archive, follow a primary, or stop at some target may stay in force. A setting is one line:
a name in any case, an optional "=", a value. Source: PostgreSQL manual, "Parameter Interaction via the Configuration
File"; guc-file.l.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

MARK = "#BARMAN#"

_SETTING = re.compile(
    r"\s*(?P<name>[A-Za-z_][A-Za-z0-9_$.]*)(?:\s*=\s*|\s+|(?='))(?P<value>'(?:[^'\\\n]|''|\\.)*'?|[^\s#]+)?"
)

# Not str.splitlines, which also breaks at characters that PostgreSQL takes for part of a line.
_LINE = re.compile(r"[^\n]*\n|[^\n]+")

# Put out of force, and replaced by this line.
_DISARMED: Mapping[str, str] = {"archive_command": "archive_command = false", "archive_library": "archive_library = ''"}

_RECOVERY = frozenset(
    {
        "recovery_target",
        "recovery_target_name",
        "recovery_target_time",
        "recovery_target_xid",
        "recovery_target_lsn",
        "recovery_target_inclusive",
        "recovery_target_timeline",
        "recovery_target_action",
        "recovery_end_command",
    }
)
# Belong to a standby: they stay when the restored cluster is to be one.
_STANDBY = frozenset(
    {
        "primary_conninfo",
        "primary_slot_name",
        "restore_command",
        "archive_cleanup_command",
        "recovery_min_apply_delay",
    }
)
# Left as they are, and reported: they name places and partners of the origin.
_DANGEROUS = frozenset(
    {
        "data_directory",
        "config_file",
        "hba_file",
        "ident_file",
        "external_pid_file",
        "ssl_cert_file",
        "ssl_key_file",
        "ssl_ca_file",
        "ssl_crl_file",
        "unix_socket_directory",
        "unix_socket_directories",
        "include",
        "include_dir",
        "include_if_exists",
        "synchronous_standby_names",
    }
)
_INCLUDES = frozenset({"include", "include_dir", "include_if_exists"})


class Change(NamedTuple):
    """One setting in a file that is put out of force. line: from 1, in the new text, of its replacement new, if any."""

    line: int
    option: str
    old: str
    new: str | None


class Finding(NamedTuple):
    """One setting in a file that the operator should look at. line: from 1, in the new text."""

    line: int
    option: str
    value: str


class Include(NamedTuple):
    """A directive that brings in other files. keyword: include, include_dir or include_if_exists."""

    keyword: str
    path: str


@dataclass(frozen=True, slots=True)
class Mangled:
    """A configuration file made safe. text: its new content, the old one if there are no changes."""

    text: str
    changes: tuple[Change, ...]
    warnings: tuple[Finding, ...]
    includes: tuple[Include, ...]


def mangle(text: str, *, is_standby: bool, replaces: frozenset[str] = frozenset()) -> Mangled:
    """Return text with everything put out of force that must not act in the restored cluster.

    Lines are commented out with a mark, so that the operator can put them back; numbers of the other lines shift only
    where a replacement follows. is_standby: settings a standby needs stay, but for those in replaces (lower-case
    names), which are set anew elsewhere.
    """
    unwanted = _RECOVERY | replaces if is_standby else _RECOVERY | _STANDBY | replaces
    lines: list[str] = []
    changes: list[Change] = []
    warnings: list[Finding] = []
    includes: list[Include] = []
    for line in _LINE.findall(text):
        name, value = parse_setting(line)
        if name in _DISARMED:
            ending = "\n" if line.endswith("\n") else ""
            lines += [MARK + line.rstrip("\r\n") + "\n", _DISARMED[name] + ending]
            changes.append(Change(len(lines), name, value, _DISARMED[name].split(" = ")[1]))
            continue
        if name in unwanted:
            lines.append(MARK + line)
            changes.append(Change(len(lines), name, value, None))
            continue
        lines.append(line)
        if name in _DANGEROUS:
            warnings.append(Finding(len(lines), name, value))
        if name in _INCLUDES:
            includes.append(Include(name, unquote(value)))
    return Mangled("".join(lines), tuple(changes), tuple(warnings), tuple(includes))


def parse_setting(line: str) -> tuple[str, str]:
    """Return the lower-case name and the value, as written, of the setting on a line; two empty texts if none is."""
    match = _SETTING.match(line)
    if match is None or match["value"] is None:
        return "", ""
    return match["name"].lower(), match["value"]


def unquote(value: str) -> str:
    """Return what a value means: without quotes, doubled quotes and backslash escapes resolved."""
    if not value.startswith("'"):
        return value
    inner = value[1:-1] if len(value) > 1 and value.endswith("'") else value[1:]
    return re.sub(r"''|\\(.)", lambda match: match[1] or "'", inner)


def quote(value: str) -> str:
    """Return value as a quoted constant of a configuration file."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
