"""Base backups with pg_basebackup (backup_method = postgres)."""

from __future__ import annotations

import logging
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from barman.backup.closing import switch_primary
from barman.backup.damage_lines import DamageLines
from barman.backup.durable import make_tree_durable
from barman.backup.encrypting import encrypt_tarballs
from barman.backup.incremental import require_server_can
from barman.backup.label import read_label
from barman.backup.positions import begin_at, end_at
from barman.backup.stall import StallWatch
from barman.errors import CatalogError, CommandError, ConfigError, ConnectionFailed, PostgresError, Refused
from barman.host import clock, runner
from barman.host.files import make_directories, remove_tree
from barman.postgres.backup_label import parse_backup_label
from barman.postgres.base_compression import base_compression, compression_problems
from barman.postgres.conninfo import mask_secrets
from barman.postgres.lsn import parse_lsn
from barman.postgres.manifest import read_wal_ranges
from barman.postgres.tools import find_tool, pg_basebackup_argv, require_compatible
from barman.postgres.versions import Feature, supports

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from barman.backup.executor import Job
    from barman.catalog.record import BackupRecord
    from barman.postgres.tools import Tool
    from barman.progress import Bar

_log = logging.getLogger(__name__)

_PROGRESS = re.compile(r"\s*(\d+)/(\d+) kB \(")
_SWITCH_EVERY_S = 10.0
_PRIVATE = 0o700
# What pg_basebackup ends with when the server found damaged pages.
_DAMAGED = "checksum error occurred"
# The WAL ranges stand at the end, after one line for every file of the cluster.
_MANIFEST_TAIL_SIZE = 64 * 1024


