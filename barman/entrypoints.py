"""One function per program. Commands that PostgreSQL runs for every WAL file go past click, which costs 40 ms.

Imports only what costs nothing; everything else is imported by the branch that needs it.
"""

from __future__ import annotations

import gc
import os
import sys

_WITH_VALUE = ("--config", "--color", "--colour", "--log-level", "--format")
_WITHOUT_VALUE = ("--quiet", "--debug")
_SHORT_WITH_VALUE = "cf"
_SHORT_WITHOUT_VALUE = "qd"


def barman() -> int:
    """The program `barman`; returns the exit code."""
    _look_for_garbage_rarely()
    try:
        return _barman(sys.argv[1:])
    except KeyboardInterrupt:
        return _interrupted(1)


def barman_wal_archive() -> int:
    """The program `barman-wal-archive`; returns the exit code."""
    _look_for_garbage_rarely()
    try:
        from barman.client.wal_archive import main

        return _leave(main(sys.argv[1:]))
    except KeyboardInterrupt:
        return _interrupted(2)


def barman_wal_restore() -> int:
    """The program `barman-wal-restore`; returns the exit code."""
    _look_for_garbage_rarely()
    try:
        from barman.client.wal_restore import main

        return _leave(main(sys.argv[1:]))
    except KeyboardInterrupt:
        return _interrupted(2)


def _look_for_garbage_rarely() -> None:
    """Modules that are imported leave none, and to look for it is a tenth of what it takes to start."""
    gc.set_threshold(50_000)


def _leave(code: int) -> int:
    """End with this exit code at once: to tidy up an interpreter takes a fifth of what such a program takes.

    Returns it if what was printed cannot be written: the interpreter tells of that.
    """
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        return code
    os._exit(code)


def _interrupted(code: int) -> int:
    """What is left for Ctrl-C during the imports; the programs themselves deal with it after that."""
    sys.stderr.write("ERROR: interrupted\n")
    return code


def _barman(arguments: list[str]) -> int:
    command = _find_command(arguments)
    if command == "put-wal":
        from barman.wal import put

        return _leave(put.main(arguments))
    if command == "get-wal":
        from barman.wal import get

        return _leave(get.main(arguments))
    from barman.cli.main import main

    return main(arguments)


def _find_command(arguments: list[str]) -> str | None:
    """Return the sub-command behind well-formed global options; None where click had better look."""
    words = iter(arguments)
    for word in words:
        if not word.startswith("-"):
            return word
        takes_value = _long_option_takes_value(word) if word.startswith("--") else _short_options_take_value(word)
        if takes_value is None or (takes_value and next(words, None) is None):
            return None
    return None


def _long_option_takes_value(word: str) -> bool | None:
    """Whether the next word is the option's value; None if it is not one of ours, spelt in full."""
    name, equals, _ = word.partition("=")
    if name in _WITH_VALUE:
        return not equals
    return False if word in _WITHOUT_VALUE else None


def _short_options_take_value(word: str) -> bool | None:
    """The same for -c PATH, -cPATH, -q and clusters such as -qc PATH."""
    for position, letter in enumerate(word[1:], start=2):
        if letter in _SHORT_WITH_VALUE:
            return position == len(word)
        if letter not in _SHORT_WITHOUT_VALUE:
            return None
    return None if word == "-" else False
