"""Restore plans for tests of the halves that carry them out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from barman.catalog.record import BackupId, BackupRecord, Status
from barman.postgres.timelines import TimelineHistory
from barman.restore.plan import Method, RestorePlan
from barman.restore.recovery import WalAccess, build_recovery
from barman.restore.wal_plan import WalPlan

if TYPE_CHECKING:
    from pathlib import Path

    from barman.restore.placements import Placement

SEGMENT_SIZE = 1 << 20


def make_plan(
    destination: Path,
    *,
    version: int = 150018,
    file_name: str = "postgresql.auto.conf",
    placements: tuple[Placement, ...] = (),
    wal: WalPlan | None = None,
    wal_directory: Path | None = None,
) -> RestorePlan:
    """Return a plan to copy a backup of that version to destination, with segments 1 to 3 unless told otherwise."""
    recovery = build_recovery(
        version=version,
        target=None,
        action=None,
        timeline=None,
        access=WalAccess("false"),
        is_standby=False,
        file_name=file_name,
    )
    wal = wal or WalPlan(TimelineHistory(1), SEGMENT_SIZE, 1, 3, 1, None)
    return RestorePlan(
        destination=destination,
        reason="the only one",
        chain=(BackupRecord(BackupId("20261121T120000"), version=version, status=Status.DONE),),
        method=Method.COPY,
        staged=(),
        staging_there=None,
        placements=placements,
        target=None,
        wal=wal,
        reach=wal,
        wal_directory=wal_directory,
        marks_archived=wal_directory is not None,
        recovery=recovery,
        is_standby=False,
        settings=None,
        unread=(),
        room=(),
        rate=None,
        warnings=(),
        advice=(),
    )
