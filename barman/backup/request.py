"""What the operator asks of one backup: everything the command line may say. Pure."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Literal

from barman.catalog.record import RESERVED_NAMES, is_backup_id
from barman.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from barman.config.settings import ServerSettings


@dataclass(frozen=True, slots=True)
class Overrides:
    """Options of the server that count differently for this backup; None: as configured.

    Names, meanings and units are those of the configuration options.
    """

    immediate_checkpoint: bool | None = None
    reuse_backup: Literal["copy", "link", "off", "reflink"] | None = None
    basebackup_retry_times: int | None = None
    basebackup_retry_sleep: int | None = None
    parallel_jobs: int | None = None
    parallel_jobs_start_batch_size: int | None = None
    parallel_jobs_start_batch_period: int | None = None
    bandwidth_limit: int | None = None
    keepalive_interval: int | None = None
    autogenerate_manifest: bool | None = None
    cloud_staging_directory: Path | None = None
    cloud_staging_max_size: int | None = None

    def applied_to(self, settings: ServerSettings) -> ServerSettings:
        """Return the settings this backup is to be taken with."""
        chosen = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(settings, **{name: value for name, value in chosen.items() if value is not None})


@dataclass(frozen=True, slots=True)
class BackupRequest:
    """One backup to be taken.

    name: stored with it. parent: id, shortcut or name of the backup this one is an increment of. wait: return only
    when its last WAL segment is archived, or after wait_timeout_s seconds (None: however long it takes).
    fail_on_checksum: a damaged page makes it FAILED, not only suspicious.
    """

    name: str | None = None
    parent: str | None = None
    wait: bool = False
    wait_timeout_s: float | None = None
    fail_on_checksum: bool = False
    overrides: Overrides = Overrides()


def require_usable_name(name: str) -> None:
    """UsageError if a backup of that name could not be chosen by it: empty, shaped like an id, or a shortcut."""
    if not name.strip() or "\n" in name or is_backup_id(name) or name in RESERVED_NAMES:
        raise UsageError(
            f"a backup cannot be named {name!r}",
            hint="It must not be empty, a backup id, or a word that stands for one.",
        )
