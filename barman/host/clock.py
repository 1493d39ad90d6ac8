"""What time it is. The pure halves get it passed in; the acting halves ask here."""

from __future__ import annotations

import time
from datetime import datetime, timezone


def now() -> datetime:
    """Return the present, aware, in UTC."""
    return datetime.now(timezone.utc)


def monotonic() -> float:
    """Return seconds on a clock that never goes back; only differences mean something."""
    return time.monotonic()
