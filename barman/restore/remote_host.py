"""The host a remote restore writes to: what there is, and the few things that are done there by its own programs."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from barman.errors import CommandError, Permanent, Refused
from barman.host.remote import last_line
from barman.restore.delta import Existing
from barman.restore.destination import Seen
from barman.restore.exclusions import CONTROL_FILE, HELD_BACK, INCOMPLETE, MANIFEST, RECORD_COPY
from barman.restore.room import Mount
from barman.restore.update_here import begin_time_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from barman.host.session import Session
    from barman.restore.room import Room

# Everything is to be written to disks, or removed, that may be slow; but one that is frozen must not keep us forever.
LONG_S = 7200.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_FACTS = 6
_FACTS_PER_PLACE = 7
# POSIX: df -P. Names of file systems and mount points may hold anything.
_DF = re.compile(r".*?\s+\d+\s+-?\d+\s+(-?\d+)\s+\S+\s+(/.*)", re.DOTALL)

_LOOK = """
export LC_ALL=C
found=
for program in gzip bzip2 xz lz4 zstd; do
    command -v $program >/dev/null 2>&1 && found="$found $program"
done
syncs=
command -v sync >/dev/null 2>&1 && syncs=all
sync --help 2>&1 | grep -q -- --file-system && syncs=one
printf '%s\\0' "$(id -u)" "$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)" \
    "$(rsync --version 2>/dev/null | head -n 1)" "$(tar --version 2>/dev/null | head -n 1)" "$found" "$syncs"
for place do
    existing=$place
    while [ ! -e "$existing" ] && [ ! -L "$existing" ]; do existing=$(dirname "$existing"); done
    kind=other real=$existing names= problem=
    if [ -d "$existing" ]; then
        kind=directory
        real=$(cd -P "$existing" 2>/dev/null && pwd -P) || real=$existing
    fi
    [ -w "$existing" ] && [ -x "$existing" ] || problem='Permission denied'
    [ "$existing" = "$place" ] && [ $kind = directory ] && names=$(ls -A "$existing" 2>/dev/null | head -n 100)
    rest=${place#"$existing"}
    [ "$real" = / ] && [ -n "$rest" ] && real=
    printf '%s\\0' "$existing" "$kind" "$real$rest" "$names" "$problem" \
        "$(df -Pk "$existing" 2>/dev/null | tail -n 1)" "$(ls -ldn "$existing" 2>/dev/null)"
done
"""

_LINK = """
set -e
cd "$1"
mkdir -p -m 700 pg_tblspc
shift
while [ $# -gt 1 ]; do
    rm -f "pg_tblspc/$1"
    ln -s "$2" "pg_tblspc/$1"
    shift 2
done
"""

# $1: how to sync; $2: whom it is to belong to, or nothing; $3: the manifest's name; $4, $5: permission bits and size of
# the control file, which is on standard input, or nothing; $6: the destination; then the rest. Of a connection that is
# cut half a file may arrive.
_FINISH = f"""
set -e
how=$1 owner=$2 manifest=$3 mode=$4 size=$5 data=$6
shift 5
settle() {{
    case $how in
        one) sync -f "$@" ;;
        all) sync ;;
    esac
}}
if [ -n "$mode" ]; then
    umask 077
    cat >"$data/{HELD_BACK}"
    [ "$(wc -c <"$data/{HELD_BACK}")" -eq "$size" ] || {{ echo "the connection was cut" >&2; exit 1; }}
    chmod "$mode" "$data/{HELD_BACK}"
