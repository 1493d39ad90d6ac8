"""Output for programs: one JSON object, when all is said."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from enum import Enum
from typing import Any, Literal

from barman.cli.render.output import Output
from barman.human import ctime


class JsonOutput(Output):
    """Collects messages under _INFO, _WARNING, _ERROR (and _DEBUG), results under their keys."""

    is_json = True

    def __init__(self, *, quiet: bool = False, debug: bool = False) -> None:
        """quiet: print nothing at all. debug: collect debug messages."""
        super().__init__()
        self._quiet = quiet
        self._debug = debug
        self._document: dict[str, Any] = {}

    def write_line(self, text: str) -> None:
        """A row of a listing, as a string of _INFO."""
        self._document.setdefault("_INFO", []).append(text)

    def show(self, text: str) -> None:
        """Nothing: programs read what result() gets."""

    def result(self, key: str, value: object) -> None:
        """Set one key of the document."""
        self._document[key] = value

    def close(self) -> None:
        """Write the document, without a newline at its end."""
        if not self._quiet:
            sys.stdout.write(json.dumps(self._document, sort_keys=True, default=_plain))
            sys.stdout.flush()

    def _message(
        self, kind: Literal["INFO", "WARNING", "ERROR", "DEBUG"], message: str, hint: str | None = None
    ) -> None:
        if kind != "DEBUG" or self._debug:
            self._document.setdefault(f"_{kind}", []).append(f"{message} (HINT: {hint})" if hint else message)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return ctime(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, frozenset | set):
        return sorted(value)
    return str(value)
