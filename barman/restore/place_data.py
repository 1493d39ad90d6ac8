"""Getting the base backup into the destination, by the method of the plan; the control file is held back."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from barman.errors import CatalogError
from barman.host.files import naming, unlink_durably, write_durably
from barman.host.transfer import copy_file
from barman.postgres.versions import Feature, supports
from barman.restore.combine import combine, find_combiner, stage, staging_directory
from barman.restore.delta import horizon_of, render_mark, require_updatable, trusted_before
from barman.restore.destination import NEW_ONLY, Allowed, make_places, require_space, require_usable, wanted_places
from barman.restore.exclusions import CONTROL_FILE, HELD_BACK, INCOMPLETE, MANIFEST
from barman.restore.extract import extract_all
from barman.restore.fetch import configured_flow, copy_trees, data_route, make_links, whole_route
from barman.restore.mounts import measure_mounts
from barman.restore.plan import Method
from barman.restore.request import staging_path
from barman.restore.room import written_bytes
from barman.restore.update_here import empty, look_closer, update_trees
from barman.restore.write_wal import reusable_wal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from barman.catalog.layout import ServerPaths
    from barman.config.settings import ServerSettings
    from barman.host.transfer import Flow
    from barman.progress import Reporter
    from barman.restore.delta import Existing
    from barman.restore.fetch import Route
    from barman.restore.prepare import Prepared
    from barman.server import Server


class DataPlacer:
    """Puts the base backup of one plan into its destination."""

    def __init__(
        self,
        server: Server,
        prepared: Prepared,
        settings: ServerSettings,
        reporter: Reporter,
        *,
        is_final: bool = True,
        allowed: Allowed = NEW_ONLY,
    ) -> None:
        """settings: those of the server, with what the request overrides. is_final: PostgreSQL will run on them.

        allowed: what may be in the destination.
        """
        self._paths: ServerPaths = server.paths
        self._environment = server.environment()
        self._decryption = server.decryption
        self._plan = prepared.plan
        self._files = prepared.files
        self._settings = settings
        self._reporter = reporter
        self._is_final = is_final
        self._allowed = allowed
        self._existing: Existing | None = None

    def require_possible(self) -> None:
        """Refuse what is known to fail, before anything is written: places, room, programs."""
        plan = self._plan
        staging = staging_path(self._settings) if plan.staged else None
        seen = require_usable(plan, self._paths, staging, self._allowed)
        if plan.method is Method.COMBINE:
            find_combiner(plan.record, self._settings.path_prefix)
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
        source = self._paths.data_dir(plan.record.backup_id)
        # PostgreSQL knows two modes: 0700, and 0750 where the group may read.
        make_places(plan, {plan.destination: 0o700 | (stat.S_IMODE(source.stat().st_mode) & 0o050)})
        horizon = horizon_of(plan.record.begin_time, self._existing)
        mark = render_mark(plan.record.systemid, horizon)
        write_durably(plan.destination / INCOMPLETE, mark.encode(), mode=0o600)
        if self._existing is not None:
            self._make_way()
        total = None if plan.method is Method.COMBINE else written_bytes(plan.room)
        with self._reporter.bar("Copying the base backup", total=total, unit="bytes") as bar:
            self._methods()[plan.method](source, configured_flow(self._settings, bar))
        control = plan.destination / HELD_BACK
        if not control.exists():
            raise CatalogError(f"backup {plan.record.backup_id} has no {CONTROL_FILE}: it is not complete")
        make_links(plan.destination, plan.placements)
        manifest = plan.destination / MANIFEST
        if manifest.exists():
            with naming(manifest):
                os.rename(manifest, f"{manifest}.{plan.record.backup_id}")

    def _methods(self) -> Mapping[Method, Callable[[Path, Flow], None]]:
        return {Method.COPY: self._copy, Method.EXTRACT: self._extract, Method.COMBINE: self._combine}

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

    def _copy(self, source: Path, flow: Flow) -> None:
        workers = self._settings.parallel_jobs
        if self._existing is None:
            copy_trees(self._trees(source), workers=workers, flow=flow)
            return
        horizon = trusted_before(self._plan.record.begin_time, self._existing)
        spared = reusable_wal(self._plan)
        update_trees(self._trees(source), self._roots(), horizon=horizon, spared=spared, workers=workers, flow=flow)

    def _extract(self, source: Path, flow: Flow) -> None:
        plan = self._plan
        routes: dict[int | None, Route] = {None: data_route(plan.destination, plan.placements)}
        for placement in plan.placements:
            routes[placement.oid] = whole_route(placement.location)
        tarballs = self._files[plan.record.backup_id].tarballs
        workers = self._settings.parallel_jobs
        extract_all(source, tarballs, routes, workers=workers, flow=flow, decryption=self._decryption)
        if (source / MANIFEST).exists():
            copy_file(os.fspath(source / MANIFEST), os.fspath(plan.destination / MANIFEST), flow)

    def _combine(self, _source: Path, flow: Flow) -> None:
        plan, mode = self._plan, self._settings.combine_mode
        tool = find_combiner(plan.record, self._settings.path_prefix)
        if mode == "link" and (obstacle := self._obstacle_to_links()) is not None:
            self._reporter.warning(f"combine mode 'link' is not possible {obstacle}; files are copied")
            mode = "copy"
        if not plan.staged:
            members = {record.backup_id: self._paths.data_dir(record.backup_id) for record in plan.chain}
            combine(plan, tool, members, mode=mode, env=self._environment)
            return
        with staging_directory(staging_path(self._settings), plan.record.backup_id) as staging:
            staged = stage(
                plan,
                self._files,
                self._paths,
                staging,
                workers=self._settings.parallel_jobs,
                flow=flow,
                decryption=self._decryption,
            )
            combine(plan, tool, staged, mode=mode, env=self._environment)

    def _obstacle_to_links(self) -> str | None:
        """Return why a combined backup cannot have hard links to files of its chain."""
        record = self._plan.record
        if self._is_final:
            # PostgreSQL would write into the files of the backup.
            return "for a restore to this host"
        if not supports(record.version or 0, Feature.COMBINE_LINK):
            return "before PostgreSQL 18"
        here = {self._paths.data_dir(one.backup_id).stat().st_dev for one in self._plan.chain}
        return None if here == {self._plan.destination.stat().st_dev} else "from one file system to another"

    def _trees(self, source: Path) -> list[tuple[Path, Route]]:
        plan = self._plan
        return [
            (source, data_route(plan.destination, plan.placements)),
            *(
                (self._paths.tablespace_dir(plan.record.backup_id, placement.oid), whole_route(placement.location))
                for placement in plan.placements
                if not placement.was_in_place
            ),
        ]
