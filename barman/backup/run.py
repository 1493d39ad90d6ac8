"""Taking a base backup: the walk from the request to a record that says DONE, or why not."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from barman.backup.closing import PrimaryNudge, close_last_segment
from barman.backup.finalise import check_backup
from barman.backup.flow import run_post_hooks, take_backup
from barman.backup.incremental import checksum_warning
from barman.backup.prepare import prepare
from barman.catalog import chains
from barman.catalog.identity import write_identity
from barman.catalog.record import BackupType, Status
from barman.errors import BarmanError, LockBusy, StorageError, Terminated
from barman.host.files import make_directories
from barman.postgres.versions import major_version
from barman.retention.delete import purge_before_first_backup
from barman.wal.archive import archive_wal
from barman.wal.continuity import read_histories
from barman.wal.needs import may_become_complete, stand_ins
from barman.wal.wait import wait_for_delivery, wait_for_wal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from barman.backup.executor import Job
    from barman.backup.prepare import Prepared
    from barman.backup.request import BackupRequest
    from barman.catalog.record import BackupId, BackupRecord
    from barman.host.ssh import Logins
    from barman.postgres.facts import ServerFacts
    from barman.progress import Reporter
    from barman.server import Server

_log = logging.getLogger(__name__)

# PostgreSQL, asked to, would wait for its archive_command at the end of a backup; for ever, if that cannot succeed.
_DELIVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class BackupReport:
    """A backup that was taken. record: DONE, or WAITING_FOR_WALS while its last WAL is on the way."""

    record: BackupRecord


def run_backup(
    server: Server, request: BackupRequest, reporter: Reporter, *, logins: Logins | None = None
) -> BackupReport:
    """Take one base backup of server and return when every byte of it is on stable storage.

    Nothing is written unless configuration, catalogue and PostgreSQL agree that it can be taken. From then on there is
    a record: whatever goes wrong, interrupts included, is noted in it as FAILED, with the reason, and raised. Killed
    without a word, the record stays EMPTY or STARTED, and the next backup does not mind.

    logins: server.source_logins of the settings with the request's overrides, perhaps begun; they are closed as soon
    as nothing more is copied. None: made here if they are needed.

    LockBusy if somebody backs up, deletes or imports; other BarmanError and OSError name what failed.
    """
    settings = request.overrides.applied_to(server.settings)
    with contextlib.ExitStack() as held:
        held.enter_context(server.locks.backup())
        logins = logins or server.source_logins(settings)
        if logins is not None:
            held.enter_context(logins)
        prepared = prepare(server, settings, request, reporter, logins)
        _make_home(server, prepared.job.facts)
        earlier = server.backups.load()
        record = take_backup(prepared, request)
        record = _complete(prepared, request, record)
        if not settings.worm_mode and not _has_predecessor(earlier):
            purge_before_first_backup(server, record)
        _warn(prepared, record)
    return BackupReport(record)


def _make_home(server: Server, facts: ServerFacts) -> None:
    try:
        for directory in server.paths.directories:
            make_directories(directory)
    except OSError as error:
        raise StorageError(f"cannot make directory {error.filename}: {error.strerror}") from error
    write_identity(server.paths, facts.system_identifier, major_version(facts.version_num))


def _complete(prepared: Prepared, request: BackupRequest, record: BackupRecord) -> BackupRecord:
    """See to it that the backup becomes DONE if that is possible now."""
    job = prepared.job
    close_last_segment(job, record)
    if request.wait:
        _wait(job, request, record)
        record = _check(job, record)
    run_post_hooks(job, record)
    if not request.wait and job.settings.archiver and record.type is BackupType.RSYNC and record.end_wal is not None:
        wait_for_delivery(job.server, record.end_wal, _DELIVERY_S)
    try:
        archive_wal(job.server, job.reporter)
    except LockBusy as error:
        _log.info("%s", error)
    except BarmanError as error:
        job.reporter.warning(f"the backup is safe, but WAL cannot be archived: {error.message}")
    return _check(job, record) if record.status is Status.WAITING_FOR_WALS else record


def _wait(job: Job, request: BackupRequest, record: BackupRecord) -> None:
    job.reporter.info(f"Waiting for the WAL file {record.end_wal} from server '{job.server.name}'")
    try:
        is_here = wait_for_wal(
            job.server,
            record.end_wal,
            request.wait_timeout_s,
            job.reporter,
            nudge=PrimaryNudge(job) if job.facts.in_recovery else None,
            is_replaced=lambda: _has_stand_in(job, record),
        )
    except Terminated:
        run_post_hooks(job, record)
        raise
    except KeyboardInterrupt:
        job.reporter.warning(f"no longer waiting for the WAL file {record.end_wal}; the copy itself is complete")
        return
    except BarmanError as error:
        # As without waiting: what the archive suffers from does not spoil the copy.
        job.reporter.error(
            f"backup {record.backup_id} of server {job.server.name} is complete, and its WAL cannot be archived: "
            f"{error.message}"
        )
        return
    if not is_here:
        job.reporter.error(
            f"the WAL file {record.end_wal} was not received within {request.wait_timeout_s:g} seconds; "
            f"backup {record.backup_id} of server {job.server.name} stays in {record.status.value}"
        )


def _has_stand_in(job: Job, record: BackupRecord) -> bool:
    """Whether the end of the backup is archived on a newer timeline, after a failover."""
    archive = job.server.wal_archive
    return any(map(archive.exists, stand_ins(record, read_histories(archive))))


def _check(job: Job, record: BackupRecord) -> BackupRecord:
    try:
        return check_backup(job.server, record.backup_id, job.reporter)
    except LockBusy as error:
        # Cron is looking at it this moment.
        _log.info("%s", error)
        return job.server.backups.get(record.backup_id)
    except BarmanError as error:
        job.reporter.error(
            f"backup {record.backup_id} of server {job.server.name} is complete, and its WAL cannot be checked: "
            f"{error.message}"
        )
        return record


def _has_predecessor(earlier: Mapping[BackupId, BackupRecord]) -> bool:
    """Whether an earlier backup needs WAL from before this one, or will when a late file arrives."""
    return any(record.is_copy_done or may_become_complete(record) for record in earlier.values())


def _warn(prepared: Prepared, record: BackupRecord) -> None:
    reporter, server = prepared.job.reporter, prepared.job.server
    if record.parent_backup_id is not None:
        ancestors = chains.chain(server.backups.load(), record.backup_id)[:-1]
        warning = checksum_warning(record, ancestors)
        if warning is not None:
            reporter.warning(warning)
    if record.status is Status.WAITING_FOR_WALS:
        reporter.warning(
            f"backup {record.backup_id} of server {server.name} is WAITING_FOR_WALS: it can be restored for certain "
            f"when its WAL up to {record.end_wal} is archived, which cron sees to"
        )
