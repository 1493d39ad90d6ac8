"""Hearing what one rsync says while it copies, and seeing how far it is; one that gets nowhere is given up."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from barman.errors import CommandError
from barman.host import rsync, runner
from barman.host.files import start_flush
from barman.human import pretty_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_log = logging.getLogger(__name__)

# What is slower than this, in bytes a second, when it compares, does not work.
_SLOWEST = 4 << 20
# We are called once a second. What is longer was a pause of ours, or of the whole host, and not rsync's.
_LONGEST_TICK_S = 5.0


class Silence:
    """How long a program has not shown any progress."""

    def __init__(self, limit_s: float, *, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        """what: goes wrong then, for the message. clock: seconds that never go back."""
        self._limit_s = limit_s
        self._what = what
        self._clock = clock
        self._silent_s = 0.0
        self._looked_at = clock()

    def broken(self) -> None:
        """There is progress."""
        self._silent_s = 0.0
        self._looked_at = self._clock()

    def tick(self) -> None:
        """To be called about once a second; raises CommandError when the limit is reached."""
        now = self._clock()
        self._silent_s += min(now - self._looked_at, _LONGEST_TICK_S)
        self._looked_at = now
        if self._silent_s >= self._limit_s:
            raise CommandError(
                f"{self._what}: nothing has moved for {pretty_interval(timedelta(seconds=self._limit_s))}",
                hint="See whether rsync, ssh or a file system is stuck, here or there.",
            )


def run_rsync(
    argv: Sequence[str],
    names: Iterable[str] | None,
    *,
    env: Mapping[str, str],
    on_line: Callable[[str], None],
    on_tick: Sequence[Callable[[], None]] = (),
) -> runner.Completed:
    """Run rsync, which reads the names of files if there are any, to its end, be it good or bad; see runner.run."""

    def tick() -> None:
        for look in on_tick:
            look()

    _log.debug("running %s", argv)
    return runner.run(
        argv,
        timeout_s=None,
        env=env,
        input=None if names is None else _ended_by_zeros(names),
        check=False,
        on_line=on_line,
        on_tick=tick,
    )


def list_with_rsync(
    argv: Sequence[str],
    take: Callable[[rsync.Entry], object],
    *,
    env: Mapping[str, str],
    on_tick: Sequence[Callable[[], None]] = (),
    silence: Silence | None = None,
) -> tuple[runner.Completed, rsync.Complaints]:
    """Run list_argv's command to its end, and give take every entry as it comes; return what else was said.

    silence: ends rsync when nothing comes.
    """
    complaints = rsync.Complaints()

    def hear(line: str) -> None:
        if silence is not None:
            silence.broken()
        entry = rsync.parse_entry(line)
        if entry is None:
            complaints.take(line)
        else:
            take(entry)

    ticks = [*on_tick, *([] if silence is None else [silence.tick])]
    return run_rsync(argv, None, env=env, on_line=hear, on_tick=ticks), complaints


def _ended_by_zeros(names: Iterable[str]) -> bytes:
    # Joined they would be held one by one as well.
    text = bytearray()
    for name in names:
        text += os.fsencode(name)
        text.append(0)
    return bytes(text)


def comparing_limit_s(limit_s: float, size_bytes: int) -> float:
    """Return the limit for an rsync that reads so many bytes on both sides before it says anything."""
    return limit_s + size_bytes / _SLOWEST


class Listener:
    """Hears what one rsync says while it copies into target, and sees how far it is with a file."""

    def __init__(
        self,
        target: str | os.PathLike[str],
        scratch: str | os.PathLike[str],
        complaints: rsync.Complaints,
        advance: Callable[[int], None],
        *,
        on_file: Callable[[str], None] | None = None,
        silence: Silence | None = None,
    ) -> None:
        """scratch: where this rsync, and no other, writes a file until it is whole.

        complaints: gets what tells of no file. advance: told how many bytes more have been copied. on_file: called with
        the name of every file that has been copied. silence: ends rsync when nothing moves; None: nothing does.
        """
        self._target = target
        self._scratch = scratch
        self._complaints = complaints
        self._advance = advance
        self._on_file = on_file
        self._silence = silence
        self._told = 0
        self._last: str | None = None

    def take(self, line: str) -> None:
        """Take one line."""
        self._moved()
        copied = rsync.parse_copied(line)
        if copied is None:
            self._complaints.take(line)
            return
        self._advance(copied.size - self._told)
        self._told = 0
        self.finish()
        self._last = copied.name

    def finish(self) -> None:
        """See to the last file, which rsync tells of a moment before it takes its place: when the next one is told of.

        To be called when rsync has ended.
        """
        name, self._last = self._last, None
        if name is None:
            return
        with contextlib.suppress(OSError), open(os.path.join(self._target, name), "rb") as file:
            start_flush(file.fileno())
        if self._on_file is not None:
            self._on_file(name)

    def tick(self) -> None:
        """Look how much of the present file is there. CommandError when nothing has moved for too long."""
        with contextlib.suppress(OSError), os.scandir(self._scratch) as entries:
            sizes = {entry.path: entry.stat().st_size for entry in entries}
            there = sum(sizes.values())
            if there > self._told:
                for path in sizes:
                    with open(path, "rb") as file:
                        # Only what is new: what has been written may be forgotten then, and is to be looked at yet.
                        start_flush(file.fileno(), self._told, there - self._told)
                self._advance(there - self._told)
                self._told = there
                self._moved()
        if self._silence is not None:
            self._silence.tick()

    def _moved(self) -> None:
        if self._silence is not None:
            self._silence.broken()
