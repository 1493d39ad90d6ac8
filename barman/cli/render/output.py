"""What a command says, and how: one interface, a writer for people and one for programs."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Literal

from barman.logs import SHOWN
from barman.postgres.conninfo import mask_secrets
from barman.progress import LogBar

if TYPE_CHECKING:
    from barman.progress import Bar

Colour = Literal["red", "green", "yellow"]

_log = logging.getLogger(SHOWN)


class Output(ABC):
    """A Reporter for a command, which also takes its results. Knows after all what the exit code is.

    failed: whether it is 1. errors: the errors told so far.
    """

    is_json: bool = False

    def __init__(self) -> None:
        """A writer that has said nothing yet."""
        self.failed = False
        self.errors: list[str] = []

    @property
    def exit_code(self) -> int:
        """1 after any error, else 0."""
        return 1 if self.failed else 0

    def info(self, message: str) -> None:
        """Tell what is happening; shown and logged."""
        _log.info("%s", mask_secrets(message))
        self._message("INFO", message)

    def warning(self, message: str) -> None:
        """Something to look at; the exit code stays."""
        _log.warning("%s", mask_secrets(message))
        self._message("WARNING", message)

    def error(self, message: str, *, hint: str | None = None) -> None:
        """A failure, perhaps with a sentence saying what to do; the command ends with a non-zero code."""
        self.failed = True
        self.errors.append(message)
        _log.error("%s%s", mask_secrets(message), f" (HINT: {hint})" if hint else "")
        self._message("ERROR", message, hint)

    def debug(self, message: str) -> None:
        """For --debug only."""
        _log.debug("%s", mask_secrets(message))
        self._message("DEBUG", message)

    def bar(
        self, label: str, *, total: int | None, unit: Literal["bytes", "segments", "files"]
    ) -> AbstractContextManager[Bar]:
        """A progress bar where somebody watches; else a line a minute in the log."""
        return nullcontext(LogBar(label, total, unit))

    def paint(self, text: str, colour: Colour) -> str:
        """text in that colour, where colours are wanted."""
        return text

    @abstractmethod
    def write_line(self, text: str) -> None:
        """A row of a listing: shown, not logged; for programs a string of _INFO."""

    @abstractmethod
    def show(self, text: str) -> None:
        """A line for people only, not logged. May hold several lines."""

    @abstractmethod
    def result(self, key: str, value: object) -> None:
        """A result for programs only: value (JSON data, datetimes, paths) under key of the document."""

    @abstractmethod
    def close(self) -> None:
        """Everything is said: write what is still to be written."""

    @abstractmethod
    def _message(
        self, kind: Literal["INFO", "WARNING", "ERROR", "DEBUG"], message: str, hint: str | None = None
    ) -> None:
        """Show or collect one message."""
