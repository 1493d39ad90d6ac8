"""Getting the base backup into the destination, by the method of the plan; the control file is held back."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from barman.errors import CatalogError
from barman.host.files import naming, unlink_durably, write_durably
from barman.restore.combine import choose_mode, combine, find_combiner, stage, staging_directory
from barman.restore.delta import horizon_of, render_mark, require_updatable, trusted_before
from barman.restore.destination import make_places, require_space, require_usable, wanted_places
from barman.restore.exclusions import CONTROL_FILE, HELD_BACK, INCOMPLETE, MANIFEST
from barman.restore.fetch import make_links
from barman.restore.lay_out import lay_out, trees
from barman.restore.mounts import measure_mounts
from barman.restore.plan import Method
from barman.restore.request import staging_path
from barman.restore.room import written_bytes
from barman.restore.update_here import empty, look_closer, update_trees
from barman.restore.write_wal import reusable_wal

if TYPE_CHECKING:
    from pathlib import Path

    from barman.host.transfer import Flow
    from barman.restore.delta import Existing
    from barman.restore.job import Job


class DataPlacer:
    """Puts the base backup of one job into its destination."""

    def __init__(self, job: Job, *, is_final: bool = True) -> None:
        """is_final: PostgreSQL will run on what is written."""
        self._job = job
        self._plan = job.plan
        self._is_final = is_final
        self._existing: Existing | None = None

    def require_possible(self) -> None:
        """Refuse what is known to fail, before anything is written: places, room, programs."""
        plan = self._plan
        staging = staging_path(self._job.settings) if plan.staged else None
        seen = require_usable(plan, staging, self._job.allowed)
        if plan.method is Method.COMBINE:
            find_combiner(plan.record, self._job.settings.path_prefix)
        if any(place.names for place in seen):
            self._existing = look_closer(plan.destination)
            places, identifier = wanted_places(plan), plan.record.systemid
            require_updatable(places, seen, self._existing, system_identifier=identifier, host="")
        else:
            # Of what is there already nobody knows how much is needed.
            require_space(measure_mounts(plan.room))

    def place(self) -> None:
        """Write everything but the WAL and the settings; on return it is all there, not yet durable."""
        plan = self._plan
        source = self._job.server.paths.data_dir(plan.record.backup_id)
        # PostgreSQL knows two modes: 0700, and 0750 where the group may read.
        make_places(plan, {plan.destination: 0o700 | (stat.S_IMODE(source.stat().st_mode) & 0o050)})
        horizon = horizon_of(plan.record.begin_time, self._existing)
        mark = render_mark(plan.record.systemid, horizon)
        write_durably(plan.destination / INCOMPLETE, mark.encode(), mode=0o600)
        if self._existing is not None:
            self._make_way()
        total = None if plan.method is Method.COMBINE else written_bytes(plan.room)
        with self._job.reporter.bar("Copying the base backup", total=total, unit="bytes") as bar:
            (self._combine if plan.method is Method.COMBINE else self._copy)(self._job.flow(bar))
        control = plan.destination / HELD_BACK
        if not control.exists():
            raise CatalogError(f"backup {plan.record.backup_id} has no {CONTROL_FILE}: it is not complete")
        make_links(plan.destination, plan.placements)
        manifest = plan.destination / MANIFEST
        if manifest.exists():
            with naming(manifest):
                os.rename(manifest, f"{manifest}.{plan.record.backup_id}")

    def _make_way(self) -> None:
        """Put what is there out of use, and remove it unless it may stay."""
        plan = self._plan
        unlink_durably(plan.destination / CONTROL_FILE)
        if plan.wal_directory is not None and not plan.is_wal_inside:
            empty(plan.wal_directory, spared=reusable_wal(plan))
        if plan.method is not Method.COPY:
            for root in self._roots():
                empty(root)

    def _roots(self) -> list[Path]:
        return [self._plan.destination, *(placement.location for placement in self._plan.placements)]

    def _copy(self, flow: Flow) -> None:
        layout = self._job.layout()
        if layout.tarballs or self._existing is None:
            lay_out(self._job, layout, flow)
            return
        update_trees(
            trees(layout),
            self._roots(),
            horizon=trusted_before(self._plan.record.begin_time, self._existing),
            spared=reusable_wal(self._plan),
            workers=self._job.settings.parallel_jobs,
            flow=flow,
        )

    def _combine(self, flow: Flow) -> None:
        plan = self._plan
        mode = choose_mode(self._job, None if self._is_final else self._file_systems())
        if not plan.staged:
            combine(self._job, [self._job.server.paths.data_dir(record.backup_id) for record in plan.chain], mode)
            return
        with staging_directory(staging_path(self._job.settings), plan.record.backup_id) as staging:
            combine(self._job, stage(self._job, staging, flow), mode)

    def _file_systems(self) -> list[int]:
        paths = [self._job.server.paths.data_dir(record.backup_id) for record in self._plan.chain]
        return [path.stat().st_dev for path in (*paths, self._plan.destination)]
