"""Comparing a backup with its manifest, by PostgreSQL's own program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from barman.errors import CommandError, Refused
from barman.host import runner
from barman.postgres.tools import find_tool

if TYPE_CHECKING:
    from barman.catalog.record import BackupRecord
    from barman.progress import Reporter
    from barman.server import Server

_TOOL = "pg_verifybackup"
_READS_TAR = 180000


def verify_backup(server: Server, record: BackupRecord, reporter: Reporter) -> None:
    """Have every file of a backup compared with the manifest; WAL is not looked at.

    Raises CommandError with what the program found, or when there is no such program; Refused when there is nothing it
    could read; LockBusy while the backup is being deleted.
    """
    data = server.paths.data_dir(record.backup_id)
    with server.locks.lease(record.backup_id, "verifying"):
        if server.backups.get(record.backup_id).doomed:
            raise Refused(f"backup {record.backup_id} is being deleted")
        if not (data / "backup_manifest").is_file():
            raise Refused(
                f"backup {record.backup_id} has no backup_manifest", hint="'barman generate-manifest' writes one."
            )
        tool = find_tool(_TOOL, server.settings.path_prefix)
        if record.compression and tool.version_num < _READS_TAR:
            raise Refused(
                f"backup {record.backup_id} is in tar format, which {tool.path} cannot read",
                hint=f"{_TOOL} of PostgreSQL 18 or newer can; name its directory in path_prefix.",
            )
        reporter.info(f"Calling {_TOOL}")
        done = runner.run(
            [tool.path, "--no-parse-wal", str(data)],
            timeout_s=None,
            env=runner.environment(server.settings.path_prefix, LC_ALL="C"),
            check=False,
        )
    if done.status:
        for line in done.stderr.splitlines():
            reporter.error(line)
        raise CommandError(f"backup {record.backup_id} does not agree with its manifest", status=done.status)
    reporter.info((done.stdout.splitlines() or [""])[0])
