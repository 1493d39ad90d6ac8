"""Learning what the primary has, and what therefore is to be done here."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from barman.catalog.xlog_lines import format_entry
from barman.errors import BarmanError, CatalogError
from barman.retention.keep import keep_backup, release_backup
from barman.sync.document import with_keeps
from barman.sync.plan import SyncPlan, is_seamless, plan_sync, require_same_cluster
from barman.sync.state import gather_local, read_primary_info, write_primary_info

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from barman.catalog.record import BackupId, KeepTarget
    from barman.progress import Reporter
    from barman.server import Server
    from barman.sync.document import PrimaryState
    from barman.sync.plan import LocalState, SetKeep
    from barman.sync.primary import Primary

_log = logging.getLogger(__name__)


class Refreshed(NamedTuple):
    """What the primary said, as it is remembered now, and what follows from it. text: of primary.info."""

    text: str
    state: PrimaryState
    plan: SyncPlan


def refresh(server: Server, primary: Primary, reporter: Reporter, now: datetime) -> Refreshed:
    """Ask the primary, take over how it keeps its backups, and remember its answer.

    Nothing is remembered when the primary cannot be reached (CommandError), makes no sense (CatalogError), or is
    another cluster (Refused): all stays as it was.
    """
    local, before = gather_local(server), _before(server)
    text, state = _ask(server, primary, local)
    require_same_cluster(state, local, server.name)
    if plan_sync(state, before, local, now).needs_whole_ledger and local.position is not None:
        text, state = primary.ask(None)
    keeps = primary.keeps(state)
    known = (before.keeps if before is not None else None) or {}
    state = replace(state, keeps=known if keeps is None else keeps)
    plan = plan_sync(state, before, local, now)
    text = with_keeps(text, _remembered_keeps(state, known, _apply_keeps(server, plan.keeps, reporter)))
    write_primary_info(server, text)
    for backup_id, reason in plan.skipped.items():
        _log.info("server %s: backup %s of the primary is not copied: %s", server.name, backup_id, reason)
    return Refreshed(text, state, plan)


def _ask(server: Server, primary: Primary, local: LocalState) -> tuple[str, PrimaryState]:
    """Ask for what is new; for everything, where something may have been left out."""
    text, state = primary.ask(local.position)
    known = local.position
    if known is None:
        return text, state
    line = server.xlogdb.get([known.name]).get(known.name) if state.wals else None
    lengths = [len(format_entry(wal)) for wal in state.wals]
    if is_seamless(known, state, lengths, None if line is None else len(format_entry(line))):
        return text, state
    _log.info("server %s: the ledger of the primary was written anew; asking for all of it", server.name)
    return primary.ask(None)


def _before(server: Server) -> PrimaryState | None:
    try:
        remembered = read_primary_info(server)
    except CatalogError as error:
        _log.warning("server %s: %s", server.name, error.message)
        return None
    return None if remembered is None else remembered.state


def _remembered_keeps(
    state: PrimaryState, known: Mapping[BackupId, KeepTarget], failed: frozenset[BackupId]
) -> dict[BackupId, KeepTarget]:
    """Return the marks to be remembered: of those that could not be taken over, what was known before."""
    told = {backup_id: target for backup_id, target in (state.keeps or {}).items() if backup_id not in failed}
    return told | {backup_id: known[backup_id] for backup_id in failed if backup_id in known}


def _apply_keeps(server: Server, marks: Sequence[SetKeep], reporter: Reporter) -> frozenset[BackupId]:
    """Change the marks here; return the backups for which that did not work."""
    failed = set()
    records = server.backups.load()
    for mark in marks:
        try:
            if mark.target is None:
                release_backup(server, records[mark.backup_id])
            else:
                keep_backup(server, records[mark.backup_id], mark.target)
        except BarmanError as error:
            failed.add(mark.backup_id)
            reporter.error(f"backup {mark.backup_id} of server {server.name} is not marked: {error.message}")
        else:
            # Not told: standard output may be waiting for the answer alone.
            _log.info("backup %s of server %s is marked: %s", mark.backup_id, server.name, mark.reason)
    return frozenset(failed)
