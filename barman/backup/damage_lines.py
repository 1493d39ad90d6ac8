"""What a server says of damaged pages while pg_basebackup copies them.

Source: PostgreSQL, backup/basebackup.c. In another language than English it names no pages here, only in the log.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from barman.catalog.page_report import DamagedPage, make_report
from barman.postgres.page_checksums import first_block

if TYPE_CHECKING:
    from barman.catalog.page_report import PageReport

_PAGE = re.compile(r'.*checksum verification failed in file "(?:\./)?([^"]+)", block (\d+)')
_TOTAL = re.compile(r'.*file "(?:\./)?([^"]+)" has a total of (\d+) checksum verification failures?')


class DamageLines:
    """Collects the damaged pages from the lines. It names five of a file, and says how many there are."""

    def __init__(self, segment_blocks: int) -> None:
        """segment_blocks: in one file of a relation."""
        self._segment_blocks = segment_blocks
        self._found: dict[str, list[DamagedPage]] = {}
        self._totals: dict[str, int] = {}

    def take(self, line: str) -> None:
        """Take a line of pg_basebackup's."""
        page, total = _PAGE.match(line), _TOTAL.match(line)
        if page is not None:
            block = (first_block(page[1], self._segment_blocks) or 0) + int(page[2])
            self._found.setdefault(page[1], []).append(DamagedPage("pgdata", page[1], block))
        elif total is not None:
            self._totals[total[1]] = int(total[2])

    def report(self) -> PageReport:
        """Return what is damaged, given that something is."""
        known = [page for pages in self._found.values() for page in pages]
        counts = {name: len(pages) for name, pages in self._found.items()} | self._totals
        return make_report(None, known, max(1, sum(counts.values())))
