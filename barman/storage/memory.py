"""The storage driver that keeps everything in memory, for tests of the rooms above."""

from __future__ import annotations

import io
import threading
import time
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from barman.errors import NotFound, Permanent
from barman.storage.storage import Entry, Write

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


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
        """See Storage; workers is of no use here."""
        entries = []
        for write in writes:
            stored = _produce(write)
            with self._lock:
                self._objects[write.key] = stored
            entries.append(Entry(write.key, len(stored.content), stored.mtime_ns))
        return entries

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
