"""One restore that is being carried out: what everybody needs who writes a part of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from barman.host.transfer import Flow
from barman.restore.placements import Placement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from barman.catalog.record import BackupRecord
    from barman.config.settings import ServerSettings
    from barman.progress import Bar, Reporter
    from barman.restore.destination import Allowed
    from barman.restore.plan import RestorePlan, Tarball
    from barman.restore.prepare import Prepared
    from barman.server import Server


class Layout(NamedTuple):
    """One backup, as it lies in the catalogue, and where it is to be laid out.

    source: its data directory. origins: directories of the tablespaces that places names, by OID. tarballs: of source;
    empty for plain files. data: directory for what is in source; places: for tablespaces, those that are elsewhere.
    """

    record: BackupRecord
    source: Path
    origins: Mapping[int, Path]
    tarballs: Sequence[Tarball]
    data: Path
    places: Sequence[Placement]


@dataclass(frozen=True, slots=True)
class Job:
    """One restore. settings: those of the server, with what the request overrides. allowed: of the destination."""

    server: Server
    prepared: Prepared
    settings: ServerSettings
    reporter: Reporter
    allowed: Allowed

    @property
    def plan(self) -> RestorePlan:
        """What is to be done."""
        return self.prepared.plan

    def flow(self, bar: Bar, *, paced: bool = True) -> Flow:
        """Return what the workers of one copy share, as configured. paced: at the bandwidth allowed."""
        return Flow(
            bar,
            bandwidth_kib_s=self.settings.bandwidth_limit if paced else None,
            retry_times=self.settings.basebackup_retry_times,
            retry_sleep_s=self.settings.basebackup_retry_sleep,
        )

    def layout(self) -> Layout:
        """Return the way of the backup that is restored into its destination."""
        return self._layout(self.plan.record, self.plan.destination, self.plan.placements)

    def staged_layout(self, record: BackupRecord, root: Path) -> Layout:
        """Return the way of a member of the chain into directories below root."""
        places = [
            Placement(tablespace.name, tablespace.oid, root / str(tablespace.oid), was_in_place=False)
            for tablespace in record.tablespaces or ()
            if tablespace.location.startswith("/")
        ]
        return self._layout(record, root / "data", places)

    def _layout(self, record: BackupRecord, data: Path, places: Sequence[Placement]) -> Layout:
        paths, backup_id = self.server.paths, record.backup_id
        source = paths.data_dir(backup_id)
        origins = {
            place.oid: source / "pg_tblspc" / str(place.oid)
            if place.was_in_place
            else paths.tablespace_dir(backup_id, place.oid)
            for place in places
        }
        return Layout(record, source, origins, self.prepared.files[backup_id].tarballs, data, places)
