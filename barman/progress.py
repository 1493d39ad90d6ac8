"""How a long job tells what it is doing, without knowing who listens."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

_log = logging.getLogger(__name__)


class Bar(Protocol):
    """One progress bar. Cheap to call often and from any thread."""

    def advance(self, amount: int) -> None:
        """amount more units are done."""

    def set_total(self, total: int | None) -> None:
        """The total is now known to be this; None: unknown."""


class Reporter(Protocol):
    """Where a job's messages go. The doors implement it (console, JSON); jobs never print."""

    def info(self, message: str) -> None:
        """A line the operator wants to see."""

    def warning(self, message: str) -> None:
        """Something to look at; the exit code stays."""

    def error(self, message: str) -> None:
        """A failure that does not stop the job, but makes the command exit 1."""

    def bar(
        self, label: str, *, total: int | None, unit: Literal["bytes", "segments", "files"]
    ) -> contextlib.AbstractContextManager[Bar]:
        """A bar for the time of the with block; drawn only on a terminal."""


class NoBar:
    """A bar nobody sees."""

    def advance(self, amount: int) -> None:
        """Nothing."""

    def set_total(self, total: int | None) -> None:
        """Nothing."""


class LogReporter:
    """A reporter for jobs nobody watches: messages go to the log, bars nowhere."""

    def info(self, message: str) -> None:
        """Log at INFO."""
        _log.info("%s", message)

    def warning(self, message: str) -> None:
        """Log at WARNING."""
        _log.warning("%s", message)

    def error(self, message: str) -> None:
        """Log at ERROR."""
        _log.error("%s", message)

    @contextlib.contextmanager
    def bar(self, label: str, *, total: int | None, unit: Literal["bytes", "segments", "files"]) -> Iterator[Bar]:
        """Nothing is drawn."""
        yield NoBar()
