"""Telling a slow copy from a dead one."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from barman.errors import ConnectionFailed
from barman.host.clock import monotonic

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)

QUIET_S = 60.0
FAILURES = 3


class StallWatch:
    """Asks whether PostgreSQL is alive when a copy has made no progress for a while.

    A copy may rightly be silent for long: a checkpoint spread over half an hour, WAL that is slow to be archived. A
    frozen server or a cut network is silent too, and pg_basebackup then waits for ever. So silence alone ends nothing,
    but a server that does not answer a simple question, several times, does.
    """

    def __init__(self, probe: Callable[[], object], *, quiet_s: float = QUIET_S, failures: int = FAILURES) -> None:
        """probe: asks the question, with a time limit of its own; ConnectionFailed if there is no answer."""
        self._probe = probe
        self._quiet_s = quiet_s
        self._failures = failures
        self.progress()

    @property
    def silent_s(self) -> float:
        """Seconds since the last progress."""
        return monotonic() - self._since

    def progress(self) -> None:
        """Something moved."""
        self._since = monotonic()
        self._unanswered = 0
        self._probe_at = self._since + self._quiet_s

    def tick(self) -> None:
        """Ask if it is time to; ConnectionFailed when PostgreSQL has not answered for the last time."""
        if monotonic() < self._probe_at:
            return
        try:
            self._probe()
        except ConnectionFailed as error:
            self._unanswered += 1
            _log.warning("no progress for %.0f seconds, and %s", self.silent_s, error)
            if self._unanswered >= self._failures:
                raise ConnectionFailed(
                    f"no progress for {self.silent_s:.0f} seconds, and PostgreSQL does not answer: {error.message}"
                ) from error
        else:
            self._unanswered = 0
        self._probe_at = monotonic() + self._quiet_s
