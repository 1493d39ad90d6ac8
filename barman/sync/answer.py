"""Answering another Barman that copies a server from here: sync-info, the side of the primary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from barman.catalog.xlog_tail import Tail, read_behind, read_ledger
from barman.errors import WalError
from barman.postgres.wal_names import WalKind, parse_wal_name
from barman.sync.document import Position, render_answer
from barman.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from barman.catalog.record import BackupRecord
    from barman.catalog.xlog_lines import WalEntry
    from barman.server import Server


def answer(server: Server, config: Mapping[str, object], *, behind: str | None, offset: int | None) -> str:
    """Return the text of the answer: every complete backup, and the WAL the asker does not know of.

    behind, offset: the last line of our ledger that the asker has seen; None: everything from the oldest backup on.
    config: every option of the server as JSON data, and its name. UserError when the ledger does not hold behind.
    """
    records = [record for record in server.backups.load().values() if record.is_copy_done and not record.damage]
    # A ledger that is missing is made anew by whoever reads it first.
    server.xlogdb.is_empty()
    if behind:
        tail = read_behind(server.paths.xlogdb, behind, offset)
    else:
        tail = read_ledger(server.paths.xlogdb)
        tail = tail._replace(entries=_from_oldest(tail, records))
    position = Position(tail.last_name, tail.last_offset)
    return render_answer(records, tail.entries, position, version=__version__, config=config)


def _from_oldest(tail: Tail, records: Sequence[BackupRecord]) -> tuple[WalEntry, ...]:
    """Return the entries that the oldest backup, or a later one, may need."""
    oldest = min((record.begin_wal for record in records if record.begin_wal), default="")
    return tuple(entry for entry in tail.entries if entry.name >= oldest or _is_history(entry.name))


def _is_history(name: str) -> bool:
    try:
        return parse_wal_name(name).kind is WalKind.HISTORY
    except WalError:
        return False
