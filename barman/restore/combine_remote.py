"""Combining a chain of incremental backups on the host it is restored to, by the pg_combinebackup of that host.

Nothing of it needs room, or a program of that PostgreSQL version, on this host.
"""

from __future__ import annotations

import os
import stat
from functools import partial
from typing import TYPE_CHECKING

from barman.errors import CommandError, Refused
from barman.host.scratch import scratch_directory
from barman.postgres.tools import Tool, program_directories
from barman.postgres.versions import major_version, parse_tool_version, version_text
from barman.restore.combine import COMBINED, choose_mode, combine_argv, run_combiner
from barman.restore.destination import Wanted, require_writable
from barman.restore.exclusions import CONTROL_FILE, EMPTIED, HELD_BACK, INCOMPLETE, LEFT_OUT, MANIFEST
from barman.restore.inventory import take_inventory, trees
from barman.restore.proof import compare_sizes, find_damage
from barman.restore.push_tar import unpack_there
from barman.restore.remote_host import LONG_S, demand, link_tablespaces_there, make_directories_there
from barman.restore.staging_remote import COMBINER_PID, staging_there

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from barman.catalog.record import BackupRecord
    from barman.host.session import Session
    from barman.restore.job import Job, Layout
    from barman.restore.push import There

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

# What changes as more is written.
_MEASURE = 'du -sk "$@" 2>/dev/null'

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


class RemoteCombiner:
    """Makes a full backup of the chain of one job on another host, right in its destination."""

    def __init__(self, job: Job, there: There, staging: Path) -> None:
        """there: with the facts of the wanted places, and last of staging, where the chain is laid out there."""
        self._job = job
        self._plan = job.plan
        self._there = there
        self._session = there.session
        self._staging = staging

    def require_possible(self) -> None:
        """Refuse what is known to fail: a staging path that cannot be used, programs that are not there."""
        host, facts = self._session.name, self._there.facts
        *places, staging = facts.seen
        require_writable(Wanted(f"the staging path on {host}", self._staging), staging)
        for place in places:
            if os.path.commonpath([place.real, staging.real]) == place.real:
                raise Refused(f"the staging path on {host} ({self._staging}) lies in {place.real}, which is written to")
        if not facts.has_gnu_tar and any(files.tarballs for files in self._job.prepared.files.values()):
            raise Refused(
                f"there is no GNU tar on {host} to unpack the backups of the chain",
                hint="Install it there, or have the chain combined on this host with --staging-location local.",
            )
        find_combiner_there(self._session, self._plan.record)

    def place(self, *, is_empty: bool) -> list[str]:
        """Send the chain, and combine it in the destination, the control file held back; return what was damaged.

        is_empty: nothing but the mark is in the destination and the places of tablespaces; otherwise it is removed.
        """
        plan, session, backup_id = self._plan, self._session, self._plan.record.backup_id
        if not is_empty:
            roots = [plan.destination, *(placement.location for placement in plan.placements)]
            demand(session, _EMPTY, *roots, timeout_s=LONG_S)
        tool = find_combiner_there(session, plan.record)
        with staging_there(session, self._staging, backup_id, self._job.reporter) as staging:
            members = [self._job.staged_layout(record, staging / record.backup_id) for record in plan.chain]
            self._lay_out(members)
            self._job.reporter.info(f"Combining {len(members)} backups on {session.name}")
            links = {place.oid: place.location for place in members[-1].places}
            mode = choose_mode(self._job, self._there.facts.mounts)
            argv = combine_argv(plan, tool, [member.data for member in members], links, mode)
            words = ["sh", "-c", _COMBINE, "barman", os.fspath(staging / COMBINER_PID), *argv]
            run = partial(session.run, words, timeout_s=None, check=False)
            roots = [plan.destination, *(place.location for place in plan.placements)]
            run_combiner(
                run,
                argv,
                written=lambda: session.script(_MEASURE, *roots, check=False).stdout,
                backup_id=backup_id,
                where=f" on {session.name}",
            )
        moved = [word for place in plan.placements if place.was_in_place for word in (str(place.oid), place.location)]
        demand(session, _SETTLE, plan.destination, *moved, timeout_s=LONG_S)
        return [*self._damage(members), *self._damage_there()]

    def _lay_out(self, members: Sequence[Layout]) -> None:
        packed = [member for member in members if member.tarballs]
        plain = [member for member in members if not member.tarballs]
        inventories = [take_inventory(tree) for member in plain for tree in trees(member, holds_back=False)]
        modes = {place.location: 0o700 for member in members for place in member.places}
        modes |= {found.tree.target / name: 0o700 for found in inventories for name in found.emptied}
        # Whether the group may read what is combined is seen from this.
        modes |= {member.data: 0o700 | stat.S_IMODE(member.source.stat().st_mode) & 0o050 for member in members}
        make_directories_there(self._session, dict(sorted(modes.items())))
        if plain:
            self._there.pusher.push(inventories)
        if packed:
            unpack_there(self._job, self._there, packed)
            demand(self._session, _RELEASE, *(member.data for member in packed))
        for member in members:
            if member.places:
                locations = {place.oid: place.location for place in member.places}
                link_tablespaces_there(self._session, member.data, locations)

    def _damage(self, members: Sequence[Layout]) -> Iterator[str]:
        """Yield what of the chain, as it is here, is not as its manifests say; tarballs proved whole when unpacked."""
        for member in members:
            if not member.tarballs:
                backup_id = member.record.backup_id
                for finding in find_damage(member.source / MANIFEST, member.source, tablespaces=member.origins):
                    is_last = backup_id == self._plan.record.backup_id
                    yield finding if is_last else f"of backup {backup_id}, which it is based on, {finding}"

    def _damage_there(self) -> Iterator[str]:
        """Yield what of the combined backup is not as its own manifest says."""
        plan, pusher = self._plan, self._there.pusher
        sizes = {entry.name: entry.size for entry in pusher.list_there(plan.destination)}
        for place in plan.placements:
            inside = pusher.list_there(place.location)
            sizes |= {f"pg_tblspc/{place.oid}/{entry.name}": entry.size for entry in inside}
        with scratch_directory("barman-restore-") as scratch:
            pusher.pull(plan.destination, scratch, [f"--include=/{MANIFEST}", "--exclude=*"])
            yield from compare_sizes(scratch / MANIFEST, sizes.get)


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
