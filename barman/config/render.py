"""The option table as text: the sample configuration file and the reference documentation. Pure."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from barman.config.options import GROUPS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from barman.config.option import Option

_SAMPLE_VALUES = {
    "barman_home": "/var/lib/barman",
    "barman_user": "barman",
    "configuration_files_directory": "/etc/barman.d",
    "log_file": "/var/log/barman/barman.log",
    "log_level": "INFO",
}
"""Options that the sample sets, because packages create these places."""

_SAMPLE_HEADER = """\
; Configuration of Barman, Backup and Recovery Manager for PostgreSQL.
;
; Lines that begin with ";" or "#" are comments; what they show is the default. A comment must have a line of its own.
; Options of servers stand in the section of the server, or in [barman] for all servers, unless listed under [main].
; A percent sign in a value is written twice. All options are explained in docs/configuration.md.

[barman]
"""

_SAMPLE_SERVER = """
; A server to back up: one section each, here or in a file of configuration_files_directory. It needs how to connect,
; how to take backups (backup_method), and how WAL gets here (archiver, streaming_archiver or both).
;
;[main]
;conninfo = host=pg user=barman dbname=postgres
;streaming_conninfo = host=pg user=streaming_barman
;backup_method = postgres
;streaming_archiver = on
;slot_name = barman
;create_slot = auto
;
; Options that cannot be set for all servers in [barman]:
"""

_DOCS_HEADER = """\
# Configuration

<!-- Made by scripts/render_configuration from barman/config/options.py. Do not edit. -->

Barman reads one main file: the one given with `-c`, else `$BARMAN_CONFIG_FILE`, else the first of `~/.barman.conf`,
`/etc/barman.conf`, `/etc/barman/barman.conf`. It must have a section `[barman]`. Then it reads every `*.conf` file of
`configuration_files_directory` in name order, and last `.barman.auto.conf` in `barman_home`, which `config-update`
writes. Later files override earlier ones, option by option.

Every other section describes a server, or, with `model = true`, a model: a set of options that `config-switch` lays
over the servers of the same `cluster`. The value of a server's option comes from the active model, else the server's
section, else `[barman]`, else it is the default.

```ini
[barman]
barman_home = /var/lib/barman
log_file = /var/log/barman/barman.log
compression = zstd

[main]
conninfo = host=pg user=barman dbname=postgres
streaming_conninfo = host=pg user=streaming_barman
backup_method = postgres
streaming_archiver = on
slot_name = barman
create_slot = auto

[main:failover]
model = true
cluster = main
conninfo = host=standby user=barman dbname=postgres
streaming_conninfo = host=standby user=streaming_barman
```

## Syntax

- `option = value` or `option : value`; names are not case-sensitive. Indented lines continue a value.
- Comments have lines of their own, beginning with `#` or `;`. Whatever follows a value on its line belongs to it.
- One pair of quotes around a value is removed.
- An empty value, or `None`, unsets a text or list option, also when `[barman]` sets it.
- `%(name)s` stands for another option of the same section and file. A percent sign is written `%%` (`%%%%` works too).
- Truth values: `true t yes 1 on` and `false f no 0 off`, in any case.
- Intervals: a number, a space, and `hours`, `days`, `weeks` or `months` (31 days).
- Sizes: a number and `k`, `M`, `G`, `T` (powers of 1000) or `Ki`, `Mi`, `Gi`, `Ti` (powers of 1024).

A value that cannot be understood is told as a warning with its file and line, and fails `barman check`; the next
source applies meanwhile. Options that contradict each other disable the server until they are put right.

"Where" below: B `[barman]` only; G `[barman]`, for every server; S a server's section; M a model.
"""


def render_sample() -> str:
    """Return the sample configuration file."""
    lines = [_SAMPLE_HEADER.rstrip("\n")]
    for title, options in GROUPS:
        wanted = [option for option in options if option.scopes == "B" or "G" in option.scopes]
        if wanted:
            lines += ["", f"; ---- {title} " + "-" * (100 - len(title))]
            lines += _sample_options(wanted)
    lines.append(_SAMPLE_SERVER.rstrip("\n"))
    lines += _sample_options(
        option for _, options in GROUPS for option in options if "G" not in option.scopes and "S" in option.scopes
    )
    return "\n".join(lines) + "\n"


def render_docs() -> str:
    """Return the reference of all options, as Markdown."""
    parts = [_DOCS_HEADER]
    for title, options in GROUPS:
        rows = [
            f"| `{option.name}` | {option.scopes} | {_kind(option)} | {_default(option)} | {_help(option)} |"
            for option in options
        ]
        parts.append(
            "\n".join(
                [f"\n## {title}\n", "| Option | Where | Value | Default | Meaning |", "|---|---|---|---|---|", *rows]
            )
        )
    return "\n".join(parts) + "\n"


def _sample_options(options: Iterable[Option]) -> Iterator[str]:
    for option in options:
        default = f" Default: {option.default_text.replace('`', '')}." if option.default_text else ""
        text = f"{_help(option).replace('`', '')}{default} Value: {option.kind.describe}."
        yield ""
        yield from textwrap.wrap(text, 116, initial_indent="; ", subsequent_indent="; ", break_on_hyphens=False)
        if option.name in _SAMPLE_VALUES:
            yield f"{option.name} = {_SAMPLE_VALUES[option.name]}"
        else:
            yield f";{option.name} = {_value_text(option)}".rstrip()


def _help(option: Option) -> str:
    return f"{option.help} Deprecated, use {option.deprecated}." if option.deprecated else option.help


def _kind(option: Option) -> str:
    return option.kind.describe.replace("|", "\\|")


def _default(option: Option) -> str:
    if option.default_text:
        return option.default_text
    text = _value_text(option)
    return f"`{text}`" if text else "none"


def _value_text(option: Option) -> str:
    """Return the default as one would write it; "" where it is derived or there is none."""
    value = option.default
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, frozenset):
        return ", ".join(sorted(value))
    if value is None or isinstance(value, dict):
        return ""
    if option.default_text and isinstance(value, int):
        return option.default_text
    return str(value).replace("%", "%%")
