"""From nothing to a complete copy, with the record following every step."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from barman.backup.positions import describe_position
from barman.catalog.hook_variables import backup_variables
from barman.catalog.record import Status, render_record
from barman.errors import BackupFailed, BarmanError, CatalogError, LockBusy, Terminated
from barman.host import clock
from barman.host.files import make_directories
from barman.host.hooks import Event
from barman.host.reserve import Reserve
from barman.human import pretty_interval, pretty_percent, pretty_size

if TYPE_CHECKING:
    from barman.backup.executor import Job
    from barman.backup.prepare import Prepared
    from barman.backup.request import BackupRequest
    from barman.catalog.record import BackupRecord

_log = logging.getLogger(__name__)

# Each takes a fraction of a second; who changes a record does not take longer.
_LINK_ATTEMPTS = 20
# So often a signal may come while a failure is being noted.
_ATTEMPTS = 5
# Files with damaged pages that the output names; the report has all.
_MOST_TOLD = 20


def take_backup(prepared: Prepared, request: BackupRequest) -> BackupRecord:
    """Copy the cluster and return its record, saved as WAITING_FOR_WALS: the copy is complete and durable.

    On any exception the executor is stopped, the record says FAILED and why, the post hooks have run, and it is raised:
    interrupts as they are, everything else as BackupFailed.
    """
    with ExitStack() as cleanup:
        flow = _Flow(prepared, cleanup)
        try:
            record = flow.run(request)
        except BaseException as failure:
            error = flow.fail(failure)
            if isinstance(failure, Exception):
                raise error from failure
            raise
        # Whatever becomes of the words, the backup is complete.
        flow.conclude(record)
        return record


class _Flow:
    def __init__(self, prepared: Prepared, cleanup: ExitStack) -> None:
        self._cleanup = cleanup
        self._reserve: Reserve | None = None
        self._job = prepared.job
        self._executor = prepared.executor
        self._cluster_size = prepared.cluster_size
        self._catalog = prepared.job.server.backups
        self._known = frozenset(self._catalog.load())
        self._record: BackupRecord | None = None
        self._started = clock.now()

    def run(self, request: BackupRequest) -> BackupRecord:
        """Do all the steps, in order."""
        record = self._record = self._create(request)
        paths = self._job.server.paths
        self._reserve = self._cleanup.enter_context(Reserve(paths.record_file(record.backup_id)))
        self._link_to_parent(record)
        make_directories(paths.backup_dir(record.backup_id))
        self._announce(record)
        self._job.action = "running the pre-backup hooks"
        run_pre_hooks(self._job, record)
        self._job.action = "starting backup"
        record = self._save(replace(self._executor.start(record), status=Status.STARTED))
        self._tell(
            f"Backup start at LSN: {describe_position(record.begin_xlog, record.begin_wal, record.begin_offset)}"
        )
        self._tell(f"Starting backup copy via {self._executor.describe()} for {record.backup_id}")
        copy_began = clock.monotonic()
        record = self._executor.copy(record)
        self._tell(f"Copy done (time: {pretty_interval(timedelta(seconds=clock.monotonic() - copy_began))})")
        self._tell("Finalising the backup.")
        record = self._executor.stop(record)
        self._judge_pages(record, fails=request.fail_on_checksum)
        record = self._executor.make_durable(record)
        self._job.action = "saving the record of the backup"
        return self._save(replace(record, status=Status.WAITING_FOR_WALS))

    def fail(self, failure: BaseException) -> BackupFailed:
        """End what is going on, note the reason, run the hooks; return the error to tell."""
        reason = describe_failure(failure)
        action, server = self._job.action, self._job.server
        record = None
        for _ in range(_ATTEMPTS):
            try:
                self._executor.abort()
                record = self._note_failure(f"failure {action} ({reason})")
                break
            except KeyboardInterrupt:
                # Asked to end once more; that is what we are doing.
                continue
        name = "backup" if record is None else f"backup {record.backup_id}"
        error = BackupFailed(
            f"{name} of server {server.name} failed {action}: {reason}",
            backup_id=None if record is None else record.backup_id,
            hint=getattr(failure, "hint", None),
        )
        if record is not None:
            if not isinstance(failure, Exception):
                self._job.reporter.warning(
                    f"{name} of server {server.name} is recorded as {record.status.value}: {reason}"
                )
            run_post_hooks(self._job, record, error=error)
        return error

    def _create(self, request: BackupRequest) -> BackupRecord:
        job = self._job
        facts, parent = job.facts, job.parent
        job.action = "creating the record of the backup"
        return self._catalog.new_record(
            clock.now(),
            backup_name=request.name,
            cluster_size=self._cluster_size,
            config_file=facts.config_file,
            data_checksums=facts.data_checksums,
            hba_file=facts.hba_file,
            ident_file=facts.ident_file,
            included_files=facts.included_files or None,
            mode=self._executor.mode,
            parent_backup_id=None if parent is None else parent.backup_id,
            pgdata=facts.data_directory,
            server_name=job.server.name,
            summarize_wal=facts.summarize_wal,
            systemid=facts.system_identifier,
            # Tablespaces within the data directory have no location of their own, and are copied with it.
            tablespaces=tuple(found for found in facts.tablespaces if found.location.startswith("/")) or None,
            version=facts.version_num,
            xlog_segment_size=facts.segment_size,
        )

    def _link_to_parent(self, record: BackupRecord) -> None:
        """Write the new child into its parent's record; at once, so that whoever deletes the parent knows of it."""
        if record.parent_backup_id is None:
            return
        locks = self._job.server.locks
        for _ in range(_LINK_ATTEMPTS):
            try:
                # Shared with a restore of the parent, which may take hours and does not mind.
                with locks.lease(record.parent_backup_id, "starting an incremental backup on"):
                    # The catalogue finds a backup's children by their links to it.
                    self._catalog.save(self._catalog.get(record.parent_backup_id))
            except LockBusy as busy:
                _log.info("%s", busy)
            else:
                return
        # The catalogue finds the child by its own link, and whoever changes the parent next writes the other one.
        _log.warning(
            "the record of backup %s does not name its child %s yet", record.parent_backup_id, record.backup_id
        )

    def _announce(self, record: BackupRecord) -> None:
        server, method = self._job.server, self._job.settings.backup_method
        directory = server.paths.backup_dir(record.backup_id)
        self._tell(f"Starting backup using {method} method for server {server.name} in {directory}")

    def _judge_pages(self, record: BackupRecord, *, fails: bool) -> None:
        """Keep what the page checksums said, and pass on what is damaged; CatalogError if that fails the backup."""
        report = self._job.pages
        if report is None:
            return
        self._job.action = "verifying page checksums"
        self._catalog.save_page_report(record.backup_id, report)
        if not report.damaged:
            return
        lines = list(report.lines())
        for line in lines[:_MOST_TOLD]:
            self._job.reporter.warning(f"damaged in {record.pgdata}: {line}")
        more = f" and {len(lines) - _MOST_TOLD} more" if len(lines) > _MOST_TOLD else ""
        found = f"{report.damaged} damaged pages of the cluster{more}"
        if fails:
            raise CatalogError(f"{found}, first in {lines[0]}" if lines else found)
        self._job.reporter.warning(
            f"backup {record.backup_id} of server {self._job.server.name} has {found}, as 'barman show-backup' tells; "
            "look after the cluster, and keep the last backup without them"
        )

    def conclude(self, record: BackupRecord) -> None:
        """Tell what was done."""
        size, own = record.size or 0, record.deduplicated_size or 0
        saved = (
            ""
            if size == own
            else (f". Actual size on disk: {pretty_size(own)} (-{pretty_percent(1 - own / size)} deduplication ratio).")
        )
        self._tell(f"Backup size: {pretty_size(size)}{saved}")
        self._tell(f"Backup end at LSN: {describe_position(record.end_xlog, record.end_wal, record.end_offset)}")
        begin = record.begin_time or self._started
        elapsed = pretty_interval(clock.now() - self._started)
        self._tell(f"Backup completed (start time: {begin.astimezone():%Y-%m-%d %H:%M:%S.%f}, elapsed time: {elapsed})")

    def _save(self, record: BackupRecord) -> BackupRecord:
        self._catalog.save(record)
        self._record = record
        return record

    def _note_failure(self, error: str) -> BackupRecord | None:
        """Save the record as FAILED if that is possible at all; None if there is no record."""
        current = self._record or self._abandoned()
        if current is None:
            return None
        record = replace(current, status=Status.FAILED, error=error, end_time=clock.now())
        try:
            return self._save(record)
        except (BarmanError, OSError) as failure:
            _log.warning("cannot save that backup %s has failed: %s", record.backup_id, failure)
        try:
            if self._reserve is not None:
                self._reserve.replace(render_record(record).encode(errors="surrogateescape"))
                return record
        except OSError as failure:
            _log.error("backup %s has failed, and its record cannot say so: %s", record.backup_id, failure)
        return current

    def _abandoned(self) -> BackupRecord | None:
        """Return the record that was being created when an interrupt came; we hold the lock, so it is ours."""
        try:
            created = [record for backup_id, record in self._catalog.load().items() if backup_id not in self._known]
        except (BarmanError, OSError):
            return None
        return created[0] if created else None

    def _tell(self, message: str) -> None:
        self._job.reporter.info(message)


