"""Saying in the records of backups whose process died without a word that they have failed."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from barman.catalog.record import Status
from barman.errors import LockBusy
from barman.wal.needs import is_abandoned

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from barman.catalog.record import BackupRecord
    from barman.progress import Reporter
    from barman.server import Server

_log = logging.getLogger(__name__)


def fail_abandoned(server: Server, records: Iterable[BackupRecord], reporter: Reporter, now: datetime) -> None:
    """Set the backups among records that were abandoned to FAILED, with the reason; none while a backup is running."""
    if not any(map(is_abandoned, records)):
        return
    try:
        with server.locks.backup():
            # As they are now that no backup runs.
            for record in filter(is_abandoned, server.backups.load().values()):
                _fail(server, record, reporter, now)
    except LockBusy as busy:
        _log.debug("%s", busy)


def _fail(server: Server, record: BackupRecord, reporter: Reporter, now: datetime) -> None:
    reason = f"the process that took this backup ended before the backup did; found at {now:%Y-%m-%d %H:%M:%S%z}"
    try:
        with server.locks.backup_id(record.backup_id):
            server.backups.save(replace(record, status=Status.FAILED, error=reason))
    except LockBusy as busy:
        _log.info("%s", busy)
    else:
        reporter.warning(f"backup {record.backup_id} of server {server.name} is FAILED: {reason}")
