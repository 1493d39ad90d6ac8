"""Combining a chain of incremental backups on the host it is restored to, by the pg_combinebackup of that host.

Nothing of it needs room, or a program of that PostgreSQL version, on this host.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from barman.errors import CommandError, Permanent, Refused
from barman.host.remote import last_line
from barman.postgres.tools import Tool, pg_combinebackup_argv, program_directories
from barman.postgres.versions import Feature, major_version, parse_tool_version, supports, version_text
from barman.progress import NoBar
from barman.restore.combine import COMBINED
from barman.restore.destination import Wanted, require_writable
from barman.restore.exclusions import CONTROL_FILE, EMPTIED, HELD_BACK, INCOMPLETE, LEFT_OUT, MANIFEST, is_excluded
from barman.restore.fetch import configured_flow
from barman.restore.inventory import Tree, take_inventory, whole_tree
from barman.restore.placements import Placement
from barman.restore.proof import find_damage
from barman.restore.push_tar import TarPusher
from barman.restore.remote_host import link_tablespaces_there, make_directories_there
from barman.restore.staging_remote import COMBINER_PID, staging_there

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from barman.catalog.record import BackupId, BackupRecord
    from barman.config.settings import ServerSettings
    from barman.host.session import Session
    from barman.progress import Bar, Reporter
    from barman.restore.inventory import Inventory
    from barman.restore.plan import Tarball
    from barman.restore.prepare import Prepared
    from barman.restore.push import Pusher
    from barman.restore.remote_host import RemoteFacts
    from barman.server import Server

_LONG_S = 7200.0

# Programs, by name or path; those that are there are named, with what they say of their version.
_FIND = """
export LC_ALL=C
for program do
    path=$(command -v "$program" 2>/dev/null) || continue
    printf '%s\\0%s\\0' "$path" "$("$path" --version 2>/dev/null | head -n 1)"
