"""Running rsync until all files of a portion are there, and hearing what it says."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

from barman.backup.listing import Listing
from barman.errors import CommandError
from barman.host import rsync
from barman.host.rsync_watch import Listener, Silence, comparing_limit_s, list_with_rsync, run_rsync

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from barman.config.settings import ServerSettings
    from barman.host.workers import Workers
    from barman.progress import Reporter

Result = TypeVar("Result")

_PATIENCE_S = 600.0
# How often files that change while they are read are read once more.
_ROUNDS = 5


class RsyncRuns:
    """The runs of rsync of one backup; for any thread."""

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        host: str,
        settings: ServerSettings,
        reporter: Reporter,
        workers: Workers[str | None],
        advance: Callable[[int], None],
        patience_s: float = _PATIENCE_S,
    ) -> None:
        """host: the source's name for messages. advance: told how many bytes more have been copied.

        patience_s: how long rsync may show no progress before it is ended.
        """
        self._environment = {**environment, "LC_ALL": "C", "TZ": "UTC"}
        self._host = host
        self._settings = settings
        self._reporter = reporter
        self._workers = workers
        self._advance = advance
        self._patience_s = patience_s

    def list_files(self, argv: Sequence[str]) -> tuple[Listing, Sequence[str]]:
        """Run list_argv's command, as often again as the settings allow; CommandError.

        Return what is there, and the links that lead nowhere.
        """
        return self._stubbornly(lambda: self._list(argv), lambda: None)

    def copy(
        self,
        argv: list[str],
        names: Sequence[str],
        target: str,
        scratch: Path,
        on_file: Callable[[str], None] | None = None,
        *,
        compared_bytes: int = 0,
    ) -> None:
        """Run copy_argv's command for these files, as often again as the settings allow.

        scratch: this run's own. on_file: called with the name of every file that has been copied. compared_bytes: how
        much is read on both sides before anything can be seen to move.
        """
        limit_s = comparing_limit_s(self._patience_s, compared_bytes)
        self._stubbornly(
            lambda: self._copy(argv, names, target, scratch, on_file, limit_s), lambda: _unlink_shared(target, names)
        )

    def _stubbornly(self, attempt: Callable[[], Result], clear: Callable[[], None]) -> Result:
        """Return what attempt returns; clear: called before it is made again."""
        left = self._settings.basebackup_retry_times
        while True:
            try:
                return attempt()
            except CommandError as error:
                if left <= 0:
                    raise
                pause_s = self._settings.basebackup_retry_sleep
                self._reporter.warning(f"{error.message}; trying again in {pause_s} seconds ({left} more)")
                left -= 1
                self._workers.pause(pause_s)
                clear()

    def _list(self, argv: Sequence[str]) -> tuple[Listing, Sequence[str]]:
        found = Listing()
        silence = Silence(self._patience_s, what=f"cannot list the files of {self._host}")
        done, complaints = list_with_rsync(
            argv, found.append, env=self._environment, on_tick=[self._workers.check], silence=silence
        )
        if not complaints.is_harmless(done.status):
            raise self._failed(done.status, complaints, argv)
        return found, complaints.dangling

    def _copy(
        self,
        argv: list[str],
        names: Sequence[str],
        target: str,
        scratch: Path,
        on_file: Callable[[str], None] | None,
        limit_s: float,
    ) -> None:
        for number in range(_ROUNDS):
            complaints = rsync.Complaints()
            silence = Silence(limit_s, what=f"cannot copy from {self._host}")
            listener = Listener(target, scratch, complaints, self._advance, on_file=on_file, silence=silence)
            # A file that changes under rsync's hands is read as a whole: what was compared before does not hold.
            words = argv if number == 0 else [argv[0], "--whole-file", *argv[1:]]
            try:
                done = run_rsync(
                    words,
                    names,
                    env=self._environment,
                    on_line=listener.take,
                    on_tick=[self._workers.check, listener.tick],
                )
            finally:
                # The next attempt finds this file as it should be, and does not tell of it.
                listener.finish()
            if complaints.is_harmless(done.status):
                return
            if not complaints.is_worth_repeating(done.status):
                break
            _unlink_shared(target, names)
        raise self._failed(done.status, complaints, argv)

    def _failed(self, status: int, complaints: rsync.Complaints, argv: Sequence[str]) -> CommandError:
        return CommandError(
            f"cannot copy from {self._host}: {complaints.reason(status)}",
            argv=argv,
            status=status,
            hint=complaints.hint(status),
        )


def _unlink_shared(target: str, names: Sequence[str]) -> None:
    """Remove what a failed attempt has linked to an earlier backup: a link shares its times and modes."""
    for name in names:
        path = os.path.join(target, name)
        try:
            if os.lstat(path).st_nlink > 1:
                os.unlink(path)
        except FileNotFoundError:
            continue
