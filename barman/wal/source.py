"""Where archived WAL came from, asked again: what of it is still there, and how it is brought here once more."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Protocol

from barman.errors import BarmanError, CommandError, NotFound, StorageError
from barman.host import runner
from barman.host.rsync_watch import Silence
from barman.host.session import open_remote
from barman.postgres.conninfo import mask_secrets, streaming_conninfo
from barman.postgres.lsn import format_lsn, parse_lsn
from barman.postgres.tools import find_tool, pg_receivewal_argv
from barman.postgres.wal_names import is_segment_name, is_wal_name, segment_before, segment_start, timeline_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from barman.host.remote import Remote
    from barman.server import Server

_SILENCE_S = 120.0


class Source(Protocol):
    """A place that may still have WAL. No method waits for ever."""

    def names(self) -> AbstractSet[str]:
        """Return the WAL files that are there now; BarmanError if it cannot be asked."""

    def fetch(self, names: Sequence[str], directory: Path) -> None:
        """Bring files into directory, as PostgreSQL wrote them, each under its name only when it is whole.

        names: segments that follow each other, or one other file. BarmanError or OSError says why not all of them came.
        """


@contextlib.contextmanager
def open_sources(server: Server, segment_size: int) -> Iterator[list[Source]]:
    """Yield the places to ask, in this order; connections and logins they make end with the block."""
    with contextlib.ExitStack() as logins:
        sources: list[Source] = []
        if server.settings.effective_wal_streaming_conninfo is not None:
            sources.append(_Streaming(server, segment_size))
        if server.settings.ssh_command is not None:
            sources.append(_DataDirectory(server, logins))
        yield sources


class _Streaming:
    """The server, by streaming replication."""

    def __init__(self, server: Server, segment_size: int) -> None:
        self._server = server
        self._segment_size = segment_size

    def names(self) -> AbstractSet[str]:
        """See Source."""
        with self._server.wal_postgres() as postgres:
            names = frozenset(filter(is_wal_name, postgres.wal_files()))
            position = postgres.facts().current_lsn
        if position is None:
            return frozenset()
        # What is further on is not written yet, on whatever timeline: the server would be waited for.
        current = segment_before(parse_lsn(position), 1, self._segment_size)
        return frozenset(name for name in names if not is_segment_name(name) or name[8:] < current[8:])

    def fetch(self, names: Sequence[str], directory: Path) -> None:
        """See Source."""
        if is_segment_name(names[0]):
            self._receive(names, directory)
        elif names[0].endswith(".history"):
            with self._server.wal_streaming() as streaming:
                text = streaming.timeline_history(timeline_of(names[0]))
            (directory / names[0]).write_bytes(os.fsencode(text))
        else:
            raise NotFound(f"{names[0]} is nothing that is streamed")

    def _receive(self, names: Sequence[str], directory: Path) -> None:
        settings = self._server.settings
        tool = find_tool("pg_receivewal", settings.path_prefix, old_name="pg_receivexlog")
        conninfo = streaming_conninfo(settings.effective_wal_streaming_conninfo or "", settings.streaming_archiver_name)
        # It begins with the segment of which there is an unfinished file.
        partial = directory / f"{names[0]}.partial"
        partial.touch()
        argv = pg_receivewal_argv(
            tool,
            conninfo=conninfo,
            directory=directory,
            end_lsn=format_lsn(segment_start(names[-1], self._segment_size) + self._segment_size),
        )
        done = runner.run(
            argv,
            timeout_s=None,
            env=runner.environment(settings.path_prefix, LC_ALL="C", **conninfo.environment()),
            check=False,
            on_tick=_watch(directory, f"streaming WAL from {self._server.name}"),
            shown=[mask_secrets(word) for word in argv],
        )
        if all((directory / name).exists() for name in names):
            return
        lines = [line for line in conninfo.scrub(done.stderr).splitlines() if "rror: " in line or "ERROR: " in line]
        said = lines[0].rpartition("rror: ")[2].rpartition("ERROR: ")[2].strip() if lines else "it was not sent"
        raise CommandError(said, argv=argv, status=done.status, stderr=conninfo.scrub(done.stderr))


class _DataDirectory:
    """The data directory of the server, over ssh: one login for all of it, and a new one after a failure."""

    def __init__(self, server: Server, logins: contextlib.ExitStack) -> None:
        """logins: ends the login when nobody needs it any more."""
        self._server = server
        self._logins = logins
        self._host: Remote | None = None
        self._directory = ""

    def names(self) -> AbstractSet[str]:
        """See Source."""
        self._directory = os.path.join(_data_directory(self._server), "pg_wal")
        with self._connected() as host:
            return frozenset(filter(is_wal_name, host.run(["ls", "-1", self._directory]).stdout.split()))

    def fetch(self, names: Sequence[str], directory: Path) -> None:
        """See Source."""
        failure: StorageError | None = None
        with self._connected() as host:
            for name in names:
                # Not under its name: the connection may be cut, the disk full.
                with (directory / f"{name}.tmp").open("wb") as copy:
                    try:
                        host.copy_file(os.path.join(self._directory, name), copy)
                    except StorageError as error:
                        failure = failure or error
                        continue
                os.rename(copy.name, directory / name)
        if failure is not None:
            raise failure

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Remote]:
        try:
            if self._host is None:
                opened = open_remote(self._server.settings.ssh_command or "", env=self._server.environment())
                self._host = self._logins.enter_context(opened)
            yield self._host
        except CommandError:
            self._host = None
            self._logins.close()
            raise


def _data_directory(server: Server) -> str:
    """Return where the data directory is, or was when the last backup was taken."""
    try:
        with server.postgres() as postgres:
            found = postgres.facts().data_directory
    except BarmanError:
        found = None
    if found is None:
        known = [record.pgdata for _, record in sorted(server.backups.load().items()) if record.pgdata]
        if not known:
            raise NotFound(f"the data directory of server {server.name} is not known")
        found = known[-1]
    return found


def _watch(directory: Path, what: str) -> Callable[[], None]:
    """Return what notices, called once a second, that nothing in directory has been written for long."""
    silence = Silence(_SILENCE_S, what=what)
    last = 0

    def tick() -> None:
        nonlocal last
        with os.scandir(directory) as entries:
            newest = max((entry.stat().st_mtime_ns for entry in entries), default=0)
        if newest == last:
            silence.tick()
        else:
            last = newest
            silence.broken()

    return tick
