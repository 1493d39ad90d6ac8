"""A limit for waiting on somebody who may never answer again. Hot-safe."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

    from typing_extensions import Self


class Patience:
    """Ends a block with an error when renew was not called for some time, whatever system call it is waiting in.

    A disk that is gone may keep a process longer than that: nothing ends such a call. One at a time, by SIGALRM; in
    other threads than the main one there is no limit.
    """

    def __init__(self, limit_s: int, error: Callable[[], Exception]) -> None:
        """error: makes what is raised."""
        self._limit_s = limit_s
        self._error = error
        self._is_set = False

    def __enter__(self) -> Self:
        try:
            self._previous = signal.signal(signal.SIGALRM, self._expire)
        except ValueError:
            # Not the main thread.
            return self
        self._is_set = True
        self._timer = signal.setitimer(signal.ITIMER_REAL, self._limit_s)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_set:
            signal.setitimer(signal.ITIMER_REAL, *self._timer)
            signal.signal(signal.SIGALRM, self._previous)

    def renew(self) -> None:
        """Begin to wait anew: there was a sign of life."""
        if self._is_set:
            signal.setitimer(signal.ITIMER_REAL, self._limit_s)

    def _expire(self, _number: int, _frame: FrameType | None) -> NoReturn:
        raise self._error()
