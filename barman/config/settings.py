"""The configuration as typed values: one attribute per option, named like it. What each means: config/options.py.

A test holds these classes equal to the option table. Directories are paths; only basebackups_directory and
wals_directory may be the URL of an object store instead, then they are text.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from barman.config.options import GLOBAL_OPTIONS, SERVER_OPTIONS
from barman.config.values import ABSOLUTE_PATH, DIRECTORY, DIRECTORY_OR_URL, FILE, is_url

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from barman.config.option import Option
    from barman.config.values import Value

_PATH_KINDS = (DIRECTORY, FILE, ABSOLUTE_PATH, DIRECTORY_OR_URL)


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalSettings:
    """The [barman] options. log_level: a number as in the logging module."""

    barman_home: Path
    barman_user: str
    barman_lock_directory: Path
    lock_directory_cleanup: bool
    configuration_files_directory: Path | None
    config_changes_queue: Path
    log_file: Path | None
    log_level: int
    log_format: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """The effective options of one server, model applied, defaults filled in; None: not set, no default.

    Times of type int are seconds (days and hours where options.py says so), sizes bytes, bandwidths kB/s.
    The connection strings are as configured; the properties give the ones to use.
    """

    # General and connection
    active: bool
    description: str | None
    disabled: bool
    cluster: str
    conninfo: str | None
    streaming_conninfo: str | None
    wal_streaming_conninfo: str | None
    wal_conninfo: str | None
    primary_conninfo: str | None
    primary_checkpoint_timeout: int
    ssh_command: str | None
    primary_ssh_command: str | None
    forward_config_path: bool
    path_prefix: str | None
    check_timeout: int
    minimum_redundancy: int
    bandwidth_limit: int | None
    tablespace_bandwidth_limit: Mapping[str, int]
    network_compression: bool
    parallel_jobs: int
    parallel_jobs_start_batch_size: int
    parallel_jobs_start_batch_period: int
    warehousepg_dbid: int | None
    # Backup
    backup_method: Literal["rsync", "postgres", "local-rsync", "snapshot", "local-to-cloud"]
    backup_options: frozenset[str]
    immediate_checkpoint: bool
    reuse_backup: Literal["copy", "link", "off", "reflink"] | None
    autogenerate_manifest: bool
    keepalive_interval: int
    basebackup_retry_times: int
    basebackup_retry_sleep: int
    backup_compression: Literal["gzip", "lz4", "zstd", "none"] | None
    backup_compression_format: Literal["plain", "tar"] | None
    backup_compression_level: int | None
    backup_compression_workers: int | None
    backup_compression_location: Literal["client", "server"] | None
    streaming_backup_name: str
    worm_mode: bool
    last_backup_maximum_age: timedelta | None
    last_backup_minimum_size: int | None
    retention_policy: str | None
    retention_policy_mode: Literal["auto"]
    wal_retention_policy: Literal["main"]
    # WAL
    archiver: bool
    archiver_batch_size: int
    streaming_archiver: bool
    streaming_archiver_batch_size: int
    streaming_archiver_name: str
    slot_name: str | None
    create_slot: Literal["manual", "auto"]
    max_incoming_wals_queue: int | None
    last_wal_maximum_age: timedelta | None
    compression: str | None
    compression_level: int | str
    custom_compression_filter: str | None
    custom_decompression_filter: str | None
    custom_compression_magic: str | None
    encryption: Literal["none", "gpg"]
    encryption_key_id: str | None
    encryption_passphrase_command: str | None
    # Directories
    backup_directory: Path
    basebackups_directory: Path | str
    wals_directory: Path | str
    incoming_wals_directory: Path
    streaming_wals_directory: Path
    errors_directory: Path
    xlogdb_directory: Path
    # Restore
    recovery_options: frozenset[str]
    staging_path: Path | None
    staging_location: Literal["local", "remote"]
    combine_mode: Literal["copy", "link", "clone", "copy-file-range"]
    recovery_staging_path: Path | None
    local_staging_path: Path | None
    # Cloud and snapshots
    cloud_staging_directory: Path
    cloud_staging_max_size: int
    cloud_upload_max_archive_size: int
    cloud_upload_min_chunk_size: int | None
    cloud_delete_batch_size: int | None
    cloud_wal_archive_parallel: int
    cloud_wal_restore_parallel: int
    snapshot_provider: Literal["gcp", "azure", "aws"] | None
    snapshot_instance: str | None
    snapshot_disks: tuple[str, ...] | None
    gcp_project: str | None
    gcp_zone: str | None
    snapshot_gcp_project: str | None
    snapshot_zone: str | None
    azure_subscription_id: str | None
    azure_resource_group: str | None
    azure_credential: Literal["azure-cli", "managed-identity", "default"] | None
    aws_profile: str | None
    aws_region: str | None
    aws_read_timeout: int | None
    aws_encryption: Literal["AES256", "aws:kms"] | None
    aws_sse_kms_key_id: str | None
    aws_await_snapshots_timeout: int
    aws_check_object_lock: bool
    aws_snapshot_lock_mode: Literal["governance", "compliance"] | None
    aws_snapshot_lock_duration: int | None
    aws_snapshot_lock_expiration_date: str | None
    aws_snapshot_lock_cool_off_period: int | None
    # Hook scripts
    pre_backup_script: str | None
    pre_backup_retry_script: str | None
    post_backup_script: str | None
    post_backup_retry_script: str | None
    pre_archive_script: str | None
    pre_archive_retry_script: str | None
    post_archive_script: str | None
    post_archive_retry_script: str | None
    pre_delete_script: str | None
    pre_delete_retry_script: str | None
    post_delete_script: str | None
    post_delete_retry_script: str | None
    pre_wal_delete_script: str | None
    pre_wal_delete_retry_script: str | None
    post_wal_delete_script: str | None
    post_wal_delete_retry_script: str | None
    pre_recovery_script: str | None
    pre_recovery_retry_script: str | None
    post_recovery_script: str | None
    post_recovery_retry_script: str | None
    hook_timeout: int

    @property
    def effective_streaming_conninfo(self) -> str | None:
        """How to connect for replication."""
        return self.streaming_conninfo or self.conninfo

    @property
    def effective_wal_streaming_conninfo(self) -> str | None:
        """How to connect to receive WAL."""
        return self.wal_streaming_conninfo or self.effective_streaming_conninfo

    @property
    def effective_wal_conninfo(self) -> str | None:
        """How to ask the node that WAL is received from about slots and status."""
        return self.wal_conninfo or self.wal_streaming_conninfo or self.conninfo


def build_global_settings(values: Mapping[str, Value]) -> GlobalSettings:
    """Return the settings made of resolved values, one per global option."""
    return GlobalSettings(**_typed(values, GLOBAL_OPTIONS))  # type: ignore[arg-type]


def build_server_settings(values: Mapping[str, Value]) -> ServerSettings:
    """Return the settings made of resolved values, one per server option."""
    return ServerSettings(**_typed(values, SERVER_OPTIONS))  # type: ignore[arg-type]


def option_values(settings: GlobalSettings | ServerSettings) -> dict[str, object]:
    """Return every option and its value, in the order of the table; what show-servers and diagnose print."""
    return {field.name: getattr(settings, field.name) for field in fields(settings)}


def _typed(values: Mapping[str, Value], options: Mapping[str, Option]) -> dict[str, object]:
    result: dict[str, object] = {}
    for name, option in options.items():
        value = values[name]
        is_path = option.kind in _PATH_KINDS and isinstance(value, str) and not is_url(value)
        result[name] = Path(cast("str", value)) if is_path else value
    return result
