"""Ending another process of this program, which is found by the lock it holds."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from barman.errors import BarmanError, Refused
from barman.host.clock import monotonic

if TYPE_CHECKING:
    from barman.host.locks import NamedLock

STOP_TIMEOUT_S = 10.0
_POLL_S = 0.1


def stop_holder(lock: NamedLock, task: str, *, timeout_s: float = STOP_TIMEOUT_S) -> int | None:
    """Interrupt the process that holds lock (SIGINT) and wait until the lock is free; return its pid.

    None if nobody holds it. task: what it is called in messages. BarmanError if it cannot be signalled, or is still
    there after timeout_s.
    """
    pid = lock.holder()
    if pid is None:
        return None
    if pid == 0:
        raise Refused(f"the process running {task} did not leave its pid in {lock.path}")
    try:
        os.kill(pid, signal.SIGINT)
    except ProcessLookupError:
        return pid
    except PermissionError as error:
        raise Refused(f"cannot stop process {task}({pid}): {error.strerror}") from error
    deadline = monotonic() + timeout_s
    while lock.holder() == pid:
        if monotonic() >= deadline:
            raise BarmanError(f"process {task}({pid}) is still running after {timeout_s:g} seconds")
        time.sleep(_POLL_S)
    return pid
