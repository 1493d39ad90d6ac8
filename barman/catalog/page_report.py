"""What looking at the page checksums of a backup found, as it is kept beside the record. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# A medium that is broken altogether needs no longer list.
MOST_LISTED = 10_000


@dataclass(frozen=True, slots=True, order=True)
class DamagedPage:
    """A page that is damaged in the cluster that was copied.

    tree: "pgdata" or the name of a tablespace. file: relative to it. block: of the relation, as PostgreSQL counts.
    """

    tree: str
    file: str
    block: int


@dataclass(frozen=True, slots=True)
class PageReport:
    """What became of one backup's pages. verified: how many were looked at; None: pg_basebackup does not tell.

    damaged: how many are; pages: these, in order, but not more than MOST_LISTED.
    """

    verified: int | None
    damaged: int
    pages: tuple[DamagedPage, ...]

    def lines(self) -> Iterator[str]:
        """Yield one line for each damaged file, with its blocks."""
        blocks: dict[str, list[int]] = {}
        for page in self.pages:
            where = page.file if page.tree == "pgdata" else f"{page.file} (tablespace {page.tree})"
            blocks.setdefault(where, []).append(page.block)
        for where, numbers in blocks.items():
            yield f"{where}: block{'s' if len(numbers) > 1 else ''} {_ranges(numbers)}"


def make_report(verified: int | None, damaged: list[DamagedPage], total: int | None = None) -> PageReport:
    """Return the report of these pages. total: of all that are damaged, if it is more than are known."""
    pages = tuple(sorted(set(damaged)))
    return PageReport(verified, max(total or 0, len(pages)), pages[:MOST_LISTED])


def render_report(report: PageReport) -> bytes:
    """Return the content of the file."""
    return json.dumps(asdict(report), indent=1).encode()


def parse_report(data: bytes) -> PageReport:
    """Return the report in a file; ValueError if it is none."""
    try:
        told = json.loads(data)
        pages = tuple(DamagedPage(**page) for page in told["pages"])
        return PageReport(told["verified"], told["damaged"], pages)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a report of page checksums: {error}") from error


def _ranges(numbers: list[int]) -> str:
    """Return ascending numbers as text, neighbours as a range: "1, 4-6"."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)
