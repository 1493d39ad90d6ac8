"""Bringing the files of one backup over, and making sure that they are what the primary has."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from functools import partial
from typing import TYPE_CHECKING

from barman.errors import StorageError
from barman.host.files import make_directories, naming, remove_tree
from barman.progress import NoBar
from barman.sync.plan import DAMAGED_THERE
from barman.sync.transfer import Route
from barman.sync.tree_plan import FILTERS, SCRATCH, Found, Way, horizon_of, plan_tree, portions_of
from barman.sync.verify import can_verify, has_manifest, verify

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from barman.catalog.record import BackupRecord
    from barman.host.rsync import Entry
    from barman.progress import Bar, Reporter
    from barman.server import Server
    from barman.sync.transfer import Transfer
from barman.sync.tree_plan import Portion, TreePlan

_SHOWN = 5
_MANIFEST = "data/backup_manifest"


class TreeCopy:
    """The directory of one backup here, and the same on the primary."""

    def __init__(
        self, server: Server, record: BackupRecord, source: str, transfer: Transfer, reporter: Reporter
    ) -> None:
        """record: of the backup. source: its directory on the primary."""
        self._server = server
        self._record = record
        self._source = source
        self._transfer = transfer
        self._reporter = reporter
        self._directory = server.paths.backup_dir(record.backup_id)
        self._scratch = self._directory / SCRATCH

    def copy(self, neighbour: BackupRecord | None) -> None:
        """Make the directory what it is on the primary; what an earlier attempt left there serves.

        neighbour: a backup here whose files may be linked, as they are on the primary. Raises StorageError if files
        are damaged or go away there, CommandError if rsync fails, OSError naming a file of this host.
        """
        self._make_scratch()
        plan = self._plan(neighbour)
        self._lay_out(plan, neighbour)
        basis = None if neighbour is None else self._server.paths.backup_dir(neighbour.backup_id)
        with self._reporter.bar("Copying", total=plan.bytes, unit="bytes") as bar:
            bar.advance(sum(entry.size for entry in (*plan.here, *plan.linked)))
            portions = portions_of(plan, lanes=self._transfer.lanes)
            tasks = [partial(self._bring, portion, basis, min(len(portions), self._transfer.lanes), bar)
                     for portion in portions]  # fmt: skip
            self._transfer.work_off(tasks)
        self._remove_strays(plan)
        self._finish_directories(plan)
        self._verify(plan)
        remove_tree(self._scratch)

    def repair(self) -> bool:
        """Compare a copy that was complete with the primary and the manifest, and fetch what differs; whether any did.

        Every file that is fetched again is told. Raises as copy does.
        """
        self._make_scratch()
        plan = self._plan(None)
        wrong = [entry.name for entry in plan.fetched if not entry.is_link]
        for name in wrong:
            self._reporter.warning(f"{self._name(name)} is not as on the primary; fetching it again")
        # rsync never writes into a file: one that is replaced is another one afterwards.
        inodes = {entry.name: os.lstat(self._directory / entry.name).st_ino for entry in plan.checked}
        with self._reporter.bar("Comparing", total=plan.bytes, unit="bytes") as bar:
            for portion in portions_of(plan, lanes=1):
                self._transfer.work_off([partial(self._bring, portion, None, 1, bar)])
        replaced = [name for name in inodes if os.lstat(self._directory / name).st_ino != inodes[name]]
        for name in replaced:
            self._reporter.warning(f"{self._name(name)} was not as on the primary; it is fetched again")
        found = self._verify(plan)
        remove_tree(self._scratch)
        return bool(wrong or replaced or found)

    def _name(self, name: str) -> str:
        return f"file {name} of backup {self._record.backup_id} of server {self._server.name}"

    def _make_scratch(self) -> None:
        make_directories(self._directory)
        remove_tree(self._scratch)
        make_directories(self._scratch)

    def _plan(self, neighbour: BackupRecord | None) -> TreePlan:
        listing = self._transfer.list_tree(self._source, FILTERS)
        if not any(entry.is_directory and entry.name == "data" for entry in listing):
            raise StorageError(f"the primary has no files of backup {self._record.backup_id} in {self._source}")
        beside = None if neighbour is None else self._server.paths.backup_dir(neighbour.backup_id)
        # Files of an earlier attempt may have been lost by a power cut without losing their size.
        has_checksums = any(entry.name == _MANIFEST for entry in listing) and self._record.compression is None
        return plan_tree(
            listing,
            here=partial(_find, self._directory),
            trusted=has_checksums and can_verify(self._server),
            neighbour=(lambda _: None) if beside is None else partial(_find, beside),
            horizon=None if neighbour is None else horizon_of(self._record.begin_time, neighbour.begin_time),
        )

    def _lay_out(self, plan: TreePlan, neighbour: BackupRecord | None) -> None:
        """Make the directories, and the links to files of the neighbour."""
        for entry in sorted(plan.directories):
            path = self._directory / entry.name
            if path.is_symlink() or (path.exists() and not path.is_dir()):
                path.unlink()
            with naming(path):
                os.makedirs(path, exist_ok=True)
                os.chmod(path, stat.S_IRWXU)
        if neighbour is None:
            return
        beside = self._server.paths.backup_dir(neighbour.backup_id)
        missed = [entry for entry in plan.linked if not _link(beside / entry.name, self._directory / entry.name)]
        if missed:
            self._transfer.work_off([partial(self._fetch, missed, 1, NoBar())])

    def _bring(self, portion: Portion, basis: Path | None, sharers: int, bar: Bar, lane: str) -> None:
        if portion.way is Way.FETCH:
            self._fetch(portion.entries, sharers, bar, lane)
            return
        compares_with = basis if portion.way is Way.COMPARE else None
        self._run(portion.entries, sharers, bar, lane, basis=compares_with, compare=True)

    def _fetch(self, entries: Sequence[Entry], sharers: int, bar: Bar, lane: str) -> None:
        self._run(entries, sharers, bar, lane, basis=None, compare=False)

    def _run(
        self, entries: Sequence[Entry], sharers: int, bar: Bar, lane: str, *, basis: Path | None, compare: bool
    ) -> None:
        self._transfer.fetch(
            Route(self._source, self._directory, self._scratch),
            [entry.name for entry in entries],
            lane=lane,
            bar=bar,
            basis=basis,
            compared_bytes=sum(entry.size for entry in entries) if compare else None,
            sharers=sharers,
        )

    def _remove_strays(self, plan: TreePlan) -> None:
        """Remove what an earlier attempt left, and the primary does not have."""
        directories = {entry.name for entry in plan.directories}
        known = {entry.name for entry in (*plan.files, *plan.fetched)}
        for parent, inside, names in os.walk(self._directory):
            base = os.path.relpath(parent, self._directory)
            for name in [*inside]:
                path = name if base == "." else f"{base}/{name}"
                if path == SCRATCH:
                    inside.remove(name)
                elif path not in directories and not os.path.islink(os.path.join(parent, name)):
                    inside.remove(name)
                    remove_tree(os.path.join(parent, name))
                elif os.path.islink(os.path.join(parent, name)) and path not in known:
                    os.unlink(os.path.join(parent, name))
            for name in names:
                if (name if base == "." else f"{base}/{name}") not in known:
                    os.unlink(os.path.join(parent, name))

    def _finish_directories(self, plan: TreePlan) -> None:
        """Give directories their modes, and make the links to the tablespaces lead to those of this host."""
        for entry in plan.directories:
            path = self._directory / entry.name
            with naming(path):
                os.chmod(path, entry.mode | stat.S_IRWXU)
        for oid in plan.tablespaces:
            link = self._directory / "data" / "pg_tblspc" / oid
            with contextlib.suppress(FileNotFoundError):
                link.unlink()
            link.symlink_to(self._directory / oid)

    def _verify(self, plan: TreePlan) -> tuple[str, ...]:
        """Compare sizes with the listing and checksums with the manifest; fetch what differs again, once.

        Return what was fetched again. StorageError if that did not help: the file is damaged on the primary.
        """
        damaged = self._damaged(plan)
        if not damaged:
            return ()
        for name in damaged:
            self._reporter.warning(f"{self._name(name)} is damaged; fetching it again")
        entries = {entry.name: entry for entry in plan.files}
        again = [entries[name] for name in damaged if name in entries]
        for entry in again:
            with contextlib.suppress(FileNotFoundError):
                (self._directory / entry.name).unlink()
        self._transfer.work_off([partial(self._fetch, again, 1, NoBar())])
        still = self._damaged(plan)
        if still:
            shown = ", ".join(still[:_SHOWN]) + (f" and {len(still) - _SHOWN} more" if len(still) > _SHOWN else "")
            raise StorageError(
                f"{len(still)} files of backup {self._record.backup_id} are {DAMAGED_THERE}: {shown}",
                hint="Verify the backup on the primary with 'barman verify-backup'.",
            )
        return tuple(damaged)

    def _damaged(self, plan: TreePlan) -> list[str]:
        wrong = [entry.name for entry in plan.files if not _is_like(self._directory, entry)]
        if wrong or not has_manifest(self._directory / "data", self._record):
            return wrong
        found = verify(self._server, self._record)
        if found.unverified is not None:
            self._reporter.info(
                f"Checksums of backup {self._record.backup_id} of server {self._server.name} are not compared with "
                f"its manifest: {found.unverified}"
            )
        return list(found.damaged)


def _find(directory: Path, name: str) -> Found | None:
    """Return a file of a backup that is here."""
    try:
        status = os.lstat(directory / name)
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return Found(status.st_size, status.st_mtime_ns // 1_000_000_000, stat.S_IMODE(status.st_mode))


def _is_like(directory: Path, entry: Entry) -> bool:
    found = _find(directory, entry.name)
    return found is not None and found[:2] == (entry.size, entry.mtime)


def _link(source: Path, target: Path) -> bool:
    """Make target a link to source; False if the source is gone, or has as many links as its file system can count."""
    try:
        with contextlib.suppress(FileNotFoundError):
            target.unlink()
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EMLINK, errno.EXDEV, errno.EPERM):
            raise
        return False
    return True
