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
from barman.restore.destination import judge_places, require_space, wanted_places
from barman.restore.exclusions import CONTROL_FILE, HELD_BACK, INCOMPLETE, MANIFEST, RECORD_COPY, is_excluded
from barman.restore.fetch import configured_flow
from barman.restore.inventory import Tree, take_inventory, whole_tree
from barman.restore.mounts import measure_mounts
from barman.restore.place_data import DataPlacer
from barman.restore.plan import Method, RestorePlan
from barman.restore.proof import find_damage
from barman.restore.push import Pusher
from barman.restore.push_tar import TarPusher
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

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from barman.config.settings import ServerSettings
    from barman.host.rsync import Entry
    from barman.host.session import Session
    from barman.progress import Bar, Reporter
    from barman.restore.delta import Existing
    from barman.restore.destination import Allowed
    from barman.restore.inventory import Inventory
    from barman.restore.prepare import Prepared
    from barman.restore.room import Mount
    from barman.restore.settings_plan import SettingsPlan
    from barman.server import Server

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

    def __init__(
        self,
        server: Server,
        prepared: Prepared,
        settings: ServerSettings,
        session: Session,
        reporter: Reporter,
        *,
        allowed: Allowed,
    ) -> None:
        """settings: those of the server with what the request overrides. allowed: what may be there."""
        self._server = server
        self._prepared = prepared
        self._plan = prepared.plan
        self._settings = settings
        self._session = session
        self._reporter = reporter
        self._pusher = Pusher(session, settings, server.environment(), reporter)
        self._wanted = wanted_places(self._plan)
        self._wal = WalPusher(server, self._plan, settings, session, self._pusher, reporter)
        paths = [place.path for place in self._wanted]
        staging = self._plan.staging_there
        self._looked_at = paths if staging is None else [*paths, staging]
        facts = look_there(session, self._looked_at)
        self._facts = facts._replace(seen=facts.seen[: len(paths)])
        self._combiner: RemoteCombiner | None = None
        if staging is not None:
            self._combiner = RemoteCombiner(
                server, prepared, settings, session, facts, self._pusher, reporter, staging=staging
            )
        self._allowed = allowed
        self._existing: Existing | None = None
        self._damage: list[str] = []

    def mounts(self) -> Sequence[Mount]:
        """Return the file systems that are written to, there and, for staging, here."""
        here = [room for room in self._plan.room if room.is_here]
        there = [room for room in self._plan.room if not room.is_here]
        return (*mounts_there(self._facts, self._looked_at, there, self._session.name), *measure_mounts(here))

    def require_possible(self) -> None:
        """Refuse what is known to fail, before anything is written: places, room, programs."""
        facts = self._facts
        require_rsync(facts, self._session.name)
        own = {os.path.realpath(path) for path in self._server.paths.directories} if facts.is_this_host else set()
        judge_places(self._wanted, facts.seen, own=own, allowed=self._allowed)
        if any(place.names for place in facts.seen):
            self._existing = look_closer_there(self._session, self._plan.destination)
            require_updatable(
                self._wanted,
                facts.seen,
                self._existing,
                system_identifier=self._plan.record.systemid,
                host=f" on {self._session.name}",
            )
        else:
            # Of what is there already nobody knows how much is needed.
            require_space(self.mounts())
        if self._combiner is not None:
            self._combiner.require_possible()
        elif self._plan.method is Method.COMBINE:
            find_combiner(self._plan.record, self._settings.path_prefix)

    def place(self) -> None:
        """Send the base backup."""
        plan = self._plan
        source = self._server.paths.data_dir(plan.record.backup_id)
        inventories = [take_inventory(tree) for tree in self._trees(source)] if plan.method is Method.COPY else []
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
        elif plan.method is Method.EXTRACT and self._existing is None and self._can_unpack_there:
            self._unpack_there(source)
        elif self._combiner is not None:
            self._damage = self._combiner.place(is_empty=self._existing is None)
            # Of what is there already nothing may have stayed.
            make_directories_there(self._session, self._modes(source, ()))
        else:
            self._push_staged()
        if plan.placements:
            locations = {placement.oid: placement.location for placement in plan.placements}
            link_tablespaces_there(self._session, plan.destination, locations)

    def write_wal(self) -> None:
        """Send the WAL, if it is to be copied: decoded here in batches, the next while the last is on its way."""
        plan = self._plan
        if plan.wal_directory is None:
            return
        self._wal.write(tuple(self._prepared.histories), compare=self._existing is not None)

    def configure(self) -> SettingsPlan:
        """Get the configuration, as the backup or the other host has it, change it, and send what changed."""
        plan = self._plan
        with scratch_directory("barman-restore-") as scratch:
            if plan.method is Method.COPY:
                self._pusher.copy_here(self._server.paths.data_dir(plan.record.backup_id), scratch, _CONFIGURATION)
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
        plan = self._plan
        if plan.method is not Method.COPY:
            yield from self._damage
            return
        paths, backup_id = self._server.paths, plan.record.backup_id
        places = {
            placement.oid: paths.tablespace_dir(backup_id, placement.oid)
            for placement in plan.placements
            if not placement.was_in_place
        }
        data = paths.data_dir(backup_id)
        yield from find_damage(data / MANIFEST, data, tablespaces=places)

    def finish(self) -> None:
        """Make everything durable, and then give the control file its name."""
        plan, facts = self._plan, self._facts
        if not facts.syncs:
            self._reporter.warning(f"there is no sync on {self._session.name}: not all may be on stable storage yet")
        finish_there(
            self._session,
            [place.path for place in self._wanted],
            manifest=f"{MANIFEST}.{plan.record.backup_id}",
            syncs=facts.syncs,
            owner=self._owner(),
            control_file=self._control_file(),
        )

    @property
    def _can_unpack_there(self) -> bool:
        return self._facts.has_gnu_tar and not any(placement.was_in_place for placement in self._plan.placements)

    def _control_file(self) -> tuple[bytes, int] | None:
        """Return what the control file is to be, with its permission bits; None if it is there, and held back."""
        if self._plan.method is not Method.COPY:
            return None
        path = self._server.paths.data_dir(self._plan.record.backup_id) / CONTROL_FILE
        return path.read_bytes(), stat.S_IMODE(path.stat().st_mode)

    def _modes(self, source: Path, inventories: Sequence[Inventory]) -> dict[Path, int]:
        """Return the directories to make there, with their permission bits."""
        # PostgreSQL knows two modes: 0700, and 0750 where the group may read.
        modes = {place.path: 0o700 for place in self._wanted}
        modes[self._plan.destination] |= stat.S_IMODE(source.stat().st_mode) & 0o050
        if self._plan.wal_directory is not None:
            modes[self._plan.wal_directory] = 0o700
        return modes | {found.tree.target / name: 0o700 for found in inventories for name in found.emptied}

    def _trees(self, source: Path) -> list[Tree]:
        """Return what is sent of a plain backup."""
        plan = self._plan
        trees = [_data_tree(source, plan)]
        for placement in plan.placements:
            origin = source / "pg_tblspc" / str(placement.oid)
            if not placement.was_in_place:
                origin = self._server.paths.tablespace_dir(plan.record.backup_id, placement.oid)
            trees.append(whole_tree(origin, placement.location))
        return trees

    def _push(self, inventories: Sequence[Inventory]) -> None:
        total = sum(inventory.bytes for inventory in inventories)
        with self._reporter.bar("Copying the base backup", total=total, unit="bytes") as bar:
            if self._existing is None:
                self._pusher.push(inventories, bar)
                return
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

    def _unpack_there(self, source: Path) -> None:
        plan = self._plan
        tarballs = self._prepared.files[plan.record.backup_id].tarballs
        total = sum((source / tarball.name).stat().st_size for tarball in tarballs)
        with self._reporter.bar("Copying the base backup", total=total, unit="bytes") as bar:
            flow = configured_flow(self._settings, bar)
            pusher = TarPusher(
                self._session,
                self._facts,
                self._pusher.workers,
                flow,
                decryption=self._server.decryption,
                compress=self._settings.network_compression,
            )
            pusher.push(source, tarballs, plan.destination, plan.placements)
        if (source / MANIFEST).exists():
            self._pusher.push_names(source, plan.destination, [MANIFEST], NoBar())

    def _push_staged(self) -> None:
        """Lay the backup out here first, then send it."""
        plan = self._plan
        with staging_directory(staging_path(self._settings), plan.record.backup_id) as staging:
            places = [place._replace(location=staging / str(place.oid)) for place in plan.placements]
            staged = replace(plan, destination=staging / "data", placements=tuple(places))
            placer = DataPlacer(
                self._server, replace(self._prepared, plan=staged), self._settings, self._reporter, is_final=False
            )
            placer.place()
            manifest = staged.destination / f"{MANIFEST}.{plan.record.backup_id}"
            locations = {place.oid: place.location for place in places}
            self._damage = list(find_damage(manifest, staged.destination, tablespaces=locations))
            trees = [_data_tree(staged.destination, plan)]
            trees += [
                whole_tree(here.location, there.location) for here, there in zip(places, plan.placements, strict=True)
            ]
            self._push([take_inventory(tree) for tree in trees])

    def _owner(self) -> tuple[int, int] | None:
        """Return whom the cluster is to belong to, where we are root: PostgreSQL does not run as root."""
        owner = self._facts.owners[0]
        if self._facts.user_id != 0:
            return None
        if owner is None or owner[0] == 0:
            self._reporter.warning(
                f"{self._plan.destination} on {self._session.name} belongs to root: give it to the user of PostgreSQL"
            )
            return None
        return owner


def _data_tree(source: Path, plan: RestorePlan) -> Tree:
    """Return what is sent of a data directory: without what has no place there, and what is behind links."""
    elsewhere = {f"pg_tblspc/{placement.oid}" for placement in plan.placements}

    def leaves_out(name: str) -> bool:
        return is_excluded(name) or name in elsewhere or name == CONTROL_FILE

    return Tree(source, plan.destination, leaves_out)


def _item(entry: Entry) -> Item:
    if entry.is_directory or entry.is_link:
        return Item(Kind.LINK if entry.is_link else Kind.DIRECTORY)
    return Item(Kind.FILE, entry.size, entry.mtime, entry.mode)


def _inodes(root: Path) -> dict[str, int]:
    return {os.path.relpath(path, root): path.lstat().st_ino for path in root.rglob("*") if not path.is_dir()}