done
"""

# $1: a file for the pid, for who has to end the program when we are gone; then the program and its words.
_COMBINE = """
export LC_ALL=C
pid=$1
shift
"$@" </dev/null &
echo $! >"$pid"
wait $!
status=$?
rm -f "$pid"
exit $status
"""

# Data directories out of tarballs: PostgreSQL's program wants the control file under its own name.
_RELEASE = f"""
set -e
for data do mv -f "$data/{HELD_BACK}" "$data/{CONTROL_FILE}"; done
"""

# $1: the destination; then OID and new place of tablespaces that were in place.
_SETTLE = f"""
set -e
data=$1 output=$1/{COMBINED}
shift
mv -f "$output/{CONTROL_FILE}" "$output/{HELD_BACK}"
while [ $# -gt 1 ]; do
    rmdir "$2"
    mv "$output/pg_tblspc/$1" "$2"
    shift 2
done
for name in {" ".join(sorted(EMPTIED))}; do
    [ ! -d "$output/$name" ] || find "$output/$name/." ! -name . -prune -exec rm -rf {{}} +
done
for name in {" ".join(sorted(LEFT_OUT))}; do rm -f "$output/$name"; done
find "$output/." ! -name . -prune -exec sh -c 'mv -f "$@" "$0/"' "$data" {{}} +
rmdir "$output"
"""

# Directories, of which nothing stays but the mark.
_EMPTY = f"""
set -e
for directory do
    [ ! -d "$directory" ] || find "$directory/." ! -name . -prune ! -name {INCOMPLETE} -exec rm -rf {{}} +
done
"""


class _Member(NamedTuple):
    """One backup of the chain, and where it is laid out there. tarballs: empty for plain files."""

    record: BackupRecord
    source: Path
    data: Path
    places: tuple[Placement, ...]
    tarballs: tuple[Tarball, ...]


class RemoteCombiner:
    """Makes a full backup of the chain of one plan on another host, right in its destination."""

    def __init__(
        self,
        server: Server,
        prepared: Prepared,
        settings: ServerSettings,
        session: Session,
        facts: RemoteFacts,
        pusher: Pusher,
        reporter: Reporter,
        *,
        staging: Path,
    ) -> None:
        """facts: of the wanted places, and last of staging, where the chain is laid out there."""
        self._server = server
        self._prepared = prepared
        self._plan = prepared.plan
        self._settings = settings
        self._session = session
        self._facts = facts
        self._pusher = pusher
        self._reporter = reporter
        self._staging = staging

    def require_possible(self) -> None:
        """Refuse what is known to fail: a staging path that cannot be used, programs that are not there."""
        host, staging, places = self._session.name, self._facts.seen[-1], self._facts.seen[:-1]
        require_writable(Wanted(f"the staging path on {host}", self._staging), staging)
        for place in places:
            if os.path.commonpath([place.real, staging.real]) == place.real:
                raise Refused(f"the staging path on {host} ({self._staging}) lies in {place.real}, which is written to")
        files = self._prepared.files
        if not self._facts.has_gnu_tar and any(files[record.backup_id].tarballs for record in self._plan.chain):
            raise Refused(
                f"there is no GNU tar on {host} to unpack the backups of the chain",
                hint="Install it there, or have the chain combined on this host with --staging-location local.",
            )
        find_combiner_there(self._session, self._plan.record)

    def place(self, *, is_empty: bool) -> list[str]:
        """Send the chain, and combine it in the destination, the control file held back; return what was damaged.

        is_empty: nothing but the mark is in the destination and the places of tablespaces; otherwise it is removed.
        """
        plan = self._plan
        if not is_empty:
            roots = [plan.destination, *(placement.location for placement in plan.placements)]
            self._demand(_EMPTY, *roots)
        tool = find_combiner_there(self._session, plan.record)
        with staging_there(self._session, self._staging, plan.record.backup_id, self._reporter) as staging:
            members = [self._member(record, staging / record.backup_id) for record in plan.chain]
            self._lay_out(members)
            self._reporter.info(f"Combining {len(members)} backups on {self._session.name}")
            self._combine(tool, members, staging)
        moved = [word for place in plan.placements if place.was_in_place for word in (str(place.oid), place.location)]
        self._demand(_SETTLE, plan.destination, *moved)
        return list(self._damage(members))

    def _member(self, record: BackupRecord, root: Path) -> _Member:
        places = tuple(
            Placement(tablespace.name, tablespace.oid, root / str(tablespace.oid), was_in_place=False)
            for tablespace in record.tablespaces or ()
            if tablespace.location.startswith("/")
        )
        tarballs = self._prepared.files[record.backup_id].tarballs
        return _Member(record, self._server.paths.data_dir(record.backup_id), root / "data", places, tarballs)

    def _lay_out(self, members: Sequence[_Member]) -> None:
        packed = [member for member in members if member.tarballs]
        inventories = [found for member in members if not member.tarballs for found in self._inventories(member)]
        modes = {place.location: 0o700 for member in members for place in member.places}
        modes |= {found.tree.target / name: 0o700 for found in inventories for name in found.emptied}
        # Whether the group may read what is combined is seen from this.
        modes |= {member.data: 0o700 | stat.S_IMODE(member.source.stat().st_mode) & 0o050 for member in members}
        make_directories_there(self._session, dict(sorted(modes.items())))
        total = sum(found.bytes for found in inventories)
        total += sum((member.source / tar.name).stat().st_size for member in packed for tar in member.tarballs)
        with self._reporter.bar("Copying the base backup", total=total, unit="bytes") as bar:
            if inventories:
                self._pusher.push(inventories, bar)
            self._unpack(packed, bar)
        for member in members:
            if member.places:
                locations = {place.oid: place.location for place in member.places}
                link_tablespaces_there(self._session, member.data, locations)

    def _inventories(self, member: _Member) -> Iterator[Inventory]:
        elsewhere = {f"pg_tblspc/{place.oid}" for place in member.places}
        yield take_inventory(Tree(member.source, member.data, lambda name: is_excluded(name) or name in elsewhere))
        for place in member.places:
            origin = self._server.paths.tablespace_dir(member.record.backup_id, place.oid)
            yield take_inventory(whole_tree(origin, place.location))

    def _unpack(self, members: Sequence[_Member], bar: Bar) -> None:
        for member in members:
            pusher = TarPusher(
                self._session,
                self._facts,
                self._pusher.workers,
                configured_flow(self._settings, bar),
                decryption=self._server.decryption,
                compress=self._settings.network_compression,
            )
            pusher.push(member.source, member.tarballs, member.data, member.places)
            self._pusher.push_names(member.source, member.data, [MANIFEST], NoBar())
        if members:
            self._demand(_RELEASE, *(member.data for member in members))

    def _combine(self, tool: Tool, members: Sequence[_Member], staging: Path) -> None:
        staged = {place.oid: place.location for place in members[-1].places}
        mapping: Mapping[str, Path] = {
            os.fspath(staged[place.oid]): place.location for place in self._plan.placements if not place.was_in_place
        }
        argv = pg_combinebackup_argv(
            tool,
            backups=[member.data for member in members],
            output=self._plan.destination / COMBINED,
            tablespace_mapping=mapping,
            mode=self._mode(),
        )
        done = self._session.script(_COMBINE, staging / COMBINER_PID, *argv, timeout_s=None, check=False)
        if done.status != 0:
            said = next((line for line in done.stderr.splitlines() if "error:" in line), last_line(done))
            raise CommandError(
                f"cannot combine the chain of backup {self._plan.record.backup_id} on {self._session.name}: {said}",
                argv=argv,
                status=done.status,
                stderr=done.stderr,
            )

    def _mode(self) -> str:
        mode = self._settings.combine_mode
        if mode == "link" and (obstacle := self._obstacle_to_links()) is not None:
            self._reporter.warning(f"combine mode 'link' is not possible {obstacle}; files are copied")
            return "copy"
        return mode

    def _obstacle_to_links(self) -> str | None:
        """Return why the combined backup cannot have the very files that were laid out, by links."""
        if not supports(self._plan.record.version or 0, Feature.COMBINE_LINK):
            return "before PostgreSQL 18"
        return None if len(set(self._facts.mounts)) == 1 else "from one file system to another"

    def _damage(self, members: Sequence[_Member]) -> Iterator[str]:
        """Yield what of the chain, as it is here, is not as its manifests say; tarballs proved whole when unpacked."""
        paths = self._server.paths
        for member in members:
            if not member.tarballs:
                backup_id: BackupId = member.record.backup_id
                places = {place.oid: paths.tablespace_dir(backup_id, place.oid) for place in member.places}
                for finding in find_damage(member.source / MANIFEST, member.source, tablespaces=places):
                    is_last = backup_id == self._plan.record.backup_id
                    yield finding if is_last else f"of backup {backup_id}, which it is based on, {finding}"

    def _demand(self, script: str, *words: str | os.PathLike[str]) -> None:
        done = self._session.script(script, *words, timeout_s=_LONG_S, check=False)
        if done.status != 0:
            raise Permanent(f"the restore to {self._session.name} failed: {last_line(done)}")


def find_combiner_there(session: Session, record: BackupRecord) -> Tool:
    """Return pg_combinebackup of the backup's major version on that host; Refused if there is none.

    It is looked for in PATH there, and where distributions keep the programs of that version.
    """
    wanted = major_version(record.version or 0)
    name = "pg_combinebackup"
    candidates = [name, *(f"{directory}/{name}" for directory in program_directories(wanted))]
    fields = session.script(_FIND, *candidates).stdout.split("\0")[:-1]
    others = []
    for path, said in zip(fields[::2], fields[1::2], strict=False):
        try:
            version = parse_tool_version(said)
        except CommandError:
            continue
        if major_version(version) == wanted:
            return Tool(name, path, version)
        others.append(f"{path} is of version {version_text(version)}")
    reason = f" ({', '.join(others)})" if others else ""
    raise Refused(
        f"there is no {name} of PostgreSQL {wanted} on {session.name}{reason}",
        hint=f"Install the programs of PostgreSQL {wanted} there, or have their directory in the PATH of ssh logins, "
        "or have the chain combined on this host with --staging-location local.",
    )
