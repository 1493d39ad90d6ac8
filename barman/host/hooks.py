"""Hook scripts: the operator's own programs, run before and after what barman does.

Order: pre plain, pre retry, the action, post retry, post plain. Plain hooks are run once, whatever they say. Retry
hooks are run until they say something: 0 done, 62 go on without me, 63 stop (before an action: it does not happen);
anything else is tried again, after 3 seconds five times, then after a minute, and so on for ever. One that does not end
within hook_timeout is stopped, with all it started.
Source: Barman's manual, hook scripts.
"""

from __future__ import annotations

import logging
import time
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from barman.errors import CommandError, HookAborted
from barman.host.runner import environment, run_shell
from barman.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from barman.progress import Reporter

_log = logging.getLogger(__name__)

_DONE, _CONTINUE, _STOP, _NOT_RUN = 0, 62, 63, 127
_SHORT_PAUSES, _SHORT_PAUSE_S, _LONG_PAUSE_S = 5, 3, 60


class Event(Enum):
    """What hooks can be hung on; the value is part of the option names."""

    BACKUP = "backup"
    ARCHIVE = "archive"
    DELETE = "delete"
    WAL_DELETE = "wal_delete"
    RECOVERY = "recovery"


class Scripts(NamedTuple):
    """The four hooks of an event, as shell text; None where none is configured."""

    pre: str | None
    pre_retry: str | None
    post_retry: str | None
    post: str | None


class Hooks:
    """The hooks of one event of one server."""

    def __init__(
        self,
        event: Event,
        scripts: Scripts,
        *,
        server: str,
        config_path: Path,
        path_prefix: str | None = None,
        timeout_s: float | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """path_prefix: put before PATH. timeout_s: when a run is stopped. sleep: how to wait between attempts."""
        self._event = event
        self._scripts = scripts
        self._path_prefix = path_prefix
        self._timeout_s = timeout_s
        self._sleep = sleep
        self._common = {
            "BARMAN_VERSION": __version__,
            "BARMAN_SERVER": server,
            "BARMAN_CONFIGURATION": str(config_path),
        }

    def __bool__(self) -> bool:
        return any(self._scripts)

    def before(self, variables: Mapping[str, str], reporter: Reporter | None = None) -> None:
        """Run what comes before the action; HookAborted if a retry hook says stop. reporter: learns of repetitions."""
        self._run_plain("pre", self._scripts.pre, variables)
        self._run_retry("pre", self._scripts.pre_retry, variables, reporter)

    def after(
        self, variables: Mapping[str, str], reporter: Reporter | None = None, *, error: BaseException | None = None
    ) -> None:
        """Run what comes after the action, also after one that failed with error; nothing they say matters any more."""
        known = {**variables, "BARMAN_ERROR": "" if error is None else str(error) or type(error).__name__}
        try:
            self._run_retry("post", self._scripts.post_retry, known, reporter)
        except HookAborted as aborted:
            _log.warning("%s; it is too late for that", aborted)
        self._run_plain("post", self._scripts.post, known)

    def _run_plain(self, phase: str, script: str | None, variables: Mapping[str, str]) -> None:
        if script is not None:
            self._run(phase, script, variables, retry=False)

    def _run_retry(
        self, phase: str, script: str | None, variables: Mapping[str, str], reporter: Reporter | None
    ) -> None:
        if script is None:
            return
        attempts = 0
        while True:
            status = self._run(phase, script, variables, retry=True)
            if status in {_DONE, _CONTINUE}:
                return
            if status == _STOP:
                raise HookAborted(f"{self._describe(phase, retry=True)} says stop: {script}")
            attempts += 1
            pause_s = _LONG_PAUSE_S if attempts % (_SHORT_PAUSES + 1) == 0 else _SHORT_PAUSE_S
            if reporter is not None and (attempts == 1 or pause_s == _LONG_PAUSE_S):
                # Nobody who waits in front of a terminal would know why.
                name = self._describe(phase, retry=True)
                reporter.warning(
                    f"{name} failed (attempt {attempts}), and is run again in {pause_s} seconds, "
                    f"until it ends with 0, 62 or 63: {script}"
                )
            self._sleep(pause_s)

    def _run(self, phase: str, script: str, variables: Mapping[str, str], *, retry: bool) -> int:
        """Run script once and return its exit status, 127 if it cannot be started or does not end in time."""
        name = self._describe(phase, retry=retry)
        own = {
            **self._common,
            "BARMAN_HOOK": f"{self._event.value}_{'retry_' if retry else ''}script",
            "BARMAN_PHASE": phase,
            "BARMAN_RETRY": str(int(retry)),
            "BARMAN_ERROR": "",
        }
        _log.debug("running %s: %s", name, script)
        try:
            env = environment(self._path_prefix, **{**own, **variables})
            ended = run_shell(script, timeout_s=self._timeout_s, check=False, env=env)
        except CommandError as error:
            _log.warning("%s: %s", name, error)
            return _NOT_RUN
        for line in ended.stdout.splitlines():
            _log.debug("%s: %s", name, line)
        for line in ended.stderr.splitlines():
            _log.warning("%s: %s", name, line)
        if ended.status != 0:
            _log.warning("%s ended with exit status %s: %s", name, ended.status, script)
        return ended.status

    def _describe(self, phase: str, *, retry: bool) -> str:
        return f"{phase}_{self._event.value}_{'retry_' if retry else ''}script"
