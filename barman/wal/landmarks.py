"""Reading what stands in archived WAL."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from barman.errors import NotFound
from barman.postgres.wal_records import SegmentRecords

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Future
    from pathlib import Path
    from typing import BinaryIO

    from barman.catalog.wal_archive import WalArchive


def read_records(archive: WalArchive, name: str, *, streaming: Path | None = None) -> SegmentRecords:
    """Return the records of a segment, or of an unfinished one (NAME.partial), which may be in streaming instead.

    Raises NotFound if it is in neither, StorageError, WalError or OSError if it cannot be read or understood.
    """
    with _open(archive, name, streaming) as reader:
        return SegmentRecords(reader.read())


def read_ahead(
    archive: WalArchive, names: Iterable[str], *, streaming: Path | None = None, workers: int = 2
) -> Iterator[SegmentRecords]:
    """Yield the records of segments in the order of names, some being read in threads while others are looked at.

    Raises as read_records does, when it comes to that segment.
    """
    waiting: deque[Future[SegmentRecords]] = deque()
    with ThreadPoolExecutor(max_workers=workers) as pool:
        try:
            for name in names:
                waiting.append(pool.submit(read_records, archive, name, streaming=streaming))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _open(archive: WalArchive, name: str, streaming: Path | None) -> BinaryIO:
    try:
        return archive.open_decoded(name)
    except NotFound:
        if streaming is None or not name.endswith(".partial"):
            raise
    try:
        return (streaming / name).open("rb")
    except FileNotFoundError as error:
        raise NotFound(f"WAL file {name} is neither in the archive nor in {streaming}") from error
