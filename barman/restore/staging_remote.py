"""A directory on another host for the time of a restore, which goes when the restore is over, however it ended."""

from __future__ import annotations

import contextlib
import os
import queue
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from barman.errors import BarmanError, CommandError, Permanent
from barman.host.remote import QUICK_S, last_line
from barman.host.rsync_watch import Silence

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from barman.host.runner import Completed
    from barman.host.session import Session
    from barman.progress import Reporter

# In the directory: of a program that is to be ended first.
COMBINER_PID = "combiner.pid"

# What is large goes slowly, but a host that is frozen must not keep us forever.
_LONG_S = 7200.0
_READY = re.compile(r"ready (barman-combine-\S+)")

# $1: where; $2: what for. It lives as long as its standard input is open, that is as long as we and the connection do,
# and takes the directory with it. What is left of one that did not get so far, because its host went down, is found by
# its pid.
_HOLD = f"""
umask 077
trap '' HUP PIPE
mkdir -p "$1" || exit
node=$(uname -n)
for left in "$1"/barman-combine-*-"$node"-[0-9]*; do
    [ ! -d "$left" ] || kill -0 "${{left##*-}}" 2>/dev/null || rm -rf "$left" 2>/dev/null
done
directory=$1/barman-combine-$2-$node-$$
mkdir "$directory" || exit
echo "ready ${{directory##*/}}"
cat >/dev/null
pid=$(cat "$directory/{COMBINER_PID}" 2>/dev/null)
[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null
while [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; do sleep 1; done
# Who was just writing into it notices a moment later that the connection is gone.
for try in 1 2 3 4 5; do
    rm -rf "$directory" && exit 0
    sleep 1
done
exit 1
"""


@contextlib.contextmanager
def staging_there(session: Session, parent: Path, backup_id: str, reporter: Reporter) -> Iterator[Path]:
    """Make a directory below parent on that host for the time of the with block.

    It is gone afterwards, and also when we are killed or the connection is cut; the program whose pid is in its file
    COMBINER_PID is ended first. What restores of earlier have left there is removed. A directory that cannot be removed
    is a warning; CommandError or Permanent if it cannot be made.
    """
    read_end, write_end = os.pipe()
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    held = contextlib.ExitStack()
    held.callback(os.close, write_end)
    silence: list[Silence] = []

    def tick() -> None:
        for one in silence:
            one.tick()

    with open(read_end, "rb") as stdin, ThreadPoolExecutor(max_workers=1) as pool, held:
        holder = pool.submit(
            session.run,
            ["sh", "-c", _HOLD, "barman", os.fspath(parent), backup_id],
            stdin=stdin,
            timeout_s=None,
            check=False,
            on_line=lines.put,
            on_tick=tick,
        )
        holder.add_done_callback(lambda _: lines.put(None))
        directory = parent / _wait_for_name(lines, holder, session, parent)
        try:
            yield directory
        finally:
            silence.append(Silence(_LONG_S, what=f"cannot remove {directory} on {session.name}"))
            held.close()
            _tell_if_left(holder, directory, session, reporter)


def _wait_for_name(
    lines: queue.SimpleQueue[str | None], holder: Future[Completed], session: Session, parent: Path
) -> str:
    while True:
        try:
            line = lines.get(timeout=_LONG_S)
        except queue.Empty:
            raise CommandError(f"{session.name} does not make a directory in {parent}") from None
        if line is None:
            reason = last_line(holder.result(timeout=QUICK_S))
            raise Permanent(f"cannot make a directory in {parent} on {session.name}: {reason}")
        if (match := _READY.fullmatch(line)) is not None:
            return match[1]


def _tell_if_left(holder: Future[Completed], directory: Path, session: Session, reporter: Reporter) -> None:
    try:
        done = holder.result()
    except BarmanError as error:
        reporter.warning(f"{directory} on {session.name} may still be there: {error}")
    else:
        if done.status != 0:
            reporter.warning(f"{directory} on {session.name} could not be removed: {last_line(done)}")