class PostgresExecutor:
    """One run of pg_basebackup, repeated from scratch when it fails and the settings say so."""

    mode = "postgres"

    def __init__(self, job: Job) -> None:
        self._job = job
        self._server = job.server
        self._settings = job.settings
        self._compression = base_compression(job.settings)
        self._conninfo = self._server.streaming().conninfo.with_(application_name=job.settings.streaming_backup_name)

    def describe(self) -> str:
        """Say how it copies."""
        return "pg_basebackup"

    def require_possible(self) -> None:
        """Raise unless tool, server, settings and parent fit together."""
        tool, facts = self._tool(), self._job.facts
        require_compatible(tool, facts.version_num)
        if self._compression is not None:
            problems = compression_problems(
                self._compression, tool_version_num=tool.version_num, server_version_num=facts.version_num
            )
            if problems:
                raise ConfigError(f"server {self._server.name}: {problems[0]}", problems=problems)
            self._require_all_can_be_packed()
        if self._job.parent is not None:
            require_server_can(facts)
        with self._server.streaming() as streaming:
            identity = streaming.identify_system()
        if identity.system_identifier != facts.system_identifier:
            raise Refused(
                f"conninfo and streaming_conninfo of server {self._server.name} lead to different clusters "
                f"(system identifiers {facts.system_identifier} and {identity.system_identifier})"
            )

    def _require_all_can_be_packed(self) -> None:
        """Refuse tarballs of a cluster with tablespaces in place: pg_basebackup (15 to 18) leaves them out."""
        in_place = [found.name for found in self._job.facts.tablespaces if not found.location.startswith("/")]
        if in_place and self._compression is not None and self._compression.format == "tar":
            raise Refused(
                f"pg_basebackup cannot pack the tablespaces in place of server {self._server.name}: "
                f"{', '.join(in_place)}",
                hint="Unset backup_compression, or set backup_compression_format = plain.",
            )

    def start(self, record: BackupRecord) -> BackupRecord:
        """Set a provisional begin: pg_basebackup begins the backup itself."""
        with self._server.postgres() as postgres:
            facts = postgres.facts()
        # A standby begins a backup at its last restartpoint, which lies behind.
        lsn = facts.redo_lsn if facts.in_recovery or facts.current_lsn is None else facts.current_lsn
        return begin_at(replace(record, begin_time=facts.server_time), parse_lsn(lsn), facts.timeline)

    def copy(self, record: BackupRecord) -> BackupRecord:
        """Run pg_basebackup, as often as the settings allow."""
        self._job.action = "copying files"
        attempts_left = self._settings.basebackup_retry_times
        while True:
            started = clock.monotonic()
            self._clear(record)
            try:
                self._run(record)
            except (CommandError, ConnectionFailed) as error:
                if attempts_left <= 0:
                    raise
                self._job.reporter.warning(
                    f"{error.message}; trying again in {self._settings.basebackup_retry_sleep} seconds "
                    f"({attempts_left} more)"
                )
                attempts_left -= 1
                time.sleep(self._settings.basebackup_retry_sleep)
                continue
            copy_s = round(clock.monotonic() - started, 6)
            packed = self._compression if self._compression and self._compression.format == "tar" else None
            return replace(
                record,
                copy_stats={"copy_time": copy_s, "total_time": copy_s},
                compression=packed.algorithm if packed else None,
            )

    def stop(self, record: BackupRecord) -> BackupRecord:
        """Read begin and end from what was copied: pg_basebackup has ended the backup already."""
        data = self._data(record)
        _require_all_expected(data, record)
        self._job.action = "reading the backup label"
        text = read_label(data)
        label = parse_backup_label(text)
        record = begin_at(replace(record, backup_label=text), parse_lsn(label.start_lsn), label.timeline)
        self._job.action = "issuing stop of the backup"
        if supports(self._job.facts.version_num, Feature.BACKUP_MANIFEST):
            return end_at(replace(record, end_time=self._server_time()), *_end_in_manifest(data / "backup_manifest"))
        with self._server.postgres() as postgres:
            facts = postgres.facts()
        # Later than the true end, and the best there is without a manifest.
        lsn = parse_lsn(facts.current_lsn or label.start_lsn)
        return end_at(replace(record, end_time=facts.server_time), lsn, facts.timeline)

    def make_durable(self, record: BackupRecord) -> BackupRecord:
        """Encrypt the copy, if that is asked for, and flush it."""
        key_id = self._settings.encryption_key_id
        if self._settings.encryption == "gpg" and key_id is not None:
            self._job.action = "encrypting the backup"
            encrypt_tarballs(self._data(record), key_id, self._job.reporter)
            record = replace(record, encryption="gpg")
        self._job.action = "flushing the backup to disk"
        return make_tree_durable(record, self._server.paths.backup_dir(record.backup_id), self._job.reporter)

    def abort(self) -> None:
        """Do nothing: the runner has ended pg_basebackup, and with its connection the server ended the backup."""

    def _server_time(self) -> datetime:
        try:
            with self._server.postgres() as postgres:
                return postgres.server_time()
        except PostgresError as error:
            # The copy is complete: that the server is gone now does not spoil it.
            _log.warning("server %s does not tell the time: %s", self._server.name, error)
            return clock.now()

    def _tool(self) -> Tool:
        return find_tool("pg_basebackup", self._settings.path_prefix)

    def _data(self, record: BackupRecord) -> Path:
        return self._server.paths.data_dir(record.backup_id)

    def _tablespace_directories(self, record: BackupRecord) -> Mapping[str, Path]:
        paths = self._server.paths
        return {ts.location: paths.tablespace_dir(record.backup_id, ts.oid) for ts in record.tablespaces or ()}

    def _clear(self, record: BackupRecord) -> None:
        for directory in (self._data(record), *self._tablespace_directories(record).values()):
            remove_tree(directory)
            make_directories(directory)
            directory.chmod(_PRIVATE)

    def _run(self, record: BackupRecord) -> None:
        tool, parent = self._tool(), self._job.parent
        argv = pg_basebackup_argv(
            tool,
            conninfo=self._conninfo,
            directory=self._data(record),
            tablespace_mapping=self._tablespace_directories(record),
            bandwidth_kib_s=self._settings.bandwidth_limit,
            immediate_checkpoint=self._settings.immediate_checkpoint,
            parent_manifest=None if parent is None else self._data(parent) / "backup_manifest",
            compression=self._compression,
            target_dbid=self._settings.warehousepg_dbid,
        )
        # Its own flush would be file after file; ours follows, in parallel, and counts as it goes.
        argv += ["--progress", "--no-sync"]
        with self._job.reporter.bar("Copying", total=record.cluster_size, unit="bytes") as bar:
            watch = _Watch(self._job, bar)
            done = runner.run(
                argv,
                shown=[mask_secrets(argument) for argument in argv],
                timeout_s=None,
                check=False,
                env={**self._server.environment(), **self._conninfo.environment(), "LC_ALL": "C"},
                on_line=watch.line,
                on_tick=watch.tick,
            )
        if done.status == 1 and done.stderr.rstrip().endswith(_DAMAGED) and self._is_complete(record):
            # All was sent, and the last word was that pages are damaged.
            self._job.pages = watch.pages.report()
        elif done.status != 0:
            raise CommandError(_reason(done.status, done.stderr), status=done.status, stderr=done.stderr)

    def _is_complete(self, record: BackupRecord) -> bool:
        """Give the manifest its name, which pg_basebackup does last; False if there is none."""
        manifest = self._data(record) / "backup_manifest"
        try:
            manifest.with_suffix(".tmp").rename(manifest)
        except FileNotFoundError:
            return False
        return True


