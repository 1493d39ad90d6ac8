"""The storage driver that keeps everything in memory, for tests of the rooms above."""

from __future__ import annotations

import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from barman.errors import NotFound, Permanent
from barman.storage.storage import Entry, Write

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Executor, Future


class _Object(NamedTuple):
    content: bytes
    mtime_ns: int


class MemoryStorage:
    """Durable for as long as the process lives."""

    def __init__(self) -> None:
        """Empty at first."""
        self._objects: dict[str, _Object] = {}
        self._lock = threading.Lock()

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """See Storage."""
        with self._lock:
            found = sorted(item for item in self._objects.items() if item[0].startswith(prefix))
        for key, stored in found:
            yield Entry(key, len(stored.content), stored.mtime_ns)

    def stat(self, key: str) -> Entry:
        """See Storage."""
        stored = self._get(key)
        return Entry(key, len(stored.content), stored.mtime_ns)

    def exists(self, key: str) -> bool:
        """See Storage."""
        with self._lock:
            return key in self._objects

    def open(self, key: str) -> BinaryIO:
        """See Storage."""
        return io.BytesIO(self._get(key).content)

    def write_batch(self, writes: Sequence[Write], *, workers: int = 1) -> Sequence[Entry]:
        """See Storage."""
        with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
            return self.begin_batch(writes, pool=pool).finish()

    def begin_batch(self, writes: Sequence[Write], *, pool: Executor) -> _Batch:
        """See Storage."""
        return _Batch(self, [(write, pool.submit(_produce, write)) for write in writes])

    def put(self, key: str, stored: _Object) -> None:
        """Store one object."""
        with self._lock:
            self._objects[key] = stored

    def sync(self, keys: Sequence[str]) -> None:
        """See Storage; nothing is to be done here."""

    def delete_batch(self, keys: Sequence[str]) -> None:
        """See Storage."""
        with self._lock:
            for key in keys:
                self._objects.pop(key, None)

    def _get(self, key: str) -> _Object:
        with self._lock:
            try:
                return self._objects[key]
            except KeyError:
                raise NotFound(f"{key}: no such object") from None


class _Batch:
    """A batch under way."""

    def __init__(self, storage: MemoryStorage, begun: list[tuple[Write, Future[_Object]]]) -> None:
        self._storage = storage
        self._begun = begun

    def finish(self) -> Sequence[Entry]:
        """See PendingBatch."""
        entries = []
        try:
            for write, producing in self._begun:
                stored = producing.result()
                if write.check is not None:
                    write.check()
                self._storage.put(write.key, stored)
                entries.append(Entry(write.key, len(stored.content), stored.mtime_ns))
        finally:
            self.discard()
        return entries

    def discard(self) -> None:
        """See PendingBatch."""
        wait([producing for _write, producing in self._begun if not producing.cancel()])


def _produce(write: Write) -> _Object:
    mtime_ns = write.mtime_ns
    if isinstance(write.content, bytes):
        content = write.content
    elif callable(write.content):
        file = io.BytesIO()
        write.content(file)
        content = file.getvalue()
    else:
        try:
            content = write.content.read_bytes()
            mtime_ns = write.content.stat().st_mtime_ns if mtime_ns is None else mtime_ns
        except OSError as error:
            raise Permanent(f"{write.key}: {error.strerror}") from error
    return _Object(content, time.time_ns() if mtime_ns is None else mtime_ns)
