"""Bringing WAL files over from the primary into the archive of this host.

A file is fetched into a directory of its own, looked at, and only then takes its place, with its line: durable like
anything that is archived. Whoever is interrupted goes on where he was, because what is here is not fetched again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from barman.catalog.wal_archive import ArchivedWal, archive_key
from barman.errors import BarmanError, CatalogError, Permanent, Refused, StorageError, WalError
from barman.host.files import make_directories, remove_tree
from barman.postgres.wal_header import LONG_HEADER_SIZE, check_header, parse_page_header
from barman.postgres.wal_names import is_segment_name
from barman.progress import NoBar
from barman.storage.encrypt.openpgp import is_openpgp
from barman.storage.storage import Write
from barman.sync.plan import plan_sync
from barman.sync.state import gather_local, read_primary_info, write_position
from barman.sync.transfer import Route, Transfer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from barman.catalog.xlog_lines import WalEntry
    from barman.progress import Reporter
    from barman.server import Server
    from barman.sync.document import PrimaryState
    from barman.sync.primary import Primary

_log = logging.getLogger(__name__)

# A dot name: whoever lists or rebuilds the archive passes it by.
_STAGING = ".sync"
_BATCH_FILES = 500
_BATCH_BYTES = 512 << 20
_SHOWN = 5


class Wanted(NamedTuple):
    """A WAL file to be brought over. line: what the primary's ledger says of it, None if that is not known here."""

    name: str
    line: WalEntry | None

    @property
    def size(self) -> int:
        """How large it is, 0 if that is not known."""
        return self.line.size if self.line is not None else 0


def sync_wals(server: Server, primary: Primary, reporter: Reporter, now: datetime) -> None:
    """Bring over the WAL that the primary had when it was last asked, what the newest backup needs first.

    With nothing to bring over, every file of the archive is compared with its line, and what is missing or has another
    size is fetched again. Raises Refused when the primary was never asked or a file is damaged there too, LockBusy
    never: it waits; and CommandError, StorageError or CatalogError: what is here then stays, and is not fetched again.
    """
    with server.locks.sync_wal():
        remembered = read_primary_info(server)
        if remembered is None:
            raise never_asked(server)
        state = remembered.state
        local = gather_local(server)
        plan = plan_sync(state, None, local, now)
        if not plan.wal and not plan.copies and not any(record.is_copy_done for record in local.records.values()):
            reporter.warning(f"no WAL of server {server.name} is copied: no backup needs any")
            return
        wanted = missing_wal(server, [Wanted(entry.name, entry) for part in plan.wal for entry in part.entries])
        if not wanted and local.position == state.position:
            wanted = missing_wal(server, [Wanted(entry.name, entry) for entry in server.xlogdb.entries()])
        _tell_damage(server, wanted, reporter)
        if wanted:
            behind = local.position.name if local.position else None
            bring_wal(server, state, Transfer(server, primary), wanted, reporter, behind=behind)
        make_directories(server.paths.wals)
        write_position(server, state.position)


def never_asked(server: Server) -> Refused:
    """What to raise when the primary has not been heard of."""
    return Refused(
        f"the primary of server {server.name} was never asked what it has",
        hint=f"Run 'barman sync-info --primary {server.name}', or wait for cron.",
    )


def missing_wal(server: Server, wanted: Sequence[Wanted]) -> list[Wanted]:
    """Return those of wanted that are not in the archive, with their line and of the size it says."""
    listed = server.xlogdb.get([one.name for one in wanted])
    return [one for one in wanted if one.name not in listed or _size(server, one.name) != listed[one.name].size]


