"""Every option there is, as one table: parser, validation, sample file and reference documentation derive from it.

Pure and hot-safe. Longer than our modules usually are, because it is a table.
"""

# ruff: noqa: FBT003 - rows of a table read by their columns

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from barman.config.values import (
    ABSOLUTE_PATH,
    BANDWIDTH,
    BOOL,
    COMMAND,
    COMPRESSION,
    COMPRESSION_LEVEL,
    CONNINFO,
    DIRECTORY,
    DIRECTORY_OR_URL,
    EXPIRATION,
    FILE,
    INTERVAL,
    LOG_LEVEL,
    MAGIC,
    NAMES,
    SIZE,
    SLOT_NAME,
    STRING,
    TABLESPACE_LIMITS,
    integer,
    one_of,
    set_of,
)

if TYPE_CHECKING:
    from barman.config.values import Kind, Value

GIB = 2**30


class Option(NamedTuple):
    """One option.

    scopes: where it counts: "B" the [barman] section only; otherwise letters of "GSM": G [barman], inherited by
    every server; S a server section; M a model section. default: the value when nothing sets it; for directories
    derived from others it is None and default_text tells the rule. deprecated: what to use instead.
    """

    name: str
    scopes: str
    kind: Kind
    default: Value
    help: str
    default_text: str = ""
    deprecated: str = ""


def _hooks() -> tuple[Option, ...]:
    events = (
        ("backup", "a backup"),
        ("archive", "the archiving of each WAL file"),
        ("delete", "the deletion of a backup"),
        ("wal_delete", "the deletion of each WAL file"),
        ("recovery", "a restore"),
    )
    scripts = (
        Option(
            f"{phase}_{event}_{kind}",
            "GS",
            COMMAND,
            None,
            f"Hook run {'before' if phase == 'pre' else 'after'} {what}{repeated}.",
        )
        for event, what in events
        for phase in ("pre", "post")
        for kind, repeated in (("script", ""), ("retry_script", ", repeated until it exits with 0, 62 or 63"))
    )
    limit = "Time limit of each run of a hook, which is then stopped and counts as failed; 0 = none."
    return (*scripts, Option("hook_timeout", "GS", integer(0, unit="seconds"), 0, limit))


_GLOBAL = (
    Option("barman_home", "B", DIRECTORY, None, "Where all data is kept.", "required"),
    Option("barman_user", "B", STRING, "barman", "Operating-system user to become."),
    Option(
        "barman_lock_directory",
        "B",
        DIRECTORY,
        None,
        "Directory of the lock files; must be on a local file system.",
        "`barman_home`",
    ),
    Option("lock_directory_cleanup", "B", BOOL, True, "Let cron remove unused lock files."),
    Option("configuration_files_directory", "B", DIRECTORY, None, "Directory whose `*.conf` files are read as well."),
    Option(
        "config_changes_queue",
        "B",
        FILE,
        None,
        "Queue of configuration changes made by config-update.",
        "`barman_home`/cfg_changes.queue",
    ),
    Option("log_file", "B", FILE, None, "Log file.", "standard error"),
    Option("log_level", "B", LOG_LEVEL, 20, "Least severe messages that are logged.", "INFO"),
    Option(
        "log_format",
        "B",
        STRING,
        "%(asctime)s [%(process)s] %(name)s %(levelname)s: %(message)s",
        "Layout of log lines. Write each percent sign twice.",
    ),
)

_GENERAL = (
    Option("active", "SM", BOOL, True, "Set to false to stop all work on this server; what exists can be used."),
    Option("description", "SM", STRING, None, "Free text."),
    Option("disabled", "M", BOOL, False, "Set to true in a model to disable the servers it is applied to."),
    Option("cluster", "SM", STRING, None, "Group of servers and models that belong together.", "name of the server"),
    Option("conninfo", "SM", CONNINFO, None, "How to connect to PostgreSQL.", "required unless passive or inactive"),
    Option("streaming_conninfo", "SM", CONNINFO, None, "How to connect for replication.", "the value of `conninfo`"),
    Option(
        "wal_streaming_conninfo",
        "SM",
        CONNINFO,
        None,
        "How to connect to another node of the cluster to receive WAL from it.",
        "the value of `streaming_conninfo`",
    ),
    Option(
        "wal_conninfo",
        "SM",
        CONNINFO,
        None,
        "How to ask that node about slots and status.",
        "the value of `wal_streaming_conninfo`, else of `conninfo`",
    ),
    Option(
        "primary_conninfo",
        "SM",
        CONNINFO,
        None,
        "How to connect to the primary when `conninfo` is a standby, to make it switch WAL during a backup.",
    ),
    Option(
        "primary_checkpoint_timeout",
        "SM",
        integer(0, unit="seconds"),
        0,
        "Backup from a standby: how long to wait for WAL before a CHECKPOINT on the primary; 0 = never.",
    ),
    Option("ssh_command", "SM", COMMAND, None, "ssh command line that reaches the PostgreSQL host."),
    Option(
        "primary_ssh_command",
        "GSM",
        COMMAND,
        None,
        "ssh command line that reaches another Barman, from which this server is copied (passive node).",
    ),
    Option(
        "forward_config_path", "GSM", BOOL, False, "Passive node: name this configuration file to the primary Barman."
    ),
    Option("path_prefix", "GSM", STRING, None, "Directories, separated by colons, searched for programs before PATH."),
    Option("check_timeout", "GSM", integer(0, unit="seconds"), 30, "Time limit of check for one server; 0 = none."),
    Option("minimum_redundancy", "GSM", integer(0), 0, "Number of backups below which none is deleted."),
    Option("bandwidth_limit", "GSM", BANDWIDTH, None, "Limit for copies from and to other hosts."),
    Option("tablespace_bandwidth_limit", "GSM", TABLESPACE_LIMITS, {}, "Limits of single tablespaces (rsync).", "none"),
    Option("network_compression", "GSM", BOOL, False, "Compress data on the wire (rsync)."),
    Option("parallel_jobs", "GSM", integer(1), 1, "Number of copy workers."),
    Option("parallel_jobs_start_batch_size", "GSM", integer(1), 10, "How many workers may start in one period."),
    Option("parallel_jobs_start_batch_period", "GSM", integer(1, unit="seconds"), 1, "Length of that period."),
    Option("warehousepg_dbid", "GSM", integer(0), None, "Target database id given to pg_basebackup (experimental)."),
)

