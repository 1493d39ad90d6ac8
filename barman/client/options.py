"""Options that both programs for the PostgreSQL host have, and their defaults from a small file. Hot-safe.

The file has the sections [archive] and [restore]. Its options are named like those of the command line, which wins.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from barman.client.remote import ClientError
from barman.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

DEFAULTS_FILE = "/etc/barman-client.conf"

_WORDS = {"true": True, "on": True, "yes": True, "1": True, "false": False, "off": False, "no": False, "0": False}


def natural(text: str) -> int:
    """Return a number that may be 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not a non-negative integer")
    return int(text)


def positive(text: str) -> int:
    """Return a number that may not be 0."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive integer")
    return int(text)


def switch(text: str) -> bool:
    """Return the value of an option that on the command line has none."""
    if text.lower() not in _WORDS:
        raise argparse.ArgumentTypeError(f"'{text}' is not true or false")
    return _WORDS[text.lower()]


CONNECTION_OPTIONS: Mapping[str, Callable[[str], object]] = {
    "user": str,
    "port": str,
    "config": str,
    "keep_connection": natural,
}
"""What of build_parser may stand in the file: names, and how their values are read."""


def build_parser(program: str, description: str) -> argparse.ArgumentParser:
    """Return a parser with the options and the two arguments that say where the Barman host is."""
    parser = argparse.ArgumentParser(program, description=description)
    parser.add_argument("-V", "--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument("-U", "--user", default="barman", help="user to connect as (default: %(default)s)")
    parser.add_argument("--port", help="port of the ssh server")
    parser.add_argument("-c", "--config", metavar="PATH", help="configuration file on the Barman host")
    parser.add_argument("-t", "--test", action="store_true", help="only test the connection and the configuration")
    parser.add_argument(
        "--keep-connection",
        metavar="SECONDS",
        type=natural,
        default=0,
        help="keep the ssh connection open for the next call, so long (default: no)",
    )
    parser.add_argument(
        "--client-config", metavar="FILE", default=DEFAULTS_FILE, help="defaults of these options (%(default)s)"
    )
    parser.add_argument("barman_host", metavar="BARMAN_HOST", help="host that runs Barman")
    parser.add_argument("server_name", metavar="SERVER_NAME", help="server in the configuration of Barman")
    return parser


def parse(
    parser: argparse.ArgumentParser,
    section: str,
    kinds: Mapping[str, Callable[[str], object]],
    arguments: Sequence[str],
) -> argparse.Namespace:
    """Return the options: those of the command line, else those of the file's section, else the defaults.

    kinds: what may stand in the section. ClientError if the file cannot be read or has anything else in it.
    """
    options = parser.parse_args(list(arguments))
    if options.client_config == DEFAULTS_FILE and not os.path.exists(DEFAULTS_FILE):
        return options
    parser.set_defaults(**_read(options.client_config, section, kinds))
    return parser.parse_args(list(arguments))


def _read(path: str, section: str, kinds: Mapping[str, Callable[[str], object]]) -> dict[str, object]:
    from barman.config.ini import parse_ini

    try:
        with open(path, encoding="utf-8") as file:
            content = parse_ini(file.read(), path)
    except (OSError, UnicodeDecodeError) as error:
        raise ClientError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    for faulty in content.errors:
        raise ClientError(f"{path}:{faulty.first}: {faulty.error}")
    values = {}
    for name, item in content.options(section).items():
        if name not in kinds:
            raise ClientError(f"{path}:{item.first}: unknown option {name} in [{section}]")
        try:
            values[name] = kinds[name](item.value)
        except argparse.ArgumentTypeError as error:
            raise ClientError(f"{path}:{item.first}: {name}: {error}") from None
    return values