def _reason(status: int, stderr: str) -> str:
    """Return why pg_basebackup failed in its own words: the last error, not what it cleaned up after it."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if "error: " in line or "fatal: " in line] or lines
    how = f"was ended by signal {-status}" if status < 0 else f"ended with exit status {status}"
    return mask_secrets(errors[-1].strip()) if errors and status > 0 else f"pg_basebackup {how}"


def _require_all_expected(data: Path, record: BackupRecord) -> None:
    """Raise CatalogError if a tablespace was sent that the record does not know: nobody would restore it.

    It was made while the backup began, and a plain one was written to its original place, here.
    """
    links = {entry.name for entry in data.glob("pg_tblspc/*") if entry.is_symlink()}
    archives = {entry.name.partition(".")[0] for entry in data.glob("[0-9]*.tar*")}
    unknown = (links | archives).difference(str(tablespace.oid) for tablespace in record.tablespaces or ())
    if unknown:
        raise CatalogError(f"tablespaces were made while the backup began (OID {', '.join(sorted(unknown))})")


def _end_in_manifest(manifest: Path) -> tuple[int, int]:
    """Return end LSN and timeline of the WAL the copy needs, as PostgreSQL noted it; CatalogError if it did not."""
    with manifest.open("rb") as file:
        file.seek(max(manifest.stat().st_size - _MANIFEST_TAIL_SIZE, 0))
        # The line the tail begins in is only a part of one; the first line of a short manifest holds nothing we need.
        ranges = read_wal_ranges(line.decode("utf-8", "surrogateescape") for line in file.readlines()[1:])
    if not ranges:
        raise CatalogError(f"{manifest} does not say which WAL the backup needs")
    last = max(ranges, key=lambda entry: entry.timeline)
    return parse_lsn(last.end_lsn), last.timeline


class _Watch:
    """Follows what pg_basebackup says: progress to the bar, the rest to the log; sees to it that it ends."""

    def __init__(self, job: Job, bar: Bar) -> None:
        self._job = job
        self._bar = bar
        self._done_kib = 0
        self.pages = DamageLines(int(job.facts.setting("segment_size") or 1 << 17))
        self._total_kib: int | None = None
        self._stall = StallWatch(self._probe)
        self._switch_at = 0.0

    def line(self, text: str) -> None:
        """Take one line of its output."""
        progress = _PROGRESS.match(text)
        if progress is None:
            self.pages.take(text)
            _log.info("%s: %s", self._job.server.name, text)
            return
        done, total = int(progress[1]), int(progress[2])
        if total != self._total_kib:
            self._bar.set_total(total * 1024)
            self._total_kib = total
        if done > self._done_kib:
            self._bar.advance((done - self._done_kib) * 1024)
            self._done_kib = done
            self._stall.progress()

    def tick(self) -> None:
        """Look after it while it is silent; ConnectionFailed ends it."""
        if (
            self._job.facts.in_recovery
            and self._stall.silent_s > _SWITCH_EVERY_S
            and clock.monotonic() > self._switch_at
        ):
            # It may be waiting for WAL that only the primary can close. Its own words for that are localised.
            switch_primary(self._job)
            self._switch_at = clock.monotonic() + _SWITCH_EVERY_S
        self._stall.tick()

    def _probe(self) -> None:
        try:
            with self._job.server.postgres() as postgres:
                postgres.is_in_recovery()
        except ConnectionFailed:
            raise
        except PostgresError as error:
            # It answers, if only to refuse.
            _log.info("server %s: %s", self._job.server.name, error)
