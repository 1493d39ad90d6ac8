"""Getting the base backup into the destination, by the method of the plan; the control file is held back."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from barman.errors import CatalogError
from barman.host.files import naming, write_durably
from barman.host.transfer import Flow, copy_file
from barman.restore.combine import combine, find_combiner, stage, staging_directory
from barman.restore.destination import make_places, require_space, require_usable
from barman.restore.exclusions import CONTROL_FILE, HELD_BACK, INCOMPLETE, MANIFEST
from barman.restore.extract import extract_all
from barman.restore.fetch import copy_trees, data_route, make_links, tree_size, whole_route
from barman.restore.plan import Method

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from barman.catalog.layout import ServerPaths
    from barman.config.settings import ServerSettings
    from barman.progress import Bar, Reporter
    from barman.restore.fetch import Route
    from barman.restore.prepare import Prepared
    from barman.server import Server

_DEFAULT_STAGING = Path("/tmp")  # noqa: S108  the documented default of staging_path


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
    ) -> None:
        """settings: those of the server, with what the request overrides. is_final: PostgreSQL will run on them."""
        self._paths: ServerPaths = server.paths
        self._environment = server.environment()
        self._plan = prepared.plan
        self._files = prepared.files
        self._settings = settings
        self._reporter = reporter
        self._is_final = is_final

    def require_possible(self) -> None:
        """Refuse what is known to fail, before anything is written: places, room, programs."""
        plan = self._plan
        require_usable(plan, self._paths, staging_path(self._settings) if plan.staged else None)
        if plan.method is Method.COMBINE:
            find_combiner(plan.record, self._settings.path_prefix)
        needed = [(self._directory_of(oid), size) for oid, size in self._sizes().items()]
        if plan.wal_directory is not None:
            needed.append((plan.wal_directory, plan.wal.count * plan.wal.segment_size))
        require_space(needed)

    def place(self) -> None:
        """Write everything but the WAL and the settings; on return it is all there, not yet durable."""
        plan = self._plan
        source = self._paths.data_dir(plan.record.backup_id)
        # PostgreSQL knows two modes: 0700, and 0750 where the group may read.
        make_places(plan, {plan.destination: 0o700 | (stat.S_IMODE(source.stat().st_mode) & 0o050)})
        write_durably(plan.destination / INCOMPLETE, b"", mode=0o600)
        total = sum(self._sizes().values()) if plan.method is not Method.COMBINE else None
        with self._reporter.bar("Copying the base backup", total=total, unit="bytes") as bar:
            self._methods()[plan.method](source, self.flow(bar))
        control = plan.destination / HELD_BACK
        if not control.exists():
            raise CatalogError(f"backup {plan.record.backup_id} has no {CONTROL_FILE}: it is not complete")
        make_links(plan.destination, plan.placements)
        manifest = plan.destination / MANIFEST
        if manifest.exists():
            with naming(manifest):
                os.rename(manifest, f"{manifest}.{plan.record.backup_id}")

    def flow(self, bar: Bar) -> Flow:
        """Return what the workers of one copy share, as configured."""
        return Flow(
            bar,
            bandwidth_kib_s=self._settings.bandwidth_limit,
            retry_times=self._settings.basebackup_retry_times,
            retry_sleep_s=self._settings.basebackup_retry_sleep,
        )

    def _methods(self) -> Mapping[Method, Callable[[Path, Flow], None]]:
        return {Method.COPY: self._copy, Method.EXTRACT: self._extract, Method.COMBINE: self._combine}

    def _copy(self, source: Path, flow: Flow) -> None:
        copy_trees(self._trees(source), workers=self._settings.parallel_jobs, flow=flow)

    def _extract(self, source: Path, flow: Flow) -> None:
        plan = self._plan
        routes: dict[int | None, Route] = {None: data_route(plan.destination, plan.placements)}
        for placement in plan.placements:
            routes[placement.oid] = whole_route(placement.location)
        tarballs = self._files[plan.record.backup_id].tarballs
        extract_all(source, tarballs, routes, workers=self._settings.parallel_jobs, flow=flow)
        if (source / MANIFEST).exists():
            copy_file(os.fspath(source / MANIFEST), os.fspath(plan.destination / MANIFEST), flow)

    def _combine(self, _source: Path, flow: Flow) -> None:
        plan, mode = self._plan, self._settings.combine_mode
        tool = find_combiner(plan.record, self._settings.path_prefix)
        if mode == "link" and self._is_final:
            # PostgreSQL would write into the files of the backup.
            self._reporter.warning("combine mode 'link' is not possible for a restore to this host; files are copied")
            mode = "copy"
        if not plan.staged:
            members = {record.backup_id: self._paths.data_dir(record.backup_id) for record in plan.chain}
            combine(plan, tool, members, mode=mode, env=self._environment)
            return
        with staging_directory(staging_path(self._settings), plan.record.backup_id) as staging:
            staged = stage(plan, self._files, self._paths, staging, workers=self._settings.parallel_jobs, flow=flow)
            combine(plan, tool, staged, mode=mode, env=self._environment)

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

    def _sizes(self) -> Mapping[int | None, int]:
        """Return the bytes to be written by tablespace, None for the data directory; {} if nobody knows."""
        plan = self._plan
        if plan.method is Method.COPY:
            oids = [None, *(placement.oid for placement in plan.placements if not placement.was_in_place)]
            trees = self._trees(self._paths.data_dir(plan.record.backup_id))
            return {oid: tree_size(*tree) for oid, tree in zip(oids, trees, strict=True)}
        if plan.method is Method.EXTRACT:
            return self._files[plan.record.backup_id].sizes
        size = plan.record.cluster_size
        return {} if size is None or plan.placements else {None: size}

    def _directory_of(self, oid: int | None) -> Path:
        locations = {placement.oid: placement.location for placement in self._plan.placements}
        return self._plan.destination if oid is None else locations.get(oid, self._plan.destination)


def staging_path(settings: ServerSettings) -> Path:
    """Return where to lay out on this host what cannot be read where it is."""
    deprecated = settings.local_staging_path
    if settings.staging_location == "local":
        return settings.staging_path or settings.recovery_staging_path or deprecated or _DEFAULT_STAGING
    return deprecated or _DEFAULT_STAGING
