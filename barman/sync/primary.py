"""Talking to the Barman that a server is copied from, over logins that are shared."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from barman.catalog.page_report import parse_report
from barman.catalog.record import BackupId
from barman.errors import CatalogError, CommandError, Permanent, Unreachable
from barman.host.session import NOT_FOUND, Session
from barman.sync.document import parse_answer, parse_keep

if TYPE_CHECKING:
    from barman.catalog.page_report import PageReport
    from barman.catalog.record import KeepTarget
    from barman.host.runner import Completed
    from barman.host.ssh import Logins
    from barman.server import Server
    from barman.sync.document import Position, PrimaryState

_log = logging.getLogger(__name__)

# The answer holds a line for every WAL file, a hundred megabytes for a million.
_ANSWER_LIMIT_S = 600.0
# Where 3.19 and its predecessors keep the marks. A shell that greets must not be taken for one.
_READ_KEEPS = r"""
for file in "$1"/meta/*-keep "$2"/*/annotations/keep; do
    [ -f "$file" ] && printf 'keep %s %s\n' "$file" "$(cat "$file")"
done
exit 0
"""
_KEEP = re.compile(r"keep .*?(\d{8}T\d{6})(?:-keep|/annotations/keep) ?(.*)")


class Primary:
    """The primary of a passive server."""

    def __init__(self, server: Server, logins: Logins, *, limit_s: float = _ANSWER_LIMIT_S) -> None:
        """server: ours. logins: on the primary, perhaps begun. limit_s: of an answer."""
        self._server = server
        self._logins = logins
        self._limit_s = limit_s

    def session(self, *, logins: int = 1) -> Session:
        """Return what is not asked of its Barman goes by, once we are logged in; Unreachable.

        logins: how many transfers there will be at a time.
        """
        return Session(self._logins.shell.name, self._logins.lanes(logins), self._server.environment())

    def ask(self, position: Position | None) -> tuple[str, PrimaryState]:
        """Have it say what it has; return the text, and what it means.

        position: only the WAL behind it is of interest; None: all. What it no longer knows is asked for as a whole.
        CommandError, naming the reason, if there is no answer, Unreachable if the connection is cut or it takes too
        long; CatalogError if it makes no sense.
        """
        words = [position.name, *([str(position.offset)] if position.offset else [])] if position else []
        done = self._call(words)
        if done.status == 1 and words:
            _log.info("server %s: the primary does not know %s any more", self._server.name, " ".join(words))
            done = self._call([])
        if done.status != 0:
            raise self._no_answer(done.status, done.stderr)
        try:
            return done.stdout, parse_answer(done.stdout)
        except CatalogError as error:
            raise CatalogError(
                f"the answer of the primary {self._logins.shell.name} is of no use: {error.message}",
                hint=f"See what 'barman sync-info {self._server.name}' prints there.",
            ) from error

    def keeps(self, state: PrimaryState) -> dict[BackupId, KeepTarget] | None:
        """Return how its backups are kept for ever; None if it does not let us look.

        sync-info does not tell, so its annotations are read.
        """
        try:
            done = self.session().script(_READ_KEEPS, state.root, state.base)
        except CommandError as error:
            _log.warning("server %s: keep marks of the primary are not known: %s", self._server.name, error.message)
            return None
        found = {}
        for match in filter(None, map(_KEEP.fullmatch, done.stdout.splitlines())):
            target = parse_keep(match[2])
            if target is not None:
                found[BackupId(match[1])] = target
        return found

    def page_report(self, state: PrimaryState, backup_id: BackupId) -> PageReport | None:
        """Return what it found in the pages of a backup; None if it did not look, or does not let us read it."""
        try:
            content = self.session().read_file(f"{state.root}/meta/{backup_id}-pages.json")
            return None if content is None else parse_report(content)
        except (Permanent, ValueError) as error:
            _log.warning("server %s: page report of backup %s: %s", self._server.name, backup_id, error)
            return None

    def _call(self, words: list[str]) -> Completed:
        config = ["-c", str(self._server.config_path)] if self._server.settings.forward_config_path else []
        argv = ["barman", *config, "sync-info", self._server.name, *words]
        try:
            return self.session().run(argv, timeout_s=self._limit_s, check=False)
        except CommandError as error:
            # Cut or stuck: not to be waited for again with its next server.
            raise Unreachable(error.message, argv=argv, hint=error.hint) from error

    def _no_answer(self, status: int, stderr: str) -> CommandError:
        name = self._logins.shell.name
        lines = [line.strip() for line in stderr.splitlines() if line.strip()]
        if status == NOT_FOUND:
            return CommandError(
                f"there is no barman on the primary {name}, or not in the PATH of a login without terminal",
                status=status,
                hint=f"Try '{self._server.settings.primary_ssh_command} barman --version'.",
            )
        # Behind the error a hint may follow, and before it what the remote shell says.
        errors = [line for line in lines if line.startswith(("ERROR: ", "EXCEPTION: "))] or lines
        reason = errors[-1].partition(": ")[2] or errors[-1] if errors else f"exit status {status}"
        return CommandError(f"barman on the primary {name} cannot answer: {reason}", status=status, stderr=stderr)
