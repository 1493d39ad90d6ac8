"""From the request to the plan: everything is looked at, the backup is held, nothing is written yet."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from barman.catalog.chains import chain as find_chain
from barman.errors import BarmanError, LockBusy, StorageError
from barman.restore.inspect import inspect_backup, inspect_configuration, restored_sizes, view_archive
from barman.restore.origin import find_origin
from barman.restore.plan import Configuration, RestorePlan, Seen, plan_restore, usable_partials
from barman.restore.reach import begin_lsn, plan_reach
from barman.restore.request import staging_places
from barman.restore.select import require_restorable, select_backup
from barman.restore.sighting import look_for
from barman.restore.targets import parse_target, require_reachable
from barman.wal.continuity import read_histories
from barman.wal.landmarks import read_ahead

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from barman.catalog.record import BackupId, BackupRecord
    from barman.postgres.wal_records import SegmentRecords
    from barman.progress import Reporter
    from barman.restore.plan import ArchiveView, BackupFiles
    from barman.restore.request import RestoreRequest
    from barman.restore.sighting import Sighting
    from barman.restore.targets import Target
    from barman.restore.timelines import Histories
    from barman.restore.wal_plan import WalPlan
    from barman.server import Server

_log = logging.getLogger(__name__)

_READERS = 2


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan, and what was seen while making it."""

    plan: RestorePlan
    files: Mapping[BackupId, BackupFiles]
    histories: Histories


@contextlib.contextmanager
def prepared(
    server: Server, request: RestoreRequest, reporter: Reporter, *, looks_into_tarballs: bool = False
) -> Iterator[Prepared]:
    """Choose the backup, plan its restore, and keep it from being deleted for the time of the with block.

    looks_into_tarballs: whether their configuration is part of the plan, although they are not unpacked yet. WAL
    that waits is archived first. Raises what stands against the restore: Refused, UnknownBackup, CatalogError, LockBusy
    when somebody is changing the backup.
    """
    target = parse_target(request.target)
    _archive_waiting(server, reporter)
    histories = read_histories(server.wal_archive, tell=reporter.warning)
    selected = select_backup(
        server.backups.load(),
        request.backup,
        server=server.name,
        target=target,
        timeline=request.target.timeline,
        histories=histories,
    )
    with contextlib.ExitStack() as held:
        chain = _held_chain(server, selected.record.backup_id, held)
        planner = _Planner(server, request, reporter, looks_into_tarballs=looks_into_tarballs)
        yield planner.plan(chain, selected.reason, target, histories)


class _Planner:
    """Looks at everything one plan depends on."""

    def __init__(
        self, server: Server, request: RestoreRequest, reporter: Reporter, *, looks_into_tarballs: bool
    ) -> None:
        self._server = server
        self._request = request
        self._reporter = reporter
        self._looks_into_tarballs = looks_into_tarballs
        self._settings = request.overrides.applied_to(server.settings)

    def plan(self, chain: Sequence[BackupRecord], reason: str, target: Target | None, histories: Histories) -> Prepared:
        """Return the plan; Refused if there can be none. chain: restorable, root first. reason: for choosing it."""
        server, request, settings, record = self._server, self._request, self._settings, chain[-1]
        get_wal = request.get_wal if request.get_wal is not None else "get-wal" in settings.recovery_options
        archive = view_archive(server.wal_archive, server.paths.streaming, record, histories)
        if server.decryption is not None:
            archive = replace(archive, encrypted=None)
        reach = plan_reach(
            record,
            request.target.timeline,
            histories=histories,
            runs=archive.runs,
            partials=usable_partials(request, archive, get_wal=get_wal),
        )
        files = {member.backup_id: inspect_backup(server.paths, member) for member in chain}
        sizes = restored_sizes(server.paths, chain, files)
        sighting = None if target is None else self._look_for(target, reach, record, archive)
        plan = plan_restore(
            request,
            chain=chain,
            reason=reason,
            target=target,
            seen=Seen(files, archive, reach, sighting, sizes, self._look_at_configuration(record, files)),
            get_wal=get_wal,
            origin=find_origin(server, request, settings),
            staging=staging_places(settings),
        )
        return Prepared(plan, files, histories)

    def _look_at_configuration(self, record: BackupRecord, files: Mapping[BackupId, BackupFiles]) -> Configuration:
        own = files[record.backup_id]
        if own.tarballs and not self._looks_into_tarballs:
            return Configuration(None)
        return inspect_configuration(self._server.paths, record, own, decryption=self._server.decryption)

    def _look_for(self, target: Target, reach: WalPlan, record: BackupRecord, archive: ArchiveView) -> Sighting | None:
        """Find the target in the WAL, unless it cannot be reached anyway, or the WAL cannot be read."""
        require_reachable(target, record)
        if not reach.is_consistent or archive.encrypted is not None:
            return None
        server = self._server
        with self._reporter.bar(f"Looking for {target.kind.value} {target.text}", total=None, unit="segments") as bar:

            def read(names: Iterable[str]) -> Iterator[SegmentRecords]:
                for records in read_ahead(
                    server.wal_archive, names, streaming=server.paths.streaming, workers=_READERS
                ):
                    bar.advance(1)
                    yield records

            return look_for(target, reach, read, begin=begin_lsn(record), runs=archive.runs)


def _held_chain(server: Server, backup_id: BackupId, held: contextlib.ExitStack) -> list[BackupRecord]:
    """Return the backup with its ancestors, root first, once nobody can begin to delete one of them."""
    records = server.backups.load()
    for record in find_chain(records, backup_id):
        try:
            held.enter_context(server.locks.lease(record.backup_id, "restoring"))
        except StorageError as error:
            # On a file system that cannot be written a restore must work, and nobody deletes.
            _log.warning("backup %s is not locked: %s", record.backup_id, error)
    chain = find_chain(server.backups.load(), backup_id)
    require_restorable(chain, server=server.name, can_decrypt=server.decryption is not None)
    return chain


def _archive_waiting(server: Server, reporter: Reporter) -> None:
    if server.config.is_passive or not server.config.is_active:
        return
    from barman.wal.archive import archive_wal

    try:
        archive_wal(server, reporter, verbose=False)
    except LockBusy:
        _log.info("WAL of server %s is being archived by another process", server.name)
    except (BarmanError, OSError) as error:
        reporter.warning(f"WAL that waits to be archived cannot be used: {error}")
