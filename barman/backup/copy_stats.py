"""How long the parts of a copy took, in the words of the record's copy_stats. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    # Begin and end, in seconds of a monotonic clock.
    Span = tuple[float, float]


class CopyTimes:
    """Collects spans of time by the label of what was looked at, or copied. For any thread."""

    def __init__(self) -> None:
        self._analysed: dict[str, list[Span]] = defaultdict(list)
        self._copied: dict[str, list[Span]] = defaultdict(list)

    def analysed(self, label: str, span: Span) -> None:
        """The content of label was listed and compared."""
        self._analysed[label].append(span)

    def copied(self, label: str, span: Span) -> None:
        """A portion of label was copied."""
        self._copied[label].append(span)

    def stats(self, *, total_s: float, workers: int) -> dict[str, object]:
        """Return copy_stats. copy_time: from the first to the last copy; serialized: as if by one worker."""
        return {
            "total_time": round(total_s, 6),
            "number_of_workers": workers,
            "analysis_time_per_item": _by_label(self._analysed, _extent),
            "copy_time_per_item": _by_label(self._copied, _extent),
            "serialized_copy_time_per_item": _by_label(self._copied, _sum),
            "analysis_time": _extent(_all(self._analysed)),
            "copy_time": _extent(_all(self._copied)),
            "serialized_copy_time": _sum(_all(self._copied)),
        }


def _all(spans: Mapping[str, list[Span]]) -> list[Span]:
    return [span for some in spans.values() for span in some]


def _by_label(spans: Mapping[str, list[Span]], measure: Callable[[Iterable[Span]], float]) -> dict[str, float]:
    return {label: measure(some) for label, some in spans.items()}


def _extent(spans: Iterable[Span]) -> float:
    some = list(spans)
    return round(max(end for _, end in some) - min(begin for begin, _ in some), 6) if some else 0.0


def _sum(spans: Iterable[Span]) -> float:
    return round(sum(end - begin for begin, end in spans), 6)