def run_pre_hooks(job: Job, record: BackupRecord) -> None:
    """Run the hooks that come before a backup; HookAborted if one says stop."""
    hooks = job.server.hooks(Event.BACKUP)
    if hooks:
        hooks.before(backup_variables(job.server.paths, job.server.backups.load(), record), job.reporter)


def run_post_hooks(job: Job, record: BackupRecord, *, error: BackupFailed | None = None) -> None:
    """Run the hooks that come after a backup, whatever became of it."""
    hooks = job.server.hooks(Event.BACKUP)
    if hooks:
        variables = backup_variables(job.server.paths, job.server.backups.load(), record)
        hooks.after(variables, job.reporter, error=error)


def describe_failure(failure: BaseException) -> str:
    """Return why it failed, in one line: of an OSError the text and the file, of an interrupt who asked for it."""
    if isinstance(failure, Terminated):
        return "terminated by a signal"
    if isinstance(failure, KeyboardInterrupt):
        return "interrupted by the user"
    if isinstance(failure, OSError):
        text = failure.strerror or str(failure)
        return f"{text}: {failure.filename}" if failure.filename else text
    text = failure.message if isinstance(failure, BarmanError) else f"{type(failure).__name__}: {failure}"
    return " ".join(text.split("\n")[0].split()) or type(failure).__name__
