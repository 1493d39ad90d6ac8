"""Having the kernel write what another program writes, while that goes on."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING

from barman.host.files import start_flush

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from barman.host.files import AnyPath

_PAUSE_S = 0.1
# Times of files tick in steps.
_MARGIN_S = 1.0


@contextlib.contextmanager
def flushing_early(roots: Iterable[AnyPath]) -> Iterator[None]:
    """While the block lasts, begin to flush what appears below roots, for a barrier to come that is short then.

    Nothing is promised, and nothing raised.
    """
    over = threading.Event()

    def watch() -> None:
        since, pause_s = time.time(), _PAUSE_S
        while not over.wait(pause_s):
            begun = time.time()
            for root in roots:
                _flush_changed(os.fspath(root), since - _MARGIN_S)
            # Looking must not become all the work there is.
            since, pause_s = begun, max(_PAUSE_S, 4 * (time.time() - begun))

    watcher = threading.Thread(target=watch, name="flush", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _flush_changed(root: str, since: float) -> None:
    """Begin to flush the files below root that were changed since then."""
    waiting = [root]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif entry.is_file(follow_symlinks=False) and entry.stat().st_mtime >= since:
                    with open(entry.path, "rb", buffering=0) as file:
                        start_flush(file.fileno())
