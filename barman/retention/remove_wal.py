"""Removing archived WAL that no backup needs. Files go before the lines that list them."""

from __future__ import annotations

import contextlib
import logging
import os
from typing import TYPE_CHECKING

from barman.catalog.hook_variables import wal_variables
from barman.catalog.wal_archive import archive_key
from barman.host.hooks import Event
from barman.retention.plan import plan_wal_removal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from barman.catalog.xlogdb import WalEntry
    from barman.progress import Reporter
    from barman.retention.plan import WalNeeds
    from barman.server import Server

_log = logging.getLogger(__name__)


def find_unneeded_wal(server: Server, needs: WalNeeds) -> list[WalEntry]:
    """Return the archived WAL that is not needed, in name order."""
    if needs.since is None:
        return []
    entries = {entry.name: entry for entry in server.xlogdb.entries(last=needs.since)}
    return [entries[name] for name in plan_wal_removal(entries, needs)]


def remove_unneeded_wal(server: Server, needs: WalNeeds, reporter: Reporter) -> None:
    """Remove the archived WAL that is not needed, telling each name."""
    if needs.since is None:
        _log.info("no WAL of server %s is removed: %s", server.name, needs.reason)
        return
    entries = find_unneeded_wal(server, needs)
    if not entries:
        return
    _log.info("removing %s WAL files of server %s before %s: %s", len(entries), server.name, needs.since, needs.reason)
    reporter.info("Delete associated WAL segments:")
    for entry in entries:
        reporter.info(f"\t{entry.name}")
    _remove(server, entries, reporter)


def holds_unneeded_wal(server: Server, needs: WalNeeds) -> bool:
    """Whether there is any archived WAL that is not needed; looks at names of directories and few files only."""
    return any(plan_wal_removal(names, needs) for names in _names_before(server, needs.since or ""))


def _names_before(server: Server, since: str) -> Iterator[Sequence[str]]:
    """Yield the names of the files that lie in one directory of the archive, of all with WAL before segment since."""
    with contextlib.suppress(FileNotFoundError):
        for directory in sorted(os.listdir(server.paths.wals)):
            if len(directory) == len(since[:16]) and directory <= since[:16]:
                with contextlib.suppress(FileNotFoundError):
                    yield os.listdir(server.paths.wals / directory)


def _remove(server: Server, entries: Sequence[WalEntry], reporter: Reporter) -> None:
    hooks = server.hooks(Event.WAL_DELETE)
    variables = [wal_variables(server.paths.wals / archive_key(entry.name), entry) for entry in entries if hooks]
    for each in variables:
        hooks.before(each, reporter)
    try:
        server.wal_archive.remove([entry.name for entry in entries])
    except BaseException as error:
        for each in variables:
            hooks.after(each, reporter, error=error)
        raise
    for each in variables:
        hooks.after(each, reporter)
