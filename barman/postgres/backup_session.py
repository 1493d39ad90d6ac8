"""The session a low-level backup lives in: begun in it, ended in it, and given up by the server when it is lost."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, NamedTuple

from barman.postgres import queries
from barman.postgres.connection import CHECKPOINT_TIMEOUT_S, Postgres
from barman.postgres.versions import Feature, supports

if TYPE_CHECKING:
    from datetime import datetime

# A checkpoint that is spread may take nearly as long as checkpoint_timeout, which may be a day.
_SPREAD_CHECKPOINT_TIMEOUT_S = 86400


class BackupStart(NamedTuple):
    """Where a backup began. lsn: text. time: when it was asked for, by the server's clock."""

    lsn: str
    timeline: int
    time: datetime


class BackupEnd(NamedTuple):
    """Where a backup ended. label, tablespace_map: what the files of these names are to hold; None if exclusive.

    timeline: of a standby, which may have followed its primary to a new one; None if it is that of the begin.
    """

    lsn: str
    timeline: int | None
    time: datetime
    label: str | None
    tablespace_map: str | None


class BackupSession(Postgres):
    """A connection for one low-level backup; nothing reconnects it. Source: PostgreSQL manual, "Low Level API"."""

    def start(self, label: str, *, fast: bool, exclusive: bool) -> BackupStart:
        """Begin a backup and return where. fast: do the checkpoint at once, not spread over minutes.

        exclusive: until PostgreSQL 14, by a backup_label file in the data directory, which outlives the session.
        """
        if supports(self.version_num, Feature.IDLE_SESSION_TIMEOUT):
            self._query(queries.KEEP_IDLE_SESSION)
        timeout_s = CHECKPOINT_TIMEOUT_S if fast else _SPREAD_CHECKPOINT_TIMEOUT_S
        words: dict[str, object] = {"label": label, "fast": fast, "exclusive": exclusive}
        [row] = self._query(queries.START_BACKUP, timeout_s=timeout_s, **words)
        [checkpoint] = self._query(queries.CHECKPOINT_TIMELINE)
        return BackupStart(row["lsn"], int(checkpoint["timeline"]), row["time"])

    def stop(self, *, exclusive: bool) -> BackupEnd:
        """End the backup and return where, without waiting for its WAL to be archived (9.6 waits, an hour at most)."""
        template = queries.STOP_EXCLUSIVE_BACKUP if exclusive else queries.STOP_BACKUP
        timeout_s = None if supports(self.version_num, Feature.WAL_WORDING) else CHECKPOINT_TIMEOUT_S
        [row] = self._query(template, timeout_s=timeout_s)
        # A standby says its minimum recovery point. Should that have moved to a newer timeline since, its history still
        # tells in which file the end is.
        [recovery] = self._query(queries.RECOVERY_TIMELINE)
        timeline = int(recovery["timeline"]) or None
        return BackupEnd(row["lsn"], timeline, row["time"], row["label"] or None, row["tablespace_map"] or None)

    def keep_alive(self) -> None:
        """Have firewalls see traffic, and see whether the server still answers; ConnectionFailed if not."""
        self._query(queries.ANYTHING)

    def require_alive(self) -> None:
        """ConnectionFailed if the server has closed the session. Costs nothing while it is silent."""
        if select.select([self._require_connection()], [], [], 0)[0]:
            # It has something to say without being asked: a farewell, or a changed setting.
            self.keep_alive()
