"""Making a full backup of a chain of block-level incremental ones, with PostgreSQL's own pg_combinebackup."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from functools import partial
from typing import TYPE_CHECKING

from barman.errors import CommandError
from barman.host import runner
from barman.host.early_flush import flushing_early
from barman.host.remote import last_line
from barman.host.rsync_watch import Silence
from barman.host.scratch import scratch_directory
from barman.postgres.tools import find_tool, pg_combinebackup_argv
from barman.postgres.versions import Feature, major_version, supports
from barman.restore.exclusions import CONTROL_FILE, HELD_BACK, is_excluded
from barman.restore.fetch import make_links, tree_size
from barman.restore.lay_out import lay_out

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from barman.catalog.record import BackupRecord
    from barman.host.runner import Completed
    from barman.host.transfer import Flow
    from barman.postgres.tools import Tool
    from barman.restore.job import Job
    from barman.restore.plan import RestorePlan

# Made in the destination, and moved up when it is whole.
COMBINED = ".barman-combine"
_PATIENCE_S = 600.0
# How often to look how far it is: that is work, too.
_LOOK_S = 30.0


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


def stage(job: Job, staging: Path, flow: Flow) -> list[Path]:
    """Lay out the members of the chain that cannot be read where they are; return the data directories of all."""
    found = []
    for record in job.plan.chain:
        if record.backup_id not in job.plan.staged:
            found.append(job.server.paths.data_dir(record.backup_id))
            continue
        layout = job.staged_layout(record, staging / record.backup_id)
        for directory in (layout.data, *(place.location for place in layout.places)):
            directory.mkdir(mode=0o700, parents=True)
        lay_out(job, layout, flow, holds_back=False)
        make_links(layout.data, layout.places)
        found.append(layout.data)
    return found


def choose_mode(job: Job, file_systems: Collection[object] | None) -> str:
    """Return how files of the chain get into the combined backup: as configured, but links only where they may be.

    file_systems: those of the chain and of what becomes of it; None: what becomes of it is written to while the chain
    is kept. That there are no links is warned of.
    """
    mode = job.settings.combine_mode
    obstacle = None
    if file_systems is None:
        obstacle = "for a restore to this host"
    elif not supports(job.plan.record.version or 0, Feature.COMBINE_LINK):
        obstacle = "before PostgreSQL 18"
    elif len(set(file_systems)) > 1:
        obstacle = "from one file system to another"
    if mode != "link" or obstacle is None:
        return mode
    job.reporter.warning(f"combine mode 'link' is not possible {obstacle}; files are copied")
    return "copy"


def combine_argv(
    plan: RestorePlan, tool: Tool, members: Sequence[Path], links: Mapping[int, str | os.PathLike[str]], mode: str
) -> list[str]:
    """Return the command line that combines members right in the destination.

    It is made in a directory inside, so that what an interruption leaves cannot be taken for a data directory. links:
    where those of the last member's pg_tblspc lead, by OID.
    """
    return pg_combinebackup_argv(
        tool,
        backups=members,
        output=plan.destination / COMBINED,
        tablespace_mapping={
            os.fspath(links[place.oid]): place.location for place in plan.placements if not place.was_in_place
        },
        mode=mode,
    )


def run_combiner(
    run: Callable[..., Completed],
    argv: Sequence[str],
    *,
    written: Callable[[], object],
    backup_id: str,
    where: str = "",
) -> None:
    """Have run, which knows how, carry out argv; CommandError if it fails, or nothing moves any more.

    run: takes on_tick of runner.run, and does not check the exit status. written: something that changes as more is
    written. where: for messages.
    """
    what = f"cannot combine the chain of backup {backup_id}{where}"
    silence = Silence(_PATIENCE_S, what=what)
    seen, look_at = written(), time.monotonic() + _LOOK_S

    def tick() -> None:
        nonlocal seen, look_at
        if time.monotonic() >= look_at:
            found = written()
            if found != seen:
                silence.broken()
            seen, look_at = found, time.monotonic() + _LOOK_S
        silence.tick()

    done = run(on_tick=tick)
    if done.status != 0:
        said = next((line for line in done.stderr.splitlines() if "error:" in line), last_line(done))
        raise CommandError(f"{what}: {said}", argv=argv, status=done.status, stderr=done.stderr)


def combine(job: Job, members: Sequence[Path], mode: str) -> None:
    """Write the combined backup into the destination, the control file held back.

    members: the data directories of the chain, root first. What was made is moved up by renames.
    """
    plan = job.plan
    tool = find_combiner(plan.record, job.settings.path_prefix)
    output = plan.destination / COMBINED
    links = {
        place.oid: os.readlink(members[-1] / "pg_tblspc" / str(place.oid))
        for place in plan.placements
        if not place.was_in_place
    }
    argv = combine_argv(plan, tool, members, links, mode)
    run = partial(runner.run, argv, timeout_s=None, env={**job.server.environment(), "LC_ALL": "C"}, check=False)
    roots = [output, *(place.location for place in plan.placements)]
    with flushing_early(roots):
        run_combiner(run, argv, written=lambda: [_size(root) for root in roots], backup_id=plan.record.backup_id)
    os.rename(output / CONTROL_FILE, output / HELD_BACK)
    for placement in plan.placements:
        if placement.was_in_place:
            _move_out(output / "pg_tblspc" / str(placement.oid), placement.location)
    _prune(output)
    for entry in sorted(output.iterdir()):
        entry.rename(plan.destination / entry.name)
    output.rmdir()


def _size(root: Path) -> int:
    # It makes the directory when it begins, and removes it when it fails.
    with contextlib.suppress(OSError):
        return tree_size(root, str)
    return 0


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