def bring_wal(
    server: Server,
    state: PrimaryState,
    transfer: Transfer,
    wanted: Sequence[Wanted],
    reporter: Reporter,
    *,
    behind: str | None = None,
) -> None:
    """Fetch files and archive them; hold the sync-wal lock. Durable on return, in batches before that.

    behind: a name that no line of the ledger comes behind, if one is known. Raises Refused if some are missing or
    damaged on the primary; all others are here then.
    """
    staging = server.paths.wals / _STAGING
    problems: dict[str, str] = {}
    adding = threading.Lock()
    batches = list(_batches(wanted))
    try:
        remove_tree(staging)
        make_directories(staging)
        with reporter.bar("Copying WAL", total=len(wanted), unit="segments") as bar:

            def work(number: int, batch: Sequence[Wanted], lane: str) -> None:
                directory = staging / str(number)
                faults = _fetch(server, state, transfer, batch, directory, lane)
                for name in faults:
                    _log.info("%s of the primary: %s; fetching it once more", name, faults[name])
                again = [one for one in batch if one.name in faults]
                faults = _fetch(server, state, transfer, again, directory, lane) if again else {}
                with adding:
                    problems.update(faults)
                    _add(server, [one for one in batch if one.name not in faults], directory)
                    bar.advance(len(batch))
                remove_tree(directory)

            transfer.work_off([partial(work, number, batch) for number, batch in enumerate(batches)])
    except OSError as error:
        raise StorageError(f"cannot write {error.filename}: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            remove_tree(staging)
    names = [one.name for one in wanted]
    is_in_order = behind is not None and [behind, *names] == sorted({behind, *names})
    if not is_in_order or (len(batches) > 1 and transfer.lanes > 1):
        server.xlogdb.sort()
    if problems:
        raise _not_brought(server, problems)


def _fetch(
    server: Server, state: PrimaryState, transfer: Transfer, batch: Sequence[Wanted], directory: Path, lane: str
) -> dict[str, str]:
    """Have the files of a batch in directory; return what is wrong with those that are no good, by name."""
    scratch = directory / ".scratch"
    make_directories(scratch)
    transfer.fetch(
        Route(state.wal_directory, directory, scratch),
        [archive_key(one.name) for one in batch],
        lane=lane,
        bar=NoBar(),
        sharers=transfer.lanes,
    )
    faults = {}
    for one in batch:
        path = directory / archive_key(one.name)
        fault = _fault(server, path, one)
        if fault is not None:
            faults[one.name] = fault
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
    return faults


def _fault(server: Server, path: Path, wanted: Wanted) -> str | None:
    """Return what is wrong with a file that was fetched: it is missing, not as large as said, or not that WAL."""
    try:
        size = os.stat(path).st_size
    except FileNotFoundError:
        return "it is missing there"
    line = wanted.line
    if line is not None and size != line.size:
        return f"it has {size} bytes, and {line.size} in the ledger there"
    if not is_segment_name(wanted.name):
        return None
    try:
        with open(path, "rb") as file:
            if is_openpgp(file.read(LONG_HEADER_SIZE)):
                return None
            file.seek(0)
            with server.wal_archive.decode(file) as content:
                start = content.read(LONG_HEADER_SIZE)
        return check_header(parse_page_header(start), name=wanted.name)
    except (WalError, Permanent) as error:
        return error.message


def _add(server: Server, batch: Sequence[Wanted], directory: Path) -> None:
    """Archive what was fetched: with the line the primary has, or one made by looking at the file."""
    archive = server.wal_archive
    writes = {one.name: Write(archive_key(one.name), directory / archive_key(one.name)) for one in batch}
    known = [one for one in batch if one.line is not None]
    if known:
        archive.add(
            [
                ArchivedWal(writes[one.name], one.line.compression, one.line.encryption)
                for one in known
                if one.line is not None
            ]
        )
    unknown = [one.name for one in batch if one.line is None]
    if unknown:
        archive.storage.write_batch([writes[name] for name in unknown])
        archive.heal(unknown)


def _batches(wanted: Iterable[Wanted]) -> Iterator[list[Wanted]]:
    batch: list[Wanted] = []
    size = 0
    for one in wanted:
        if batch and (len(batch) >= _BATCH_FILES or size + one.size > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += one.size
    if batch:
        yield batch


def _tell_damage(server: Server, wanted: Sequence[Wanted], reporter: Reporter) -> None:
    """Say which of the files to be fetched should be here already: those that have a line."""
    listed = server.xlogdb.get([one.name for one in wanted])
    for name in sorted(listed):
        size = _size(server, name)
        how = "is missing" if size is None else f"has {size} bytes instead of {listed[name].size}"
        reporter.warning(f"WAL file {name} of server {server.name} {how}; fetching it again")


def _size(server: Server, name: str) -> int | None:
    try:
        return os.stat(server.paths.wals / archive_key(name)).st_size
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CatalogError(f"cannot read {error.filename}: {error.strerror}") from error


def _not_brought(server: Server, problems: Mapping[str, str]) -> BarmanError:
    names = sorted(problems)
    for name in names:
        _log.error("server %s: WAL file %s of the primary: %s", server.name, name, problems[name])
    shown = "; ".join(f"{name}: {problems[name]}" for name in names[:_SHOWN])
    more = f"; and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return Refused(
        f"{len(names)} WAL files of server {server.name} are damaged on the primary and not copied: {shown}{more}",
        hint="They are tried again with every cron; see 'barman check' on the primary.",
    )
