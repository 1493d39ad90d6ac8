"""Base backups by copying files between the begin and the end of a low-level backup (rsync and local-rsync)."""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from barman.backup.copier import Copier, Previous
from barman.backup.copy_plan import safe_horizon
from barman.backup.copy_stats import CopyTimes
from barman.backup.durable import make_tree_durable
from barman.backup.first_look import look
from barman.backup.label import read_label
from barman.backup.page_check import PageCheck
from barman.backup.positions import begin_at, end_at
from barman.backup.source_tree import CONTROL_FILE, LABEL_FILE, VERSION_FILE, files_outside, trees_of
from barman.catalog import selection
from barman.errors import (
    BarmanError,
    CatalogError,
    CommandError,
    ConfigError,
    ConnectionFailed,
    LockBusy,
    PostgresError,
    Refused,
)
from barman.host import clock, reflink
from barman.host.files import write_durably
from barman.host.ssh import parse_ssh_command
from barman.host.workers import Workers
from barman.postgres.backup_label import parse_backup_label
from barman.postgres.lsn import parse_lsn
from barman.postgres.page_checksums import PAGE_SIZE
from barman.postgres.versions import Feature, major_version, supports, version_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from barman.backup.copier import Lane
    from barman.backup.executor import Job
    from barman.backup.first_look import Sight
    from barman.catalog.record import BackupRecord
    from barman.host.ssh import Logins
    from barman.postgres.backup_session import BackupSession

_log = logging.getLogger(__name__)

# Of a relation in one file, unless PostgreSQL was built otherwise: 1 GiB.
_SEGMENT_BLOCKS = 131072


