"""Several workers at one list of tasks, and somebody who looks after the rest meanwhile."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Generic, TypeVar

from barman.host.transfer import Stopped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Lane = TypeVar("Lane")
Item = TypeVar("Item")

_TICK_S = 1.0
_PORTIONS_PER_WORKER = 8
_LEAST_BYTES = 32 << 20


class Workers(Generic[Lane]):
    """One worker for each lane, which is what it works with; an interruption or a failure ends all within seconds."""

    def __init__(self, lanes: Sequence[Lane], *, on_tick: Callable[[], None]) -> None:
        """on_tick: called about once a second, by the caller's own thread; what it raises ends the work."""
        self._lanes = lanes
        self._on_tick = on_tick
        self._stopping = threading.Event()

    def work_off(self, tasks: Iterable[Callable[[Lane], None]]) -> None:
        """Do every task, each by the first worker that is free, begun in this order.

        The first failure stops the others, and is raised.
        """
        waiting = deque(tasks)

        def work(lane: Lane) -> None:
            while True:
                self.check()
                try:
                    task = waiting.popleft()
                except IndexError:
                    return
                task(lane)

        with ThreadPoolExecutor(max_workers=len(self._lanes)) as pool:
            pending = {pool.submit(work, lane) for lane in self._lanes[: max(1, len(waiting))]}
            try:
                while pending:
                    done, pending = wait(pending, timeout=_TICK_S, return_when=FIRST_COMPLETED)
                    for future in done:
                        future.result()
                    self._on_tick()
            except BaseException:
                self._stopping.set()
                raise

    def check(self) -> None:
        """Raise Stopped when the work is to end. To be called by what takes long."""
        if self._stopping.is_set():
            raise Stopped

    def pause(self, seconds: float) -> None:
        """Wait; Stopped as soon as the work is to end."""
        if self._stopping.wait(seconds):
            raise Stopped


def portions(items: Iterable[Item], *, size_of: Callable[[Item], int], workers: int) -> list[list[Item]]:
    """Return items in portions for that many workers, the largest first; all in one portion for a single worker.

    A portion is small enough that all workers are busy until nearly the end, and large enough that starting a program
    for it does not count.
    """
    waiting = sorted(items, key=size_of, reverse=True)
    if not waiting:
        return []
    if workers <= 1:
        return [waiting]
    most_bytes = max(sum(map(size_of, waiting)) // (workers * _PORTIONS_PER_WORKER), _LEAST_BYTES)
    most_items = max(1, -(-len(waiting) // workers))
    found: list[list[Item]] = [[]]
    size = 0
    for item in waiting:
        if found[-1] and (size + size_of(item) > most_bytes or len(found[-1]) >= most_items):
            found.append([])
            size = 0
        found[-1].append(item)
        size += size_of(item)
    return sorted(found, key=lambda portion: sum(map(size_of, portion)), reverse=True)
