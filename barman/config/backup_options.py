"""The part of the options table that is about base backups: taking, keeping and restoring them. Pure and hot-safe."""

# ruff: noqa: FBT003 - rows of a table read by their columns

from __future__ import annotations

from barman.config.option import Option
from barman.config.values import (
    ABSOLUTE_PATH,
    BOOL,
    EXPIRATION,
    INTERVAL,
    NAMES,
    SIZE,
    STRING,
    integer,
    one_of,
    set_of,
)

_GIB = 2**30

BACKUP = (
    Option(
        "backup_method",
        "GSM",
        one_of("rsync", "postgres", "local-rsync", "snapshot", "local-to-cloud"),
        "rsync",
        "How base backups are taken.",
    ),
    Option(
        "backup_options",
        "GSM",
        set_of(
            "concurrent_backup",
            "exclusive_backup",
            "external_configuration",
            exclusive=("concurrent_backup", "exclusive_backup"),
        ),
        frozenset(("concurrent_backup",)),
        "Strategy of rsync backups (exclusive: PostgreSQL 14 or older), and whether configuration files outside the "
        "data directory are nothing to warn about.",
    ),
    Option("immediate_checkpoint", "GSM", BOOL, False, "Start backups with a fast checkpoint."),
    Option(
        "reuse_backup",
        "GSM",
        one_of("copy", "link", "off", "reflink"),
        None,
        "Reuse unchanged files of the previous backup (rsync). reflink: as link, and a changed file shares the blocks "
        "that have not changed, on XFS and Btrfs.",
        "off",
    ),
    Option("autogenerate_manifest", "GSM", BOOL, False, "Write a backup manifest after rsync backups."),
    Option(
        "keepalive_interval",
        "GSM",
        integer(0, unit="seconds"),
        60,
        "Interval of queries that keep the connection alive during rsync backups; 0 = none.",
    ),
    Option("basebackup_retry_times", "GSM", integer(0), 0, "How often a failed copy is tried again."),
    Option("basebackup_retry_sleep", "GSM", integer(0, unit="seconds"), 30, "Pause before such a try."),
    Option(
        "backup_compression",
        "GSM",
        one_of("gzip", "lz4", "zstd", "none"),
        None,
        "Compression by pg_basebackup.",
        "none",
    ),
    Option(
        "backup_compression_format",
        "GSM",
        one_of("plain", "tar"),
        None,
        "Form of compressed backups; plain needs `backup_compression_location` = server.",
        "tar",
    ),
    Option(
        "backup_compression_level",
        "GSM",
        integer(),
        None,
        "Level of `backup_compression`: gzip 1-9, lz4 1-12, zstd -131072-22.",
        "chosen by pg_basebackup",
    ),
    Option("backup_compression_workers", "GSM", integer(0), None, "Threads of zstd compression.", "none"),
    Option(
        "backup_compression_location",
        "GSM",
        one_of("client", "server"),
        None,
        "Where to compress; server needs PostgreSQL 15.",
        "client",
    ),
    Option(
        "streaming_backup_name",
        "GSM",
        STRING,
        "barman_streaming_backup",
        "Application name of pg_basebackup.",
    ),
    Option("worm_mode", "GSM", BOOL, False, "The storage is immutable: keep WAL older than the first backup."),
    Option("last_backup_maximum_age", "GSM", INTERVAL, None, "check fails when the last backup is older.", "no limit"),
    Option("last_backup_minimum_size", "GSM", SIZE, None, "check fails when the last backup is smaller.", "no limit"),
    Option(
        "retention_policy",
        "GSM",
        STRING,
        None,
        "REDUNDANCY N or RECOVERY WINDOW OF N DAYS, WEEKS or MONTHS.",
        "backups are kept for ever",
    ),
    Option("retention_policy_mode", "GSM", one_of("auto"), "auto", "Who enforces the policy: cron."),
    Option("wal_retention_policy", "GSM", one_of("main"), "main", "WAL is kept as long as the backups that need it."),
)

