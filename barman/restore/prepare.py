"""From the request to the plan: everything is looked at, the backup is held, nothing is written yet."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from barman.catalog.chains import chain as find_chain
from barman.errors import BarmanError, LockBusy, StorageError
from barman.restore.inspect import inspect_backup, read_histories, view_archive
from barman.restore.plan import Place, RestorePlan, plan_restore
from barman.restore.select import require_restorable, select_backup
from barman.restore.targets import parse_target

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from barman.catalog.record import BackupId, BackupRecord
    from barman.progress import Reporter
    from barman.restore.plan import BackupFiles
    from barman.restore.request import RestoreRequest
    from barman.restore.targets import Target
    from barman.restore.timelines import Histories
    from barman.server import Server

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan, and what was seen while making it. previous_id, next_id: of the neighbours in the catalogue."""

    plan: RestorePlan
    files: Mapping[BackupId, BackupFiles]
    histories: Histories


@contextlib.contextmanager
def prepared(server: Server, request: RestoreRequest, reporter: Reporter) -> Iterator[Prepared]:
    """Choose the backup, plan its restore, and keep it from being deleted for the time of the with block.

    WAL that waits is archived first. Raises what stands against the restore: Refused, UnknownBackup, CatalogError,
    LockBusy when somebody is changing the backup.
    """
    target = parse_target(request.target)
    _archive_waiting(server, reporter)
    histories = read_histories(server.wal_archive)
    selected = select_backup(
        server.backups.load(),
        request.backup,
        server=server.name,
        target=target,
        timeline=request.target.timeline,
        histories=histories,
    )
    with contextlib.ExitStack() as held:
        chain = _held_chain(server, selected.backup_id, held)
        yield _plan(server, request, chain, target, histories)


def _plan(
    server: Server, request: RestoreRequest, chain: Sequence[BackupRecord], target: Target | None, histories: Histories
) -> Prepared:
    files = {record.backup_id: inspect_backup(server.paths, record) for record in chain}
    get_wal = request.get_wal if request.get_wal is not None else "get-wal" in server.settings.recovery_options
    plan = plan_restore(
        request,
        chain=chain,
        files=files,
        target=target,
        archive=view_archive(server.wal_archive, server.paths.streaming, chain[-1], histories),
        get_wal=get_wal,
        place=Place(server.name, ("barman", "-c", str(server.config_path.absolute()))),
    )
    return Prepared(plan, files, histories)


def _held_chain(server: Server, backup_id: BackupId, held: contextlib.ExitStack) -> list[BackupRecord]:
    """Return the backup with its ancestors, root first, once nobody can begin to delete one of them."""
    records = server.backups.load()
    for record in find_chain(records, backup_id):
        try:
            held.enter_context(server.locks.backup_id(record.backup_id).shared())
        except StorageError as error:
            # On a file system that cannot be written a restore must work, and nobody deletes.
            _log.warning("backup %s is not locked: %s", record.backup_id, error)
    chain = find_chain(server.backups.load(), backup_id)
    require_restorable(chain, server=server.name)
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
