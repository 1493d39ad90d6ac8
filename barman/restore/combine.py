"""Making a full backup of a chain of block-level incremental ones, with PostgreSQL's own pg_combinebackup."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

from barman.errors import CommandError
from barman.host import runner
from barman.host.scratch import scratch_directory
from barman.host.transfer import copy_file
from barman.postgres.tools import find_tool, pg_combinebackup_argv
from barman.postgres.versions import major_version
from barman.restore.exclusions import CONTROL_FILE, HELD_BACK, MANIFEST, is_excluded
from barman.restore.extract import extract_all
from barman.restore.fetch import copy_trees, make_links, whole_route
from barman.restore.placements import Placement

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from barman.catalog.layout import ServerPaths
    from barman.catalog.record import BackupId, BackupRecord
    from barman.host.transfer import Flow
    from barman.postgres.tools import Tool
    from barman.restore.fetch import Route
    from barman.restore.plan import BackupFiles, RestorePlan
    from barman.storage.encrypt.gpg import Decryption

# Made in the destination, and moved up when it is whole.
COMBINED = ".barman-combine"


def find_combiner(record: BackupRecord, path_prefix: str | None) -> Tool:
    """Return pg_combinebackup of the backup's major version; CommandError if there is none."""
    tool = find_tool("pg_combinebackup", path_prefix)
    wanted = major_version(record.version or 0)
    if major_version(tool.version_num) != wanted:
        raise CommandError(
            f"{tool.path} is of PostgreSQL {major_version(tool.version_num)}, and the backup is of version {wanted}",
            hint=f"Install the client programs of PostgreSQL {wanted}, or name their directory in path_prefix.",
        )
    return tool


@contextlib.contextmanager
def staging_directory(parent: Path, backup_id: str) -> Iterator[Path]:
    """Make a directory below parent for the time of the with block; it is gone afterwards, whatever happened."""
    parent.mkdir(parents=True, exist_ok=True)
    with scratch_directory("barman-decompress-", parent, label=f"{backup_id}-") as directory:
        yield directory


def stage(
    plan: RestorePlan,
    files: Mapping[BackupId, BackupFiles],
    paths: ServerPaths,
    staging: Path,
    *,
    workers: int,
    flow: Flow,
    decryption: Decryption | None,
) -> Mapping[BackupId, Path]:
    """Lay out the members of the chain that cannot be read where they are; return the directories of all.

    decryption: for those that are encrypted.
    """
    found = {record.backup_id: paths.data_dir(record.backup_id) for record in plan.chain}
    for record in plan.chain:
        backup_id = record.backup_id
        if backup_id not in plan.staged:
            continue
        root = staging / backup_id
        data = root / "data"
        placements = [
            Placement(tablespace.name, tablespace.oid, root / str(tablespace.oid), was_in_place=False)
            for tablespace in record.tablespaces or ()
            if tablespace.location.startswith("/")
        ]
        for directory in (data, *(placement.location for placement in placements)):
            directory.mkdir(mode=0o700, parents=True)
        source = paths.data_dir(backup_id)
        if files[backup_id].tarballs:
            routes: dict[int | None, Route] = {None: whole_route(data)}
            routes |= {placement.oid: whole_route(placement.location) for placement in placements}
            tarballs = files[backup_id].tarballs
            extract_all(source, tarballs, routes, workers=workers, flow=flow, decryption=decryption)
            copy_file(os.fspath(source / MANIFEST), os.fspath(data / MANIFEST), flow)
        else:
            _copy_all(placements, source, root, paths.backup_dir(backup_id), workers=workers, flow=flow)
        make_links(data, placements)
        found[backup_id] = data
    return found


def combine(
    plan: RestorePlan, tool: Tool, members: Mapping[BackupId, Path], *, mode: str, env: Mapping[str, str]
) -> None:
    """Write the combined backup into the destination, the control file held back.

    members: the directory of each backup of the chain. It is made in a directory inside the destination, so that what
    an interruption leaves cannot be taken for a data directory, and moved up by renames.
    """
    output = plan.destination / COMBINED
    last = members[plan.record.backup_id]
    mapping = {
        os.readlink(last / "pg_tblspc" / str(placement.oid)): placement.location
        for placement in plan.placements
        if not placement.was_in_place
    }
    backups = [members[record.backup_id] for record in plan.chain]
    argv = pg_combinebackup_argv(tool, backups=backups, output=output, tablespace_mapping=mapping, mode=mode)
    runner.run(argv, timeout_s=None, env=env)
    os.rename(output / CONTROL_FILE, output / HELD_BACK)
    for placement in plan.placements:
        if placement.was_in_place:
            _move_out(output / "pg_tblspc" / str(placement.oid), placement.location)
    _prune(output)
    for entry in sorted(output.iterdir()):
        entry.rename(plan.destination / entry.name)
    output.rmdir()
    make_links(plan.destination, plan.placements)


def _copy_all(placements: list[Placement], source: Path, root: Path, backup: Path, *, workers: int, flow: Flow) -> None:
    links = {f"pg_tblspc/{placement.oid}" for placement in placements}
    whole = whole_route(root / "data")
    trees = [(backup / str(placement.oid), whole_route(placement.location)) for placement in placements]
    copy_trees([(source, lambda path: None if path in links else whole(path)), *trees], workers=workers, flow=flow)


def _move_out(source: Path, target: Path) -> None:
    target.rmdir()
    shutil.move(source, target)


def _prune(output: Path) -> None:
    """Remove what has no place in a restored data directory."""
    for entry in list(output.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            for inner in [path for path in entry.iterdir() if is_excluded(f"{entry.name}/{path.name}")]:
                shutil.rmtree(inner) if inner.is_dir() and not inner.is_symlink() else inner.unlink()
        elif is_excluded(entry.name):
            entry.unlink()
