"""Names in the errors directory: NAME.YYYYMMDDTHHMMSSZ.REASON. Hot-safe."""

from __future__ import annotations

import os
import time


def free_error_path(directory: str, name: str, reason: str) -> str:
    """Return a path in directory for a file called name that is set aside now for reason, one that is not taken.

    reason: one word; monitoring counts files by it. The time is in UTC, and a little later than now if another file
    of this name and reason was set aside within the same second.
    """
    now = time.time()
    while True:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        path = os.path.join(directory, f"{name}.{stamp}.{reason}")
        if not os.path.lexists(path):
            return path
        now += 1
