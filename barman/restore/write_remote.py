"""Carrying out the plan of a restore on another host, over ssh and rsync."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

from barman.catalog.record import render_record
from barman.host.files import write_durably
from barman.host.scratch import scratch_directory
from barman.progress import NoBar
from barman.restore.combine import find_combiner, staging_directory
from barman.restore.combine_remote import RemoteCombiner
from barman.restore.configure import configure
from barman.restore.delta import (
    Item,
    Kind,
    find_differences,
    horizon_of,
    render_mark,
    require_updatable,
    trusted_before,
)
from barman.restore.destination import Wanted, judge_places, look, require_space, require_writable, wanted_places
from barman.restore.exclusions import CONTROL_FILE, HELD_BACK, INCOMPLETE, MANIFEST, RECORD_COPY
from barman.restore.inventory import take_inventory, trees
from barman.restore.mounts import measure_mounts
from barman.restore.place_data import DataPlacer
from barman.restore.plan import Method
from barman.restore.proof import find_damage
from barman.restore.push import Pusher, There
from barman.restore.push_tar import unpack_there
from barman.restore.push_wal import WalPusher
from barman.restore.remote_host import (
    begin_there,
    finish_there,
    link_tablespaces_there,
    look_closer_there,
    look_there,
    make_directories_there,
    mounts_there,
    remove_there,
    require_rsync,
)
from barman.restore.request import staging_path
from barman.restore.room import Room, written_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from barman.host.rsync import Entry
    from barman.host.session import Session
    from barman.progress import Bar
    from barman.restore.delta import Existing
    from barman.restore.inventory import Inventory
    from barman.restore.job import Job
    from barman.restore.room import Mount
    from barman.restore.settings_plan import SettingsPlan

# What may hold settings, the catalogue of subscriptions, and the control file; not the data.
_CONFIGURATION = (
    "--max-size=4m",
    "--include=/global/",
    "--include=/global/6100",
    f"--include=/{HELD_BACK}",
    "--exclude=/global/*",
    "--exclude=/base/",
    "--exclude=/pg_*/",
    "--exclude=/log/",
    "--exclude=/barman_wal/",
    "--exclude=/backup_manifest*",
)


class RemoteWriter:
    """Writes one restore to directories of another host."""

    def __init__(self, job: Job, session: Session) -> None:
        self._job = job
        self._plan = job.plan
        self._session = session
        self._wanted = wanted_places(self._plan)
        staging = self._plan.staging_there
        self._looked_at = [*(place.path for place in self._wanted), *([] if staging is None else [staging])]
        self._facts = look_there(session, self._looked_at)
        self._seen = self._facts.seen[: len(self._wanted)]
        self._pusher = Pusher(session, job.settings, job.server.environment(), job.reporter)
        self._there = There(session, self._facts, self._pusher)
        self._wal = WalPusher(job, self._there)
        self._combiner = None if staging is None else RemoteCombiner(job, self._there, staging)
        self._existing: Existing | None = None
        self._damage: list[str] = []

    def mounts(self) -> Sequence[Mount]:
        """Return the file systems that are written to, there and, for staging, here."""
        there = [room for room in self._plan.room if not room.is_here]
        return (
            *mounts_there(self._facts, self._looked_at, there, self._session.name),
            *measure_mounts(self._rooms_here),
        )

    def require_possible(self) -> None:
        """Refuse what is known to fail, before anything is written: places, room, programs."""
        facts = self._facts
        require_rsync(facts, self._session.name)
        allowed = self._job.allowed
        judge_places(
            self._wanted, self._seen, allowed if facts.is_this_host else allowed._replace(kept_out=frozenset())
        )
        if any(place.names for place in self._seen):
            self._existing = look_closer_there(self._session, self._plan.destination)
            require_updatable(
                self._wanted,
                self._seen,
                self._existing,
                system_identifier=self._plan.record.systemid,
                host=f" on {self._session.name}",
            )
        for room in self._rooms_here:
            require_writable(Wanted("the staging path", room.path), look(room.path))
        # Of what is there already nobody knows how much is needed.
        require_space(self.mounts() if self._existing is None else measure_mounts(self._rooms_here))
        if self._combiner is not None:
            self._combiner.require_possible()
        elif self._plan.method is Method.COMBINE:
            find_combiner(self._plan.record, self._job.settings.path_prefix)

    def place(self) -> None:
        """Send the base backup."""
        plan = self._plan
        layout = self._job.layout()
        source = layout.source
        inventories = [take_inventory(tree) for tree in trees(layout)] if plan.method is Method.COPY else []
        begin_there(
            self._session,
            plan.destination,
            self._modes(source, inventories),
            mark=render_mark(plan.record.systemid, horizon_of(plan.record.begin_time, self._existing)),
        )
        if self._existing is not None and plan.wal_directory is not None and not plan.is_wal_inside:
            self._wal.clear(plan.wal_directory)
        if plan.method is Method.COPY:
            self._push(inventories)
        elif self._combiner is not None:
            self._damage = self._combiner.place(is_empty=self._existing is None)
            # Of what is there already nothing may have stayed.
            make_directories_there(self._session, self._modes(source, ()))
        elif self._is_laid_out_here:
            self._push_staged()
        else:
            unpack_there(self._job, self._there, [layout])
        if plan.placements:
            locations = {placement.oid: placement.location for placement in plan.placements}
            link_tablespaces_there(self._session, plan.destination, locations)

    def write_wal(self) -> None:
        """Send the WAL, if it is to be copied: decoded here in batches, the next while the last is on its way."""
        plan = self._plan
        if plan.wal_directory is None:
            return
        self._wal.write(tuple(self._job.prepared.histories), compare=self._existing is not None)

    def configure(self) -> SettingsPlan:
        """Get the configuration, as the backup or the other host has it, change it, and send what changed."""
        plan = self._plan
        with scratch_directory("barman-restore-") as scratch:
            if plan.method is Method.COPY:
                self._pusher.copy_here(self._job.layout().source, scratch, _CONFIGURATION)
            else:
                self._pusher.pull(plan.destination, scratch, _CONFIGURATION)
            before = _inodes(scratch)
            found = configure(plan, scratch)
            write_durably(scratch / RECORD_COPY, render_record(plan.record).encode(), mode=0o600)
            changed = [name for name, inode in _inodes(scratch).items() if before.get(name) != inode]
            self._pusher.push_names(scratch, plan.destination, changed, NoBar())
        return found

    def find_damage(self, configured: SettingsPlan) -> Iterator[str]:
        """Yield what of the backup, as it is here, is not as its manifest says: rsync has sent what there was."""
        if self._plan.method is not Method.COPY:
            yield from self._damage
            return
        layout = self._job.layout()
        yield from find_damage(layout.source / MANIFEST, layout.source, tablespaces=layout.origins)

    def finish(self) -> None:
        """Make everything durable, and then give the control file its name."""
        plan, facts = self._plan, self._facts
        if not facts.syncs:
            self._job.reporter.warning(
                f"there is no sync on {self._session.name}: not all may be on stable storage yet"
            )
        finish_there(
            self._session,
            [place.path for place in self._wanted],
            manifest=f"{MANIFEST}.{plan.record.backup_id}",
            syncs=facts.syncs,
            owner=self._owner(),
            control_file=self._control_file(),
        )

    @property
    def _rooms_here(self) -> Sequence[Room]:
        """What this host has to have room for, for a while."""
        plan = self._plan
        rooms = [room for room in plan.room if room.is_here]
        if self._is_laid_out_here:
            staging = staging_path(self._job.settings)
            rooms.append(Room("staging", staging, written_bytes(plan.room), is_staging=True, is_here=True))
        return rooms

    @property
    def _is_laid_out_here(self) -> bool:
        """Whether the backup is laid out on this host first, and then sent."""
        if self._plan.method is Method.EXTRACT:
            return self._existing is not None or not self._can_unpack_there
        return self._plan.method is Method.COMBINE and self._combiner is None

    @property
    def _can_unpack_there(self) -> bool:
        return self._facts.has_gnu_tar and not any(placement.was_in_place for placement in self._plan.placements)

    def _control_file(self) -> tuple[bytes, int] | None:
        """Return what the control file is to be, with its permission bits; None if it is there, and held back."""
        if self._plan.method is not Method.COPY:
            return None
        path = self._job.layout().source / CONTROL_FILE
        return path.read_bytes(), stat.S_IMODE(path.stat().st_mode)

    def _modes(self, source: Path, inventories: Sequence[Inventory]) -> dict[Path, int]:
        """Return the directories to make there, with their permission bits."""
        # PostgreSQL knows two modes: 0700, and 0750 where the group may read.
        modes = {place.path: 0o700 for place in self._wanted}
        modes[self._plan.destination] |= stat.S_IMODE(source.stat().st_mode) & 0o050
        if self._plan.wal_directory is not None:
            modes[self._plan.wal_directory] = 0o700
        return modes | {found.tree.target / name: 0o700 for found in inventories for name in found.emptied}

    def _push(self, inventories: Sequence[Inventory]) -> None:
        if self._existing is None:
            self._pusher.push(inventories)
            return
        total = sum(inventory.bytes for inventory in inventories)
        with self._job.reporter.bar("Copying the base backup", total=total, unit="bytes") as bar:
            for inventory in inventories:
                self._update(inventory, bar)

    def _update(self, inventory: Inventory, bar: Bar) -> None:
        """Make what is there equal to a tree."""
        there = {entry.name: _item(entry) for entry in self._pusher.list_there(inventory.tree.target)}
        # Made anew a moment ago.
        there.pop(INCOMPLETE, None)
        for name in self._wal.reusable(inventory.tree.target):
            if name in there and there[name].kind is not Kind.LINK:
                del there[name]
        horizon = trusted_before(self._plan.record.begin_time, self._existing)
        found = find_differences(inventory.items, there, horizon=horizon)
        remove_there(self._session, inventory.tree.target, found.removed)
        lost = [inventory.tree.target / name for name in inventory.emptied if name in found.removed]
        if lost:
            make_directories_there(self._session, dict.fromkeys(lost, 0o700))
        files = {file.name: file for file in inventory.files}
        bar.advance(sum(files[name].size for name in found.kept))
        changed, doubtful = ([files[name] for name in names] for names in (found.changed, found.doubtful))
        self._pusher.update(inventory, changed, doubtful, bar)

    def _push_staged(self) -> None:
        """Lay the backup out here first, then send it."""
        plan, job = self._plan, self._job
        with staging_directory(staging_path(job.settings), plan.record.backup_id) as staging:
            places = [place._replace(location=staging / str(place.oid)) for place in plan.placements]
            staged = replace(plan, destination=staging / "data", placements=tuple(places))
            DataPlacer(replace(job, prepared=replace(job.prepared, plan=staged)), is_final=False).place()
            layout = job.layout()._replace(
                source=staged.destination, origins={place.oid: place.location for place in places}
            )
            manifest = layout.source / f"{MANIFEST}.{plan.record.backup_id}"
            self._damage = list(find_damage(manifest, layout.source, tablespaces=layout.origins))
            self._push([take_inventory(tree) for tree in trees(layout)])

    def _owner(self) -> tuple[int, int] | None:
        """Return whom the cluster is to belong to, where we are root: PostgreSQL does not run as root."""
        owner = self._facts.owners[0]
        if self._facts.user_id != 0:
            return None
        if owner is None or owner[0] == 0:
            self._job.reporter.warning(
                f"{self._plan.destination} on {self._session.name} belongs to root: give it to the user of PostgreSQL"
            )
            return None
        return owner


def _item(entry: Entry) -> Item:
    if entry.is_directory or entry.is_link:
        return Item(Kind.LINK if entry.is_link else Kind.DIRECTORY)
    return Item(Kind.FILE, entry.size, entry.mtime, entry.mode)


def _inodes(root: Path) -> dict[str, int]:
    return {os.path.relpath(path, root): path.lstat().st_ino for path in root.rglob("*") if not path.is_dir()}
