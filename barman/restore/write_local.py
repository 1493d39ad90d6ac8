"""Carrying out the plan of a restore on this host."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from barman.catalog.record import render_record
from barman.host.files import fsync_directory, fsync_tree, unlink_durably, write_durably
from barman.progress import NoBar
from barman.restore.configure import configure
from barman.restore.exclusions import INCOMPLETE, MANIFEST, RECORD_COPY
from barman.restore.fetch import release_control_file
from barman.restore.mounts import measure_mounts
from barman.restore.place_data import DataPlacer
from barman.restore.proof import find_damage
from barman.restore.write_wal import wal_workers, wal_writer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from barman.restore.job import Job
    from barman.restore.room import Mount
    from barman.restore.settings_plan import SettingsPlan

_FSYNC_WORKERS = 8


class LocalWriter:
    """Writes one restore to directories of this host."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._plan = job.plan
        self._placer = DataPlacer(job)

    def mounts(self) -> Sequence[Mount]:
        """Return the file systems that are written to."""
        return measure_mounts(self._plan.room)

    def require_possible(self) -> None:
        """Refuse what is known to fail, before anything is written."""
        self._placer.require_possible()

    def place(self) -> None:
        """Write the base backup."""
        self._placer.place()
        record = self._plan.record
        write_durably(self._plan.destination / RECORD_COPY, render_record(record).encode(), mode=0o600)

    def write_wal(self) -> None:
        """Write the WAL, if it is to be copied."""
        plan = self._plan
        if plan.wal_directory is None:
            return
        with self._job.reporter.bar("Copying WAL", total=plan.wal.count, unit="segments") as bar:
            # Its pace is measured in bytes, its bar in segments.
            writer = wal_writer(self._job, plan.wal_directory, self._job.flow(NoBar()))
            workers = wal_workers(self._job.settings.parallel_jobs)
            writer.write(self._job.prepared.histories, plan.wal.copies(), workers=workers, bar=bar)

    def configure(self) -> SettingsPlan:
        """Write the configuration."""
        return configure(self._plan, self._plan.destination)

    def find_damage(self, configured: SettingsPlan) -> Iterator[str]:
        """Yield what of the backup is not as its manifest says."""
        plan = self._plan
        manifest = plan.destination / f"{MANIFEST}.{plan.record.backup_id}"
        places = {placement.oid: placement.location for placement in plan.placements}
        return find_damage(manifest, plan.destination, tablespaces=places, changed=configured.edits)

    def finish(self) -> None:
        """Make everything durable, and then give the control file its name."""
        plan = self._plan
        roots = [plan.destination, *(placement.location for placement in plan.placements)]
        if plan.wal_directory is not None and not plan.is_wal_inside:
            roots.append(plan.wal_directory)
        with self._job.reporter.bar("Writing to stable storage", total=None, unit="bytes") as bar:
            for root in roots:
                fsync_tree(root, workers=_FSYNC_WORKERS, on_file=bar.advance)
        release_control_file(plan.destination)
        fsync_directory(os.fspath(plan.destination / "global"))
        unlink_durably(plan.destination / INCOMPLETE)
