"""How the restored cluster gets its WAL: where copies go, or how it fetches them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from barman.postgres.versions import Feature, supports
from barman.restore.exclusions import STAGED_WAL
from barman.restore.recovery import NOTHING_TO_FETCH, WalAccess, local_get_wal, remote_get_wal, staged_wal

if TYPE_CHECKING:
    from pathlib import Path

    from barman.catalog.record import BackupRecord
    from barman.restore.request import RestoreRequest


@dataclass(frozen=True, slots=True)
class Origin:
    """How the restored cluster finds us. program: barman with its global options, for restore_command here.

    user, host: who we are, for barman-wal-restore on another host. config_path: of barman. jobs: files to fetch at a
    time.
    """

    server: str
    program: tuple[str, ...]
    user: str = "barman"
    host: str = "localhost"
    config_path: str | None = None
    jobs: int = 1


def own_wal_directory(destination: Path, record: BackupRecord) -> Path:
    """Return where a cluster of the backup's version keeps its WAL."""
    return destination / ("pg_wal" if supports(record.version or 0, Feature.WAL_WORDING) else "pg_xlog")


def choose_wal_directory(request: RestoreRequest, record: BackupRecord, *, has_target: bool) -> Path:
    """Return where copied WAL goes: for recovery to a target not to PostgreSQL's own directory, whose content counts.

    PostgreSQL would replay all that is there once it has reached the target and crashes, or begins anew.
    """
    if request.staging_wal_directory is not None:
        return request.staging_wal_directory
    if has_target or request.target.timeline is not None:
        return request.destination / STAGED_WAL
    return own_wal_directory(request.destination, record)


def choose_access(request: RestoreRequest, record: BackupRecord, directory: Path | None, origin: Origin) -> WalAccess:
    """Return how PostgreSQL gets its WAL. directory: where copies are; None: it fetches (get-wal)."""
    if directory is None:
        if request.restore_command is not None:
            return WalAccess(request.restore_command)
        takes_partial = not request.standby_mode
        if request.remote_ssh_command is None:
            return local_get_wal(origin.program, origin.server, takes_partial=takes_partial)
        return remote_get_wal(
            origin.server,
            user=origin.user,
            host=origin.host,
            config_path=origin.config_path,
            port=request.recovery_option_port,
            jobs=origin.jobs,
            takes_partial=takes_partial,
        )
    if directory != own_wal_directory(request.destination, record):
        return staged_wal(str(directory))
    if request.standby_mode:
        return WalAccess(None)
    # Recovery from the archive, and not a mere crash recovery, so that the cluster gets a timeline of its own.
    return WalAccess(NOTHING_TO_FETCH, comment="All WAL of the restored backup is in the data directory")
