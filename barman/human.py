"""Sizes, intervals and times as people read them, in the words scripts already grep for. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

_SIZE_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")


def pretty_size(size_bytes: float) -> str:
    """96 -> `96 B`, 16777216 -> `16.0 MiB`, -96 -> `-96 B`."""
    if abs(size_bytes) < 1024:
        return f"{size_bytes:.0f} B"
    value = size_bytes / 1024
    for unit in _SIZE_UNITS[:-1]:
        if abs(value) < 1024:
            return f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} {_SIZE_UNITS[-1]}"


def pretty_interval(interval: timedelta) -> str:
    """`1 day, 2 hours, 3 seconds`; below a second `less than one second`; negative with ` ago`."""
    seconds = int(abs(interval.total_seconds()))
    ago = " ago" if interval.total_seconds() < 0 else ""
    parts = []
    for unit, length_s in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count, seconds = divmod(seconds, length_s)
        if count:
            parts.append(f"{count} {unit}{'s' if count > 1 else ''}")
    return (", ".join(parts) or "less than one second") + ago


def pretty_percent(ratio: float) -> str:
    """0.9572 -> `95.72%`."""
    return f"{ratio * 100:.2f}%"


def pretty_progress(done: int, total: int | None, unit: str, elapsed_s: float) -> str:
    """`1.0 GiB of 4.0 GiB (25%), 17.1 MiB/s, 3 minutes left`; total: None if unknown; unit: bytes, or what counts."""

    def amount(count: float) -> str:
        return pretty_size(count) if unit == "bytes" else f"{count:.0f}"

    text = amount(done)
    if total:
        text += f" of {amount(total)} ({min(1.0, done / total):.0%})"
    if unit == "bytes":
        text += f", {pretty_size(done / elapsed_s if elapsed_s > 0 else 0)}/s"
    else:
        text += f" {unit}"
    if total and 0 < done < total:
        text += f", {pretty_interval(timedelta(seconds=elapsed_s * (total - done) / done))} left"
    return text


def ctime(moment: datetime) -> str:
    """The moment in the local zone as C's ctime writes it: `Sat Nov 21 05:34:02 2026`."""
    return moment.astimezone().ctime()
