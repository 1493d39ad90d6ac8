"""The SQL we send, by version, as data. Pure.

A query is a template; names in braces are words that changed with a version. Sources: PostgreSQL manual, "System
Administration Functions" and "Monitoring", and the release notes of 10 (xlog became wal) and 15 (backup functions).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from barman.postgres.versions import Feature, supports

if TYPE_CHECKING:
    from collections.abc import Mapping

SETTINGS = (
    "archive_command",
    "archive_library",
    "archive_mode",
    "archive_timeout",
    "block_size",
    "checkpoint_timeout",
    "config_file",
    "data_checksums",
    "data_directory",
    "hba_file",
    "hot_standby",
    "ident_file",
    "max_replication_slots",
    "max_wal_senders",
    "segment_size",
    "summarize_wal",
    "synchronous_standby_names",
    "wal_compression",
    "wal_keep_segments",
    "wal_keep_size",
    "wal_level",
    "wal_segment_size",
)

_OLD_WAL_WORDS = {
    "walfile_name": "pg_xlogfile_name",
    "current_lsn": "pg_current_xlog_location",
    "insert_lsn": "pg_current_xlog_insert_location",
    "replay_lsn": "pg_last_xlog_replay_location",
    "switch_wal": "pg_switch_xlog",
    "sent": "sent_location",
    "write": "write_location",
    "flush": "flush_location",
    "replay": "replay_location",
    "redo": "redo_location",
}
_WAL_WORDS = {
    "walfile_name": "pg_walfile_name",
    "current_lsn": "pg_current_wal_lsn",
    "insert_lsn": "pg_current_wal_insert_lsn",
    "replay_lsn": "pg_last_wal_replay_lsn",
    "switch_wal": "pg_switch_wal",
    "sent": "sent_lsn",
    "write": "write_lsn",
    "flush": "flush_lsn",
    "replay": "replay_lsn",
    "redo": "redo_lsn",
}
# How a backup is begun and ended, and by the names of which functions their privileges go. Never waiting for WAL to be
# archived: that can take for ever, and whether it is here is seen by looking. 9.6 knows no other way than waiting.
_BACKUP_WORDS = {
    "backup_start": "pg_backup_start(text,bool)",
    "backup_stop": "pg_backup_stop(bool)",
    "start_backup": "pg_backup_start(%(label)s, %(fast)s)",
    "stop_backup": "pg_backup_stop(false)",
    "stop_exclusive_backup": "pg_backup_stop(false)",
}
_BACKUP_WORDS_BEFORE_15 = {
    "backup_start": "pg_start_backup(text,bool,bool)",
    "backup_stop": "pg_stop_backup(bool,bool)",
    "start_backup": "pg_start_backup(%(label)s, %(fast)s, %(exclusive)s)",
    "stop_backup": "pg_stop_backup(false, false)",
    "stop_exclusive_backup": "pg_stop_backup(true, false)",
}
_BACKUP_WORDS_BEFORE_10 = {
    **_BACKUP_WORDS_BEFORE_15,
    "backup_stop": "pg_stop_backup(bool)",
    "stop_backup": "pg_stop_backup(false)",
    "stop_exclusive_backup": "pg_stop_backup(true)",
}

# Before 10 there were no predefined roles: only a superuser sees and may do everything.
_NO_ROLES = {"monitoring": "false", "checkpoint": "false", "restore_point": "false"}
_ROLES = {
    "monitoring": "(pg_has_role(current_user, 'pg_monitor', 'USAGE')"
    " OR pg_has_role(current_user, 'pg_read_all_settings', 'USAGE')"
    " AND pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'))",
    "checkpoint": "false",
    "restore_point": "has_function_privilege(current_user, 'pg_create_restore_point(text)', 'EXECUTE')",
}
_CHECKPOINT_ROLE = {"checkpoint": "pg_has_role(current_user, 'pg_checkpoint', 'USAGE')"}

# A standby that was restarted knows the timeline it follows from its control file; one that streams, better than that.
FACTS = """
SELECT pg_is_in_recovery() AS in_recovery,
       (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
       CASE WHEN pg_is_in_recovery()
            THEN greatest((SELECT timeline_id FROM pg_control_checkpoint()),
                          (SELECT min_recovery_end_timeline FROM pg_control_recovery()),
                          (SELECT received_tli FROM pg_stat_wal_receiver))::text
            ELSE 'x' || substr({walfile_name}({current_lsn}()), 1, 8) END AS timeline,
       CASE WHEN pg_is_in_recovery() THEN {replay_lsn}() ELSE {current_lsn}() END::text AS current_lsn,
       (SELECT {redo} FROM pg_control_checkpoint())::text AS redo_lsn,
       clock_timestamp() AS server_time,
       is_superuser,
       is_superuser OR {monitoring} AS has_monitoring_privileges,
       is_superuser OR {checkpoint} AS has_checkpoint_privileges,
       is_superuser OR {monitoring} AND {restore_point}
           AND has_function_privilege(current_user, '{backup_start}', 'EXECUTE')
           AND has_function_privilege(current_user, '{backup_stop}', 'EXECUTE')
           AND has_function_privilege(current_user, '{switch_wal}()', 'EXECUTE') AS has_backup_privileges
  FROM (SELECT rolsuper AS is_superuser FROM pg_roles WHERE rolname = current_user) AS role
"""

SETTINGS_OF_INTEREST = "SELECT name, setting, unit FROM pg_settings WHERE name = ANY(%(names)s)"

CONFIG_FILES = "SELECT DISTINCT sourcefile FROM pg_settings WHERE sourcefile IS NOT NULL ORDER BY 1"

TABLESPACES = """
SELECT spcname AS name, oid::bigint AS oid, pg_tablespace_location(oid) AS location
  FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global') ORDER BY spcname
"""

CLUSTER_SIZE = "SELECT sum(pg_tablespace_size(oid))::bigint AS size FROM pg_tablespace"

POSITION = """
SELECT pg_is_in_recovery() AS in_recovery,
       CASE WHEN pg_is_in_recovery() THEN {replay_lsn}() ELSE {current_lsn}() END::text AS lsn
"""

IN_RECOVERY = "SELECT pg_is_in_recovery() AS in_recovery"

# Name and number of the segment cannot be asked after the switch alone: with nothing to switch, pg_switch_wal returns
# the start of the segment in use, and which side of a boundary pg_walfile_name names changed in 17.
SWITCH_WAL = """
SELECT insert_lsn::text AS insert_lsn, switch_lsn::text AS switch_lsn,
       substr({walfile_name}(switch_lsn), 1, 8) AS timeline
  FROM (SELECT {insert_lsn}() AS insert_lsn, {switch_wal}() AS switch_lsn OFFSET 0) AS switched
"""

CREATE_RESTORE_POINT = "SELECT pg_create_restore_point(%(name)s)::text AS lsn"

ARCHIVER_STATS = """
SELECT archived_count, last_archived_wal, last_archived_time, failed_count, last_failed_wal, last_failed_time,
       stats_reset,
       (archived_count / nullif(extract(epoch FROM clock_timestamp() - stats_reset), 0))::float8 AS archived_per_second
  FROM pg_stat_archiver
"""

WAL_FILES = "SELECT name FROM pg_ls_waldir()"

SLOT = """
SELECT slot_name::text AS name, active, restart_lsn::text AS restart_lsn
  FROM pg_replication_slots WHERE slot_name = %(name)s AND slot_type = 'physical'
"""

REPLICATION_CLIENTS = """
SELECT r.pid, r.usename::text AS user, r.application_name, host(r.client_addr) AS client_addr, r.client_hostname,
       r.client_port, r.backend_start, r.backend_xmin::text AS backend_xmin, r.state,
       r.{sent}::text AS sent_lsn, r.{write}::text AS write_lsn, r.{flush}::text AS flush_lsn,
       r.{replay}::text AS replay_lsn, r.sync_priority, r.sync_state, s.slot_name::text AS slot_name
  FROM pg_stat_replication AS r
  LEFT JOIN pg_replication_slots AS s ON s.active_pid = r.pid AND s.slot_type = 'physical'
 ORDER BY r.sync_state DESC, r.sync_priority, r.backend_start, r.pid
"""

# The time the request was made, and not the one when its checkpoint was over.
START_BACKUP = "SELECT {start_backup}::text AS lsn, now() AS time"

CHECKPOINT_TIMELINE = "SELECT timeline_id::bigint AS timeline FROM pg_control_checkpoint()"

STOP_BACKUP = """
SELECT lsn::text AS lsn, labelfile AS label, spcmapfile AS tablespace_map, clock_timestamp() AS time FROM {stop_backup}
"""
STOP_EXCLUSIVE_BACKUP = """
SELECT lsn::text AS lsn, labelfile AS label, spcmapfile AS tablespace_map, clock_timestamp() AS time
  FROM {stop_exclusive_backup}
"""
# 0 on a primary.
RECOVERY_TIMELINE = "SELECT min_recovery_end_timeline::bigint AS timeline FROM pg_control_recovery()"

# A backup holds its session open without a word for hours.
KEEP_IDLE_SESSION = "SELECT set_config('idle_session_timeout', '0', false)"

ANYTHING = "SELECT 1 AS one"

SERVER_TIME = "SELECT clock_timestamp() AS server_time"

# Dates in the form the driver reads, functions from nowhere but pg_catalog, and no surprise from a role's own settings.
SESSION = """
SELECT set_config('DateStyle', 'ISO', false), set_config('TimeZone', 'UTC', false),
       set_config('search_path', 'pg_catalog', false)
"""


def for_version(template: str, version_num: int) -> str:
    """Return the query as a server of this version understands it."""
    words = dict(_WAL_WORDS if supports(version_num, Feature.WAL_WORDING) else _OLD_WAL_WORDS)
    words.update(_backup_words(version_num))
    words.update(_ROLES if supports(version_num, Feature.PREDEFINED_ROLES) else _NO_ROLES)
    words.update(_CHECKPOINT_ROLE if supports(version_num, Feature.CHECKPOINT_ROLE) else {})
    return template.format(**words)


def _backup_words(version_num: int) -> Mapping[str, str]:
    if supports(version_num, Feature.BACKUP_WORDING):
        return _BACKUP_WORDS
    return _BACKUP_WORDS_BEFORE_15 if supports(version_num, Feature.WAL_WORDING) else _BACKUP_WORDS_BEFORE_10
