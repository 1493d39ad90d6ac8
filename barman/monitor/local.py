"""Finding out what lies on this host for one server."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from barman.catalog.identity import read_identity
from barman.catalog.record import BackupType
from barman.catalog.selection import latest
from barman.config.conflicts import find_encryption_conflicts
from barman.errors import BarmanError
from barman.host.files import make_directories
from barman.host.hooks import Event
from barman.monitor.check_facts import LocalFacts
from barman.storage.encrypt.gpg import require_can_encrypt
from barman.wal.continuity import find_costly_gaps, view_wal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from barman.catalog.record import BackupRecord
    from barman.catalog.xlogdb import WalTotals
    from barman.server import Server

_LAST_NAME = "F" * 24
_ERROR_KINDS = {
    "duplicate": "duplicates",
    "unknown": "unknown",
    "error": "not relevant",
    "damaged": "damaged",
    "foreign": "foreign",
}
_HOOK_KINDS = ("script", "retry_script")
_PLAIN_PATH = re.compile(r"(/[\w.+@:-]+)+")


def gather_local(server: Server, now: datetime) -> LocalFacts:
    """Look at the server's directories and its catalogue. Creates directories that are missing, nothing else.

    What cannot be read is a problem of the directories, and counts as empty.
    """
    problems = [] if server.config.is_disabled else _prepare_directories(server)
    facts = LocalFacts(
        waiting_incoming=_count_waiting(server.paths.incoming),
        waiting_streaming=_count_waiting(server.paths.streaming),
        errors=_count_errors(server.paths.errors),
        encryption_problem=_encryption_problem(server),
        hook_problems=tuple(_hook_problems(server)),
    )
    try:
        facts = _with_catalogue(server, _with_processes(server, facts), now)
    except (BarmanError, OSError) as error:
        problems.append(str(error))
    return replace(facts, directory_problems=tuple(problems))


def _with_processes(server: Server, facts: LocalFacts) -> LocalFacts:
    return replace(
        facts,
        receiver=server.locks.receive_wal().holder(),
        is_backup_running=server.locks.backup().holder() is not None,
    )


def _encryption_problem(server: Server) -> str:
    settings = server.settings
    conflicts = find_encryption_conflicts(settings)
    if conflicts or settings.encryption == "none" or settings.encryption_key_id is None:
        return "; ".join(conflicts)
    try:
        require_can_encrypt(settings.encryption_key_id)
    except BarmanError as error:
        return error.message
    return ""


def _hook_problems(server: Server) -> Iterator[str]:
    """Yield which hook scripts the shell will not find, where that is plain to see: programs named by whole paths."""
    options = (f"{phase}_{event.value}_{kind}" for event in Event for phase in ("pre", "post") for kind in _HOOK_KINDS)
    for option in options:
        program = next(iter((getattr(server.settings, option) or "").split()), "")
        if _PLAIN_PATH.fullmatch(program) and not os.access(program, os.X_OK):
            reason = "cannot be executed" if os.path.exists(program) else "does not exist"
            yield f"{option}: {program} {reason}"


def _with_catalogue(server: Server, facts: LocalFacts, now: datetime) -> LocalFacts:
    records = server.backups.load()
    last = latest(records)
    ranges = _ranges_since(last)
    view = view_wal(server, records, ranges)
    since_begin, since_end = view.totals if ranges else (None, None)
    identity = read_identity(server.paths)
    return replace(
        facts,
        records=tuple(records.values()),
        lost=tuple(
            record.backup_id
            for record in records.values()
            if record.is_done
            and record.type is not BackupType.SNAPSHOT
            and not os.path.isdir(server.paths.data_dir(record.backup_id))
        ),
        has_archived_wal=bool(view.listed) or not server.xlogdb.is_empty(),
        wal_after_backup_bytes=since_end.size_bytes if since_end else 0,
        newest_wal_age=_age(since_begin, now),
        gaps=tuple(find_costly_gaps(server, records, view, now)),
        stored_system_id=identity.systemid if identity else None,
    )


def _is_full(directory: Path) -> bool:
    """Whether its file system takes no more data, or no more files (0 of 0 where these are not counted)."""
    space = os.statvfs(directory)
    return space.f_bavail == 0 or (space.f_files > 0 and space.f_favail == 0)


def _prepare_directories(server: Server) -> list[str]:
    problems = []
    full_devices = set()
    for directory in dict.fromkeys(server.paths.directories):
        try:
            make_directories(directory)
        except OSError as error:
            problems.append(f"{directory}: {error.strerror}")
            continue
        if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
            problems.append(f"{directory}: not writable")
        elif _is_full(directory) and directory.stat().st_dev not in full_devices:
            full_devices.add(directory.stat().st_dev)
            problems.append(f"{directory}: no space left")
    return problems


def _count_waiting(directory: Path) -> int:
    return sum(not name.endswith(".tmp") for name in _names(directory))


def _count_errors(directory: Path) -> Counter[str]:
    """Files by what is wrong with them, as the ends of their names say; in the words of Barman 3.19."""
    return Counter(_ERROR_KINDS.get(name.rpartition(".")[2], "unknown failure") for name in _names(directory))


def _names(directory: Path) -> list[str]:
    try:
        return [name for name in os.listdir(directory) if not name.startswith(".")]
    except OSError:
        return []


def _ranges_since(last: BackupRecord | None) -> list[tuple[str, str]]:
    """WAL archived since the last backup began, and since it ended."""
    if last is None or last.begin_wal is None:
        return []
    # "NAME." sorts behind NAME and before the next segment.
    return [(last.begin_wal, _LAST_NAME), (f"{last.end_wal or last.begin_wal}.", _LAST_NAME)]


def _age(wal: WalTotals | None, now: datetime) -> timedelta | None:
    if wal is None or wal.last is None:
        return None
    return now - datetime.fromtimestamp(wal.last.mtime, timezone.utc)
