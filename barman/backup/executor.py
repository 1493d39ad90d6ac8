"""The port between the flow of a backup and a way to copy a running cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from barman.catalog.page_report import PageReport
    from barman.catalog.record import BackupRecord
    from barman.config.settings import ServerSettings
    from barman.host.ssh import Logins
    from barman.postgres.facts import ServerFacts
    from barman.progress import Reporter
    from barman.server import Server


@dataclass(slots=True)
class Job:
    """What an executor works with for the time of one backup.

    settings: those of the server with the request's overrides applied; always these, never server.settings.
    facts: what PostgreSQL said of itself when the backup began. parent: of an incremental backup. action: what is
    being done, as it will stand in the record should it fail ("copying files"); the executor keeps it current.
    logins: on the host whose files are copied, the first perhaps made already; None: nobody needs any.
    pages: what the page checksums said, once the executor has stopped; None if nobody looked.
    """

    server: Server
    settings: ServerSettings
    facts: ServerFacts
    reporter: Reporter
    parent: BackupRecord | None = None
    logins: Logins | None = None
    action: str = "starting backup"
    pages: PageReport | None = None


class Executor(Protocol):
    """One way to take a base backup; an object serves one backup.

    It is asked in this order: require_possible, start, copy, stop, make_durable; or abort at any point. Each of the
    four after the first takes the record as it stands and returns it with what it learnt filled in; saving it is the
    caller's. They raise BarmanError, or OSError for the local file system, after which, as after an interrupt, the
    caller calls abort and nothing else. A method that repeats something on failure does so by itself, as the settings
    say.
    """

    mode: str
    """The record's mode, which also says how the backup can be restored."""

    def describe(self) -> str:
        """Say how it copies, to stand in a sentence: "pg_basebackup", "rsync over SSH (2 jobs)"."""

    def require_possible(self) -> None:
        """Raise, before anything is written anywhere, if this backup cannot be taken."""

    def start(self, record: BackupRecord) -> BackupRecord:
        """Begin the backup on the server and set begin_time and begin_*; these may be provisional until stop.

        A provisional begin is never later than the true one.
        """

    def copy(self, record: BackupRecord) -> BackupRecord:
        """Bring everything over, below the backup's directories; set copy_stats and compression.

        Whatever an earlier attempt left there is removed or overwritten.
        """

    def stop(self, record: BackupRecord) -> BackupRecord:
        """End the backup on the server; set timeline, begin_*, end_* and backup_label as they really are.

        end_wal is the last segment a restore cannot do without.
        """

    def make_durable(self, record: BackupRecord) -> BackupRecord:
        """Return when every byte of the backup, and the path to it, survives a power cut; set the sizes."""

    def abort(self) -> None:
        """End what is still going on, here and on the server, within seconds; what was copied stays.

        Never raises for what the server or the medium does, may be called more than once, and at any point.
        """
