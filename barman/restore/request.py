"""What the operator asks of one restore: everything the command line may say. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from barman.restore.targets import TargetOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from barman.config.settings import ServerSettings

_DEFAULT_STAGING = Path("/tmp")  # noqa: S108  the documented default of staging_path


def staging_path(settings: ServerSettings) -> Path:
    """Return where to lay out on this host what cannot be read where it is, by the old options too."""
    deprecated = settings.local_staging_path
    if settings.staging_location == "local":
        return settings.staging_path or settings.recovery_staging_path or deprecated or _DEFAULT_STAGING
    return deprecated or _DEFAULT_STAGING


class Staging(NamedTuple):
    """Where backups are laid out for a while that cannot be read where they are.

    here: on this host. there: on the host of the destination, where chains are combined then; None: that is done here.
    """

    here: Path
    there: Path | None = None


def staging_places(settings: ServerSettings) -> Staging:
    """Return where to lay out what cannot be read where it is, by the old options too."""
    if settings.staging_location == "local":
        return Staging(staging_path(settings))
    there = settings.staging_path or settings.recovery_staging_path or _DEFAULT_STAGING
    return Staging(staging_path(settings), there)


@dataclass(frozen=True, slots=True)
class Overrides:
    """Options of the server that count differently for this restore; None: as configured.

    Names, meanings and units are those of the configuration options.
    """

    bandwidth_limit: int | None = None
    basebackup_retry_times: int | None = None
    basebackup_retry_sleep: int | None = None
    parallel_jobs: int | None = None
    parallel_jobs_start_batch_size: int | None = None
    parallel_jobs_start_batch_period: int | None = None
    staging_path: Path | None = None
    recovery_staging_path: Path | None = None
    local_staging_path: Path | None = None
    staging_location: Literal["local", "remote"] | None = None
    combine_mode: Literal["copy", "link", "clone", "copy-file-range"] | None = None
    network_compression: bool | None = None

    def applied_to(self, settings: ServerSettings) -> ServerSettings:
        """Return the settings this restore is to be made with."""
        chosen = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return replace(settings, **{name: value for name, value in chosen.items() if value is not None})


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """One restore.

    backup: id, shortcut, name, or `auto`. destination: the new data directory, absolute. tablespaces: new places by
    tablespace name. get_wal: whether PostgreSQL fetches its WAL from the archive itself; None: as configured.
    restore_command: for PostgreSQL, instead of the generated one. recovery_conf_filename: below the destination.
    staging_wal_directory: where WAL for recovery to a target goes, instead of barman_wal in the destination.
    remote_ssh_command: how to get to the host the destination is on; None: this one. recovery_option_port: of ssh, for
    the barman-wal-restore that fetches WAL on another host. delta: whether what is in the destination may stay and be
    made equal; None: as configured. allow_mount_point: whether the destination may be one. kept_out:
    directories of other servers, in which nothing may be written.
    """

    backup: str
    destination: Path
    target: TargetOptions = field(default_factory=TargetOptions)
    tablespaces: Mapping[str, Path] = field(default_factory=dict)
    standby_mode: bool = False
    get_wal: bool | None = None
    partial_wal: bool = False
    restore_command: str | None = None
    recovery_conf_filename: str | None = None
    staging_wal_directory: Path | None = None
    remote_ssh_command: str | None = None
    recovery_option_port: int | None = None
    delta: bool | None = None
    allow_mount_point: bool = False
    kept_out: frozenset[Path] = frozenset()
    overrides: Overrides = field(default_factory=Overrides)
