"""How a long job tells what it is doing, without knowing who listens."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Literal, Protocol

from barman.human import pretty_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Unit = Literal["bytes", "segments", "files"]

_log = logging.getLogger(__name__)

_TELL_EVERY_S = 60.0


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

    def bar(self, label: str, *, total: int | None, unit: Unit) -> contextlib.AbstractContextManager[Bar]:
        """A bar for the time of the with block; drawn only on a terminal, else a line a minute in the log."""


class NoBar:
    """A bar nobody sees."""

    def advance(self, amount: int) -> None:
        """Nothing."""

    def set_total(self, total: int | None) -> None:
        """Nothing."""


class LogBar:
    """A bar nobody watches: once a minute a line in the log says how far it is."""

    def __init__(
        self, label: str, total: int | None, unit: Unit, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """clock: seconds that never go back."""
        self._label = label
        self._total = total
        self._unit = unit
        self._clock = clock
        self._done = 0
        self._lock = threading.Lock()
        self._began = clock()
        self._tell_at = self._began + _TELL_EVERY_S

    def advance(self, amount: int) -> None:
        """amount more units are done; 0 is a chance to tell that there is no progress."""
        with self._lock:
            self._done += amount
            moment = self._clock()
            if moment < self._tell_at:
                return
            self._tell_at = moment + _TELL_EVERY_S
            told = pretty_progress(self._done, self._total, self._unit, moment - self._began)
        _log.info("%s: %s", self._label, told)

    def set_total(self, total: int | None) -> None:
        """The total is now known to be this; None: unknown."""
        with self._lock:
            self._total = total


class LogReporter:
    """A reporter for jobs nobody watches: messages go to the log, and so does how far a bar is."""

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
    def bar(self, label: str, *, total: int | None, unit: Unit) -> Iterator[Bar]:
        """Nothing is drawn; the log is told once a minute."""
        yield LogBar(label, total, unit)
