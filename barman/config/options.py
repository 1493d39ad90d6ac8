"""Every option there is, as one table: parser, validation, sample file and reference documentation derive from it.

What is about base backups is in backup_options. Pure and hot-safe.
"""

# ruff: noqa: FBT003 - rows of a table read by their columns

from __future__ import annotations

from barman.config.backup_options import BACKUP, CLOUD, RESTORE
from barman.config.option import Option
from barman.config.values import (
    BANDWIDTH,
    BOOL,
    COMMAND,
    COMPRESSION,
    COMPRESSION_LEVEL,
    CONNINFO,
    DIRECTORY,
    DIRECTORY_OR_URL,
    FILE,
    INTERVAL,
    LOG_LEVEL,
    MAGIC,
    SLOT_NAME,
    STRING,
    TABLESPACE_LIMITS,
    integer,
    one_of,
)


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

HOOKS = _hooks()

GROUPS: tuple[tuple[str, tuple[Option, ...]], ...] = (
    ("Global options", _GLOBAL),
    ("General and connection", _GENERAL),
    ("Backup", BACKUP),
    ("WAL", _WAL),
    ("Directories", _DIRECTORIES),
    ("Restore", RESTORE),
    ("Cloud and snapshots", CLOUD),
    ("Hook scripts", HOOKS),
)
"""The table in chapters, for people; OPTIONS is the same without them."""

OPTIONS: tuple[Option, ...] = tuple(option for _, options in GROUPS for option in options)

GLOBAL_OPTIONS = {option.name: option for option in _GLOBAL}
SERVER_OPTIONS = {option.name: option for option in OPTIONS if option.scopes != "B"}
MODEL_OPTIONS = {name: option for name, option in SERVER_OPTIONS.items() if "M" in option.scopes}
