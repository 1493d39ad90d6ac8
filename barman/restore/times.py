"""Target times as people write them."""

from __future__ import annotations

import warnings
from datetime import datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from dateutil import parser, tz

from barman.errors import Refused


def parse_target_time(text: str) -> tuple[datetime, bool]:
    """Return the moment text means, aware, and whether text named its zone; without one it is in our local zone.

    Raises Refused when it cannot be understood.
    """
    hint = "Write it as in '2026-11-21 05:41:46.532951+00:00'."
    try:
        with warnings.catch_warnings():
            # A zone nobody knows would otherwise be passed over.
            warnings.simplefilter("error", parser.UnknownTimezoneWarning)
            moment = parser.parse(text, tzinfos=_zone)
    except (ValueError, OverflowError, parser.UnknownTimezoneWarning) as error:
        raise Refused(f"invalid target time {text!r}: {error}", hint=hint) from error
    if moment.tzinfo is not None:
        return _with_fixed_offset(moment), True
    return _with_fixed_offset(moment.replace(tzinfo=tz.tzlocal())), False


def _zone(name: str | None, offset_s: int | None) -> tzinfo | None:
    if offset_s is not None:
        return timezone(timedelta(seconds=offset_s))
    try:
        return ZoneInfo(name) if name else None
    except (ValueError, OSError, LookupError):
        return None


def _with_fixed_offset(moment: datetime) -> datetime:
    """Return moment with the offset from UTC it has, so that it means the same to whoever reads it."""
    return moment.replace(tzinfo=timezone(moment.utcoffset() or timedelta()))