RESTORE = (
    Option("recovery_options", "GSM", set_of("get-wal", "delta-restore"), frozenset(), "Defaults of restore.", "none"),
    Option(
        "staging_path",
        "GSM",
        ABSOLUTE_PATH,
        None,
        "Where backups are unpacked, decrypted and combined.",
        "/tmp when needed",  # noqa: S108 - documentation
    ),
    Option("staging_location", "GSM", one_of("local", "remote"), "local", "Host on which `staging_path` is."),
    Option(
        "combine_mode",
        "GSM",
        one_of("copy", "link", "clone", "copy-file-range"),
        "copy",
        "How pg_combinebackup copies files.",
    ),
    Option(
        "recovery_staging_path",
        "GSM",
        ABSOLUTE_PATH,
        None,
        "Where compressed backups are unpacked on the destination.",
        deprecated="staging_path and staging_location",
    ),
    Option(
        "local_staging_path",
        "GSM",
        ABSOLUTE_PATH,
        None,
        "Where incremental backups are combined on this host.",
        deprecated="staging_path and staging_location",
    ),
)

CLOUD = (
    Option(
        "cloud_staging_directory",
        "GSM",
        ABSOLUTE_PATH,
        "/tmp/barman/cloud-staging",  # noqa: S108 - the documented default, created only when used
        "Buffer of backups on their way to an object store.",
    ),
    Option("cloud_staging_max_size", "GSM", SIZE, 30 * _GIB, "Size of that buffer; the copy waits when full.", "30Gi"),
    Option("cloud_upload_max_archive_size", "SM", SIZE, 100 * _GIB, "Largest archive of a backup.", "100Gi"),
    Option("cloud_upload_min_chunk_size", "SM", SIZE, None, "Smallest part of an upload.", "the provider's minimum"),
    Option(
        "cloud_delete_batch_size", "GSM", integer(1), None, "Objects deleted by one request.", "the provider's maximum"
    ),
    Option("cloud_wal_archive_parallel", "GSM", integer(0), 0, "WAL files archived by one cloud-wal-archive."),
    Option("cloud_wal_restore_parallel", "GSM", integer(0), 0, "WAL files fetched by one cloud-wal-restore."),
    Option("snapshot_provider", "GSM", one_of("gcp", "azure", "aws"), None, "Whose disk snapshots are taken."),
    Option("snapshot_instance", "SM", STRING, None, "Instance the disks are attached to."),
    Option("snapshot_disks", "SM", NAMES, None, "Disks to take snapshots of."),
    Option("gcp_project", "GSM", STRING, None, "Google Cloud project."),
    Option("gcp_zone", "SM", STRING, None, "Google Cloud zone."),
    Option("snapshot_gcp_project", "GSM", STRING, None, "Google Cloud project.", deprecated="gcp_project"),
    Option("snapshot_zone", "SM", STRING, None, "Google Cloud zone.", deprecated="gcp_zone"),
    Option("azure_subscription_id", "GSM", STRING, None, "Azure subscription."),
    Option("azure_resource_group", "GSM", STRING, None, "Azure resource group."),
    Option(
        "azure_credential",
        "GSM",
        one_of("azure-cli", "managed-identity", "default"),
        None,
        "How to authenticate with Azure.",
        "default",
    ),
    Option("aws_profile", "GSM", STRING, None, "AWS profile."),
    Option("aws_region", "GSM", STRING, None, "AWS region."),
    Option("aws_read_timeout", "GSM", integer(0, unit="seconds"), None, "Time limit of AWS reads.", "the library's"),
    Option("aws_encryption", "GSM", one_of("AES256", "aws:kms"), None, "Encryption by AWS.", "none"),
    Option("aws_sse_kms_key_id", "GSM", STRING, None, "Key for `aws_encryption` = aws:kms."),
    Option(
        "aws_await_snapshots_timeout", "GSM", integer(0, unit="seconds"), 3600, "How long to wait for AWS snapshots."
    ),
    Option("aws_check_object_lock", "GSM", BOOL, False, "Refuse to delete objects locked in S3."),
    Option("aws_snapshot_lock_mode", "GSM", one_of("governance", "compliance"), None, "Lock of AWS snapshots.", "none"),
    Option("aws_snapshot_lock_duration", "GSM", integer(1, 36500, unit="days"), None, "How long they stay locked."),
    Option("aws_snapshot_lock_expiration_date", "GSM", EXPIRATION, None, "Until when they stay locked."),
    Option(
        "aws_snapshot_lock_cool_off_period",
        "GSM",
        integer(1, 72, unit="hours"),
        None,
        "How long a compliance lock can still be changed.",
    ),
)