fi
[ -f "$data/{HELD_BACK}" ] || {{ echo "the backup has no {CONTROL_FILE}" >&2; exit 1; }}
[ ! -f "$data/{MANIFEST}" ] || mv -f "$data/{MANIFEST}" "$data/$manifest"
[ -z "$owner" ] || chown -R -h "$owner" "$@"
settle "$@"
mv -f "$data/{HELD_BACK}" "$data/{CONTROL_FILE}"
rm -f "$data/{INCOMPLETE}"
settle "$data"
"""


# $1: a data directory. An identifier is what its control file begins with: PostgreSQL, catalog/pg_control.h.
_LOOK_CLOSER = f"""
pid=
[ ! -e "$1/postmaster.pid" ] || pid=yes
printf '%s\\0' "$pid" "$(od -An -t u8 -N 8 "$1/{CONTROL_FILE}" 2>/dev/null)" \
    "$(cat "$1/{INCOMPLETE}" 2>/dev/null)" "$(cat "$1/{RECORD_COPY}" 2>/dev/null)"
"""

# Modes and directories.
_MAKE = """
set -e
umask 077
while [ $# -gt 1 ]; do
    mkdir -p "$2"
    chmod "$1" "$2"
    shift 2
done
"""

# $1: the destination; $2: the mark; then modes and directories. What is there does not start from now on. The mark does
# not come on standard input: of a connection that is cut half of it would arrive.
_BEGIN = f"""
set -e
umask 077
data=$1 mark=$2
shift 2
while [ $# -gt 1 ]; do
    mkdir -p "$2"
    chmod "$1" "$2"
    shift 2
done
printf %s "$mark" >"$data/{INCOMPLETE}"
sync "$data/{INCOMPLETE}" 2>/dev/null || sync || :
rm -f "$data/{CONTROL_FILE}"
"""

# What is on standard input is removed, each name ended by a zero byte.
_REMOVE = """
set -e
cd "$1"
xargs -0 rm -rf --
"""


class RemoteFacts(NamedTuple):
    """What the other host has.

    user_id: of whom we are there. rsync: its version, None if there is none. has_gnu_tar: tar that can rename and leave
    out. programs: of those that decompress. syncs: "one" file system at a time, "all", or "" if there is no sync.
    seen, free_bytes, owners: of each place asked for; owners: uid and gid of the nearest thing that is there.
    """

    user_id: int
    is_this_host: bool
    rsync: str | None
    has_gnu_tar: bool
    programs: frozenset[str]
    syncs: str
    seen: tuple[Seen, ...]
    free_bytes: tuple[int | None, ...]
    mounts: tuple[str, ...]
    owners: tuple[tuple[int, int] | None, ...]


def look_there(session: Session, places: Sequence[Path]) -> RemoteFacts:
    """Return what there is on the other host; CommandError if it does not answer as a POSIX system does."""
    fields = session.script(_LOOK, *places).stdout.split("\0")[:-1]
    if len(fields) != _FACTS + _FACTS_PER_PLACE * len(places):
        raise CommandError(f"{session.name} does not answer as expected: {' '.join(fields)[:200]!r}")
    user_id, boot_id, rsync, tar, programs, syncs = fields[:_FACTS]
    seen, free, mounts, owners = [], [], [], []
    for number in range(_FACTS, len(fields), _FACTS_PER_PLACE):
        existing, kind, real, names, problem, df, listed = fields[number : number + _FACTS_PER_PLACE]
        match = _DF.fullmatch(df)
        free.append(int(match[1]) * 1024 if match else None)
        mounts.append(match[2] if match else "/")
        owners.append(_owner(listed))
        is_mount = match is not None and match[2] == real
        reason = "Read-only file system" if problem and user_id == "0" else problem
        seen.append(
            Seen(real, existing, kind == "directory", tuple(names.splitlines()), reason or None, is_mount=is_mount)
        )
    return RemoteFacts(
        user_id=int(user_id),
        is_this_host=bool(boot_id) and boot_id == _own_boot_id(),
        rsync=rsync or None,
        has_gnu_tar="GNU tar" in tar,
        programs=frozenset(programs.split()),
        syncs=syncs,
        seen=tuple(seen),
        free_bytes=tuple(free),
        mounts=tuple(mounts),
        owners=tuple(owners),
    )


def require_rsync(facts: RemoteFacts, host: str) -> None:
    """Refuse a host without rsync."""
    if facts.rsync is None:
        raise Refused(f"there is no rsync on {host}", hint="Install it there.")


def mounts_there(facts: RemoteFacts, places: Sequence[Path], rooms: Iterable[Room], host: str) -> tuple[Mount, ...]:
    """Return the file systems that hold rooms, each of which is one of places or in one; those that are known.

    places: as they were looked at.
    """
    found: dict[str, Mount] = {}
    for room in rooms:
        number = next(n for n, place in enumerate(places) if place == room.path or place in room.path.parents)
        free = facts.free_bytes[number]
        if free is not None:
            name = f"{facts.mounts[number]} on {host}"
            known = found.get(name, Mount(name, 0, free))
            found[name] = known.with_room(room)
    return tuple(found.values())


def begin_there(session: Session, destination: Path, modes: Mapping[Path, int], *, mark: str) -> None:
    """Make directories with these permission bits, and mark the destination: what is in it does not start any more.

    mark: text for the file that says so.
    """
    demand(session, _BEGIN, destination, mark, *_words(modes))


def make_directories_there(session: Session, modes: Mapping[Path, int]) -> None:
    """Make directories with these permission bits."""
    demand(session, _MAKE, *_words(modes))


def _words(modes: Mapping[Path, int]) -> list[str]:
    return [word for path, mode in modes.items() for word in (f"{mode:o}", os.fspath(path))]


def link_tablespaces_there(session: Session, destination: Path, locations: Mapping[int, Path]) -> None:
    """Make the links from pg_tblspc to the places of tablespaces, by OID."""
    words = [word for oid, path in locations.items() for word in (str(oid), os.fspath(path))]
    demand(session, _LINK, destination, *words)


def look_closer_there(session: Session, destination: Path) -> Existing:
    """Return what a data directory there tells of itself."""
    pid, identifier, mark, record = session.script(_LOOK_CLOSER, destination).stdout.split("\0")[:4]
    return Existing(
        has_pid_file=bool(pid),
        system_identifier=identifier.strip() or None,
        mark=mark or None,
        begin_time=begin_time_in(record or None),
    )


def remove_there(session: Session, directory: Path, names: Sequence[str]) -> None:
    """Remove files, links and whole directories, named below a directory."""
    if names:
        data = b"".join(b"./" + os.fsencode(name) + b"\0" for name in names)
        demand(session, _REMOVE, directory, data=data, timeout_s=LONG_S)


def finish_there(
    session: Session,
    places: Sequence[Path],
    *,
    manifest: str,
    syncs: str,
    owner: tuple[int, int] | None,
    control_file: tuple[bytes, int] | None,
) -> None:
    """Make everything durable as far as that host can, and then give the control file its name.

    places: the destination first. manifest: what the backup's manifest is to be called. syncs: as in RemoteFacts.
    owner: uid and gid everything is to belong to; None: as is. control_file: its content and permission bits; None: it
    is there, held back.
    """
    whose = "" if owner is None else f"{owner[0]}:{owner[1]}"
    content, mode = (b"", "") if control_file is None else (control_file[0], f"{control_file[1]:o}")
    size = str(len(content))
    demand(session, _FINISH, syncs, whose, manifest, mode, size, *places, data=content, timeout_s=LONG_S)


def demand(
    session: Session, script: str, *words: str | os.PathLike[str], data: bytes = b"", timeout_s: float = 60.0
) -> None:
    """Run a script of a restore there; Permanent, with what it said last, unless it ends with 0."""
    done = session.script(script, *words, input=data, timeout_s=timeout_s, check=False)
    if done.status != 0:
        raise Permanent(f"the restore to {session.name} failed: {last_line(done)}")


def _owner(listed: str) -> tuple[int, int] | None:
    words = listed.split(None, 4)
    return (int(words[2]), int(words[3])) if len(words) > 3 and words[2].isdigit() and words[3].isdigit() else None


def _own_boot_id() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