_BACKUP = (
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

_WAL = (
    Option("archiver", "GSM", BOOL, False, "Expect WAL in the incoming directory (archive_command)."),
    Option("archiver_batch_size", "GSM", integer(0), 0, "WAL files taken from there in one run; 0 = all."),
    Option("streaming_archiver", "GSM", BOOL, False, "Receive WAL by replication (receive-wal)."),
    Option("streaming_archiver_batch_size", "GSM", integer(0), 0, "Received WAL files archived in one run; 0 = all."),
    Option(
        "streaming_archiver_name",
        "GSM",
        STRING,
        "barman_receive_wal",
        "Application name of receive-wal; listed in synchronous_standby_names, it makes it synchronous.",
    ),
    Option("slot_name", "GSM", SLOT_NAME, None, "Physical replication slot for receive-wal."),
    Option("create_slot", "GSM", one_of("manual", "auto"), "manual", "Whether receive-wal creates a missing slot."),
    Option("max_incoming_wals_queue", "GSM", integer(0), None, "check fails when more WAL files wait.", "no limit"),
    Option("last_wal_maximum_age", "GSM", INTERVAL, None, "check fails when the newest WAL file is older.", "no limit"),
    Option("compression", "GSM", COMPRESSION, None, "Compression of archived WAL.", "none"),
    Option(
        "compression_level",
        "GSM",
        COMPRESSION_LEVEL,
        "medium",
        "Its level; numbers outside the range of the algorithm are limited to it.",
    ),
    Option("custom_compression_filter", "GSM", COMMAND, None, "Compresses standard input to standard output."),
    Option("custom_decompression_filter", "GSM", COMMAND, None, "Decompresses standard input to standard output."),
    Option(
        "custom_compression_magic",
        "GSM",
        MAGIC,
        None,
        "First bytes of files made by the custom filter.",
        "any file not recognised otherwise",
    ),
    Option("encryption", "GSM", one_of("none", "gpg"), "none", "Encryption of backups and WAL."),
    Option("encryption_key_id", "GSM", STRING, None, "Recipient of the encryption."),
    Option(
        "encryption_passphrase_command", "GSM", COMMAND, None, "Prints the passphrase (needed by restore and get-wal)."
    ),
)

_DIRECTORIES = (
    Option(
        "backup_directory", "S", DIRECTORY, None, "Directory of everything about this server.", "`barman_home`/SERVER"
    ),
    Option("basebackups_directory", "S", DIRECTORY_OR_URL, None, "Base backups.", "`backup_directory`/base"),
    Option("wals_directory", "S", DIRECTORY_OR_URL, None, "Archived WAL.", "`backup_directory`/wals"),
    Option(
        "incoming_wals_directory", "S", DIRECTORY, None, "WAL sent by archive_command.", "`backup_directory`/incoming"
    ),
    Option("streaming_wals_directory", "S", DIRECTORY, None, "WAL being received.", "`backup_directory`/streaming"),
    Option("errors_directory", "S", DIRECTORY, None, "Files that could not be archived.", "`backup_directory`/errors"),
    Option(
        "xlogdb_directory",
        "GS",
        DIRECTORY,
        None,
        "Catalogue of archived WAL (SERVER-xlog.db).",
        "`wals_directory`, or `backup_directory`/meta when that is in the cloud",
    ),
)

_RESTORE = (
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

_CLOUD = (
    Option(
        "cloud_staging_directory",
        "GSM",
        ABSOLUTE_PATH,
        "/tmp/barman/cloud-staging",  # noqa: S108 - the documented default, created only when used
        "Buffer of backups on their way to an object store.",
    ),
    Option("cloud_staging_max_size", "GSM", SIZE, 30 * GIB, "Size of that buffer; the copy waits when full.", "30Gi"),
    Option("cloud_upload_max_archive_size", "SM", SIZE, 100 * GIB, "Largest archive of a backup.", "100Gi"),
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

HOOKS = _hooks()

GROUPS: tuple[tuple[str, tuple[Option, ...]], ...] = (
    ("Global options", _GLOBAL),
    ("General and connection", _GENERAL),
    ("Backup", _BACKUP),
    ("WAL", _WAL),
    ("Directories", _DIRECTORIES),
    ("Restore", _RESTORE),
    ("Cloud and snapshots", _CLOUD),
    ("Hook scripts", HOOKS),
)
"""The table in chapters, for people; OPTIONS is the same without them."""

OPTIONS: tuple[Option, ...] = tuple(option for _, options in GROUPS for option in options)

GLOBAL_OPTIONS = {option.name: option for option in _GLOBAL}
SERVER_OPTIONS = {option.name: option for option in OPTIONS if option.scopes != "B"}
MODEL_OPTIONS = {name: option for name, option in SERVER_OPTIONS.items() if "M" in option.scopes}
