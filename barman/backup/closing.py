"""Getting the last WAL segment of a backup handed over without waiting for traffic on the server."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from barman.errors import PostgresError
from barman.host.clock import monotonic

if TYPE_CHECKING:
    from barman.backup.executor import Job
    from barman.catalog.record import BackupRecord

_log = logging.getLogger(__name__)

_MOST_SWITCHES = 10


def close_last_segment(job: Job, record: BackupRecord) -> None:
    """Mark the end of the backup with a restore point on a primary, and have its last segment closed; never fails.

    PostgreSQL closes the last segment itself when a backup of a primary ends; one more segment is closed after it,
    because a receiver of streamed WAL keeps its newest segment back, and the restore point is to be usable soon.
    """
    if job.facts.in_recovery:
        switch_primary(job)
        return
    try:
        with job.server.postgres() as postgres:
            postgres.create_restore_point(f"barman_{record.backup_id}")
            postgres.switch_wal()
    except PostgresError as error:
        _log.warning("no restore point or WAL switch at the end of backup %s: %s", record.backup_id, error)


def switch_primary(job: Job, *, checkpoint: bool = False) -> None:
    """Have the primary of a standby switch WAL, if primary_conninfo says where it is; never fails.

    checkpoint: do one first, which writes WAL, because without any there is nothing to switch.
    """
    primary = job.server.primary_postgres()
    if primary is None:
        return
    try:
        with primary:
            if checkpoint:
                primary.checkpoint()
            closed = primary.switch_wal().closed
        _log.info("WAL switch on the primary of server %s closed %s", job.server.name, closed or "nothing")
    except PostgresError as error:
        _log.warning("cannot switch WAL on the primary of server %s: %s", job.server.name, error)


class PrimaryNudge:
    """Called every few seconds while WAL of a standby is waited for: switches WAL on its primary, a few times.

    The first call does nothing: close_last_segment has just done it. When all that does not help within
    primary_checkpoint_timeout seconds, and that option is not 0, a checkpoint and one more switch follow.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._switches = -1
        timeout_s = job.settings.primary_checkpoint_timeout
        self._checkpoint_at = monotonic() + timeout_s if timeout_s else None

    def __call__(self) -> None:
        """Do what is due."""
        if self._checkpoint_at is not None and monotonic() >= self._checkpoint_at:
            self._checkpoint_at = None
            switch_primary(self._job, checkpoint=True)
            return
        self._switches += 1
        if 0 < self._switches <= _MOST_SWITCHES:
            switch_primary(self._job)
