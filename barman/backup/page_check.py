"""Looking at the page checksums of what is copied, in threads of its own, while the copy goes on."""

from __future__ import annotations

import logging
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from barman.catalog.page_report import DamagedPage, make_report
from barman.postgres.page_checksums import PAGE_SIZE, first_block, wrong_pages

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from barman.catalog.page_report import PageReport
    from barman.postgres.page_checksums import WrongPage

_log = logging.getLogger(__name__)

_CHUNK = 512 * PAGE_SIZE
# From so many bytes on it pays to load what looks at them faster; a backup with little new stays below.
_MANY = 32 << 20
_MOST_THREADS = 4
_MOST_WAITING = 256
# So often a file is copied again to see whether its pages were only being written.
_ROUNDS = 3


class _Newer(NamedTuple):
    """A wrong page that says it is newer than the backup's begin; true of none beyond its end."""

    page: DamagedPage
    lsn: int


class PageCheck:
    """The pages of one backup. To be closed, so that nothing goes on behind it."""

    def __init__(self, *, begin_lsn: int, segment_blocks: int, check: Callable[[], None]) -> None:
        """begin_lsn: pages from there on are replayed from the WAL. segment_blocks: in one file of a relation.

        check: called now and then; what it raises ends the work.
        """
        self._begin_lsn = begin_lsn
        self._segment_blocks = segment_blocks
        self._check = check
        self._pool = ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, _MOST_THREADS))
        self._waiting: deque[Future[None]] = deque()
        self._pages: deque[int] = deque()
        # Of all files opened so far; should two threads count at once and one get lost, nothing depends on it.
        self._bytes = 0
        self._damaged: list[DamagedPage] = []
        self._newer: list[_Newer] = []

    def close(self) -> None:
        """Begin nothing more, and wait for what was begun."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, tree: str, name: str, path: str, again: Callable[[], bool]) -> None:
        """Have a copied file looked at, if it is of a relation; raises what looking at another one raised.

        name: relative to tree. path: of the copy. again: copies the file once more; False: it is unchanged, or gone.
        """
        first = first_block(name, self._segment_blocks)
        if first is None:
            return
        self._waiting.append(self._pool.submit(self._look, tree, name, path, first, again))
        while len(self._waiting) > _MOST_WAITING:
            self._waiting.popleft().result()

    def finish(self) -> None:
        """Wait until everything submitted has been looked at."""
        while self._waiting:
            self._waiting.popleft().result()

    def report(self, end_lsn: int) -> PageReport:
        """Return what was found. end_lsn: of the backup: a page that says it is newer does not say the truth."""
        beyond = [newer.page for newer in self._newer if newer.lsn > end_lsn]
        return make_report(sum(self._pages), self._damaged + beyond)

    def _look(self, tree: str, name: str, path: str, first: int, again: Callable[[], bool]) -> None:
        count, wrong = self._read(path, first)
        for _ in range(_ROUNDS):
            if not self._old(wrong):
                break
            _log.info("%s: %s pages have a wrong checksum; reading it again", path, len(wrong))
            before = wrong
            if not again():
                break
            count, wrong = self._read(path, first)
            if self._old(wrong) == self._old(before):
                break
        self._pages.append(count)
        for page in wrong:
            damaged = DamagedPage(tree, name, first + page.number)
            if page.lsn < self._begin_lsn:
                _log.warning(
                    "%s: block %s has checksum %04x, its content %04x", path, damaged.block, page.found, page.right
                )
                self._damaged.append(damaged)
            else:
                self._newer.append(_Newer(damaged, page.lsn))

    def _old(self, wrong: Sequence[WrongPage]) -> list[WrongPage]:
        return [page for page in wrong if page.lsn < self._begin_lsn]

    def _read(self, path: str, first: int) -> tuple[int, list[WrongPage]]:
        """Return how many pages a file has, and the wrong ones, by number in the file."""
        count, wrong = 0, []
        try:
            with open(path, "rb", buffering=0) as file:
                self._bytes += os.fstat(file.fileno()).st_size
                is_much = self._bytes >= _MANY
                while data := file.read(_CHUNK):
                    self._check()
                    found = wrong_pages(data, first + count, with_numpy=is_much)
                    wrong += [page._replace(number=page.number + count) for page in found]
                    count += len(data) // PAGE_SIZE
        except FileNotFoundError:
            return 0, []
        return count, wrong