class RsyncExecutor:
    """A copy of the cluster's files while PostgreSQL keeps the WAL that makes them consistent."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._server = job.server
        self._settings = job.settings
        self._logins = _logins(job)
        self._host = "this host" if self._logins is None else self._logins.shell.name
        self._exclusive = "exclusive_backup" in job.settings.backup_options
        self._sight: Sight | None = None
        self._session: BackupSession | None = None
        self._has_begun = False
        self._keep_alive_at = 0.0
        self._pages: PageCheck | None = None
        self._clones = False
        self.mode = "rsync-exclusive" if self._exclusive else "rsync-concurrent"

    def describe(self) -> str:
        """Say how it copies."""
        jobs = self._settings.parallel_jobs
        how = "local rsync" if self._logins is None else "rsync over SSH"
        return how if jobs <= 1 else f"{how} ({jobs} jobs)"

    def require_possible(self) -> None:
        """Raise unless the server's files can be reached, are those of the server we talk to, and fit the settings."""
        facts = self._job.facts
        if self._exclusive and not supports(facts.version_num, Feature.EXCLUSIVE_BACKUP):
            raise Refused(
                f"exclusive backups are not possible with PostgreSQL {version_text(facts.version_num)}",
                hint="Set backup_options = concurrent_backup.",
            )
        if self._exclusive and facts.in_recovery:
            raise Refused(f"server {self._server.name} is a standby: exclusive backups can be taken of primaries only")
        if facts.data_directory is None:
            raise Refused(
                f"the role of conninfo may not see where the data directory of server {self._server.name} is",
                hint="Grant it pg_read_all_settings.",
            )
        if self._logins is not None:
            # While PostgreSQL is asked to begin, all workers can be let in.
            self._logins.begin(max(1, self._settings.parallel_jobs))
        self._sight = look(
            facts.data_directory, self._logins, host=self._host, env=self._server.environment(), label=self._exclusive
        )
        found = self._sight.system_identifier
        if found != facts.system_identifier:
            raise Refused(
                f"{facts.data_directory} on {self._host} is of another cluster than conninfo leads to "
                f"(system identifiers {found} and {facts.system_identifier})",
                hint="conninfo and ssh_command must lead to the same host, and to the same of its clusters.",
            )

    def start(self, record: BackupRecord) -> BackupRecord:
        """Begin the backup, which stays begun as long as the session lasts."""
        self._job.action = "issuing start backup command"
        session = self._session = self._server.backup_session()
        session.connect()
        if self._exclusive:
            self._end_abandoned(session)
        label = f"{self._label}{record.backup_id}"
        self._has_begun = True
        try:
            begin = session.start(label, fast=self._settings.immediate_checkpoint, exclusive=self._exclusive)
        except PostgresError as error:
            # Refused, perhaps because of another's backup, which is not ours to end.
            self._has_begun = isinstance(error, ConnectionFailed)
            raise
        self._keep_alive_at = clock.monotonic() + self._settings.keepalive_interval
        # A tablespace made since the facts were asked is in no WAL that will be replayed.
        tablespaces = tuple(found for found in session.facts().tablespaces if found.location.startswith("/"))
        record = replace(record, begin_time=begin.time, tablespaces=tablespaces or None)
        return begin_at(record, parse_lsn(begin.lsn), begin.timeline)

    def copy(self, record: BackupRecord) -> BackupRecord:
        """Copy everything, the control file last."""
        self._job.action = "copying files"
        pgdata = record.pgdata or ""
        jobs = max(1, self._settings.parallel_jobs)
        times, began = CopyTimes(), clock.monotonic()
        with self._previous(record) as previous, self._lanes(jobs) as lanes, contextlib.ExitStack() as held:
            copier: Copier
            workers: Workers[Lane] = Workers(lanes, on_tick=lambda: self._tick(copier))
            if self._can_verify():
                self._pages = self._page_check(record, workers)
                held.callback(self._pages.close)
            copier = Copier(
                workers,
                self._server.paths.backup_dir(record.backup_id),
                host=self._host,
                environment=self._server.environment(),
                settings=self._settings,
                previous=previous,
                pages=self._pages,
                times=times,
                reporter=self._job.reporter,
            )
            in_place = tuple(found for found in self._job.facts.tablespaces if not found.location.startswith("/"))
            tablespaces = (*(record.tablespaces or ()), *in_place)
            trees = trees_of(pgdata, tablespaces, record.version or 0, exclusive=self._exclusive)
            copier.copy(trees, lanes=jobs)
            self._copy_outside(copier, record, pgdata)
            copier.copy_file(f"{pgdata}/{CONTROL_FILE}", "data/global", label="pg_control")
            copier.finish()
        self._require_whole(record)
        return replace(record, copy_stats=times.stats(total_s=clock.monotonic() - began, workers=jobs))

    def stop(self, record: BackupRecord) -> BackupRecord:
        """End the backup and write its label."""
        self._job.action = "issuing stop of the backup"
        self._job.reporter.info("Asking PostgreSQL server to finalize the backup.")
        session = self._required_session()
        end = session.stop(exclusive=self._exclusive)
        self._has_begun = False
        if self._pages is not None:
            self._job.pages = self._pages.report(parse_lsn(end.lsn))
        session.close()
        self._job.action = "writing backup label"
        data = self._server.paths.data_dir(record.backup_id)
        if end.label is not None:
            write_durably(data / LABEL_FILE, os.fsencode(end.label), mode=0o600)
        if end.tablespace_map is not None:
            write_durably(data / "tablespace_map", os.fsencode(end.tablespace_map), mode=0o600)
        text = read_label(data)
        label = parse_backup_label(text)
        record = begin_at(replace(record, backup_label=text), parse_lsn(label.start_lsn), label.timeline)
        timeline = max(label.timeline, end.timeline or 0)
        return end_at(replace(record, end_time=end.time), parse_lsn(end.lsn), timeline)

    def make_durable(self, record: BackupRecord) -> BackupRecord:
        """Flush the copy."""
        self._job.action = "flushing the backup to disk"
        return make_tree_durable(
            record,
            self._server.paths.backup_dir(record.backup_id),
            self._job.reporter,
            shares=self._clones,
            links_are_durable=True,
        )

    def abort(self) -> None:
        """End the backup on the server: a concurrent one ends with its session, an exclusive one must be told."""
        session, self._session = self._session, None
        if session is None:
            return
        begun, self._has_begun = self._has_begun, False
        try:
            if begun and self._exclusive:
                # Over a new connection: the old one may be what failed.
                session.close()
                with self._server.backup_session() as other:
                    other.stop(exclusive=True)
        except BarmanError as error:
            _log.warning("the exclusive backup of server %s cannot be ended: %s", self._server.name, error)
        finally:
            session.close()

    @property
    def _label(self) -> str:
        """What the labels of this server's backups begin with; the id follows."""
        return f"Barman backup {self._server.name} "

    def _end_abandoned(self, session: BackupSession) -> None:
        """End an exclusive backup of ours whose process was killed: PostgreSQL would take no other."""
        found = self._sight.label if self._sight is not None else None
        label = parse_backup_label(found).label or "" if found else ""
        if label.startswith(self._label) and label.removeprefix(self._label) in self._server.backups.load():
            self._job.reporter.warning(f"ending the exclusive backup that was left over on the server: {label}")
            session.stop(exclusive=True)

    def _tick(self, copier: Copier) -> None:
        """Look after the session while files are copied; ConnectionFailed when it is lost, and the backup with it."""
        session, interval_s = self._required_session(), self._settings.keepalive_interval
        session.require_alive()
        if interval_s and clock.monotonic() >= self._keep_alive_at:
            session.keep_alive()
            self._keep_alive_at = clock.monotonic() + interval_s
        copier.tick()

    def _required_session(self) -> BackupSession:
        if self._session is None:
            raise CatalogError("the backup was not begun")
        return self._session

    @contextlib.contextmanager
    def _lanes(self, count: int) -> Iterator[Sequence[Lane]]:
        """Yield what as many workers reach the source by; nobody is logged in there any more after the block."""
        if self._logins is None:
            yield [None] * count
            return
        with self._logins:
            yield self._logins.lanes(count)

    @contextlib.contextmanager
    def _previous(self, record: BackupRecord) -> Iterator[Previous | None]:
        """Yield the backup whose files may serve again, which cannot be deleted meanwhile."""
        reuse = self._settings.reuse_backup
        found = None
        if reuse in ("link", "copy", "reflink"):
            found = selection.previous_backup(self._server.backups.load(), record.backup_id)
        if found is None or not _is_usable(found, record) or found.begin_time is None:
            yield None
            return
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(self._server.locks.lease(found.backup_id, "copying files anew beside"))
            except LockBusy as error:
                self._job.reporter.warning(f"no files of backup {found.backup_id} are used again: {error.message}")
                yield None
                return
            directory = self._server.paths.backup_dir(found.backup_id)
            report = self._server.backups.page_report(found.backup_id)
            damaged = frozenset((page.tree, page.file) for page in (report.pages if report else ()))
            self._clones = reuse == "reflink" and self._can_clone(record)
            horizon = safe_horizon(found.begin_time) if self._is_of_same_directory(found, record) else 0
            yield Previous(directory, reuse != "copy", self._clones, horizon, damaged)

    def _is_of_same_directory(self, found: BackupRecord, record: BackupRecord) -> bool:
        """Whether an earlier backup is of the very directory that is copied now, and not of a standby of it.

        On another host, or after a failover, files of the same size and time may differ all the same.
        """
        try:
            born = int(os.stat(self._data(found) / VERSION_FILE).st_mtime)
        except OSError:
            return False
        was_standby = "BACKUP FROM: standby" in (found.backup_label or "")
        return (
            self._sight is not None
            and born == self._sight.born
            and found.timeline == record.timeline
            and was_standby == self._job.facts.in_recovery
        )

    def _can_clone(self, record: BackupRecord) -> bool:
        """Whether files of the backup may share blocks with others; a warning says that they cannot."""
        directory = self._server.paths.backup_dir(record.backup_id)
        if reflink.is_possible(directory):
            return True
        self._job.reporter.warning(
            f"reuse_backup = reflink works as link: the file system of {directory} cannot share parts of files"
        )
        return False

    def _can_verify(self) -> bool:
        """Whether the cluster has page checksums, in pages of the usual size."""
        facts = self._job.facts
        return facts.data_checksums == "on" and facts.setting("block_size") == str(PAGE_SIZE)

    def _page_check(self, record: BackupRecord, workers: Workers[Lane]) -> PageCheck:
        return PageCheck(
            begin_lsn=parse_lsn(record.begin_xlog or "0/0"),
            segment_blocks=int(self._job.facts.setting("segment_size") or _SEGMENT_BLOCKS),
            check=workers.check,
        )

    def _copy_outside(self, copier: Copier, record: BackupRecord, pgdata: str) -> None:
        """Copy the configuration files that lie elsewhere, to where they are looked for without that configuration."""
        files = {"config_file": record.config_file, "hba_file": record.hba_file, "ident_file": record.ident_file}
        for label, path in files_outside(pgdata, files).items():
            copier.copy_file(path, "data", label=label)
            if label != "ident_file" and not (self._data(record) / os.path.basename(path)).is_file():
                raise CommandError(f"cannot copy from {self._host}: there is no {path}")

    def _require_whole(self, record: BackupRecord) -> None:
        """CatalogError unless what no cluster is without has been copied."""
        for name in (VERSION_FILE, CONTROL_FILE):
            path = self._data(record) / name
            if not path.is_file():
                raise CatalogError(f"{record.pgdata} on {self._host} is no data directory: it has no {name}")

    def _data(self, record: BackupRecord) -> Path:
        return self._server.paths.data_dir(record.backup_id)


def _logins(job: Job) -> Logins | None:
    """Return how the cluster's host is reached; None: it is this one."""
    settings = job.settings
    if settings.backup_method == "local-rsync":
        return None
    if settings.ssh_command is None:
        raise ConfigError(f"server {job.server.name}: backup_method = rsync needs an ssh_command")
    if job.logins is None:
        # The reason why there are none.
        parse_ssh_command(settings.ssh_command)
    return job.logins


def _is_usable(found: BackupRecord, record: BackupRecord) -> bool:
    """Whether files of an earlier backup can be those of this one: plain files of the same cluster and version."""
    return (
        found.mode is not None
        and found.mode.startswith("rsync")
        and found.systemid == record.systemid
        and major_version(found.version or 0) == major_version(record.version or 0)
    )
