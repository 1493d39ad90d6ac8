"""Bringing the files of a cluster over with rsync: listed once, then copied by several workers at a time."""

from __future__ import annotations

import os
import stat
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from barman.backup import local_copy
from barman.backup.copy_plan import Known, Portion, TreePlan, Way, plan_tree, portions_of
from barman.backup.listing import Names
from barman.backup.rsync_runs import RsyncRuns
from barman.host import clock, rsync, transfer
from barman.host.files import make_directories, naming, remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from barman.backup.copy_stats import CopyTimes
    from barman.backup.listing import Listing
    from barman.backup.page_check import PageCheck
    from barman.backup.source_tree import Tree
    from barman.config.settings import ServerSettings
    from barman.host.transfer import Flow
    from barman.host.workers import Workers
    from barman.progress import Bar, Reporter

    # What a worker reaches the source by: the command line of its remote shell, None for this host.
    Lane = str | None

_PRIVATE = 0o700
_SCRATCH = ".copying"


class Previous(NamedTuple):
    """The backup whose files may serve again. links: as they are, or copied.

    clones: changed files begin as clones of the earlier ones, which share their blocks. horizon: that of
    copy_plan.safe_horizon; 0: nothing is trusted to be the same before it has been compared. damaged: tree and name of
    the files that have damaged pages in it.
    """

    directory: Path
    links: bool
    clones: bool
    horizon: int
    damaged: frozenset[tuple[str, str]]


class Copier:
    """Copies into one backup's directory; every step may be repeated, and none writes into a file that is there."""

    def __init__(  # noqa: PLR0913  what one backup copies with, all but two by keyword
        self,
        workers: Workers[Lane],
        directory: Path,
        *,
        host: str,
        environment: Mapping[str, str],
        settings: ServerSettings,
        previous: Previous | None,
        pages: PageCheck | None,
        times: CopyTimes,
        reporter: Reporter,
    ) -> None:
        """directory: of the backup. host: the source's name for messages. environment: for the programs.

        pages: looks at what is copied.
        """
        self._workers = workers
        self._directory = directory
        self._scratch = directory / _SCRATCH
        self._host = host
        self._rsync = RsyncRuns(
            environment, host=host, settings=settings, reporter=reporter, workers=workers, advance=self._advance
        )
        self._settings = settings
        self._previous = previous
        self._pages = pages
        self._times = times
        self._reporter = reporter
        self._bar: Bar | None = None
        self._flow = self._flow_into(self._moved, settings.bandwidth_limit)
        self._flows: Mapping[str, Flow] = {}

    def copy(self, trees: Sequence[Tree], *, lanes: int) -> None:
        """Copy trees, without the control file. CommandError naming the file or program that failed; OSError."""
        self._prepare(trees)
        plans = self._plan(trees)
        total = sum(plan.bytes for plan in plans)
        with self._reporter.bar("Copying", total=total, unit="bytes") as self._bar:
            self._workers.work_off([partial(self._lay_out, plan) for plan in plans])
            ways = tuple(way for way in Way if way is not Way.REUSE or not self._links)
            portions = portions_of(plans, workers=lanes, ways=ways)
            limits = self._settings.tablespace_bandwidth_limit
            self._flows = {
                tree.label: self._flow_into(self._flow.passed, limits[tree.label])
                for tree in trees
                if tree.label in limits
            }
            self._workers.work_off([partial(self._copy_portion, len(portions), lanes, it) for it in portions])
            self._workers.work_off([partial(self._verify_again, trees)])
        self._bar = None

    def copy_file(self, path: str, part: str, *, label: str) -> None:
        """Copy one file of the source, if it is there, into a part of the backup ("data/global")."""
        directory, name = os.path.split(path)

        def task(lane: Lane) -> None:
            began = clock.monotonic()
            target = os.fspath(self._directory / part)
            if lane is None:
                local_copy.bring(path, os.path.join(target, name), self._own_scratch(), self._flow)
            else:
                argv = rsync.copy_argv(rsync.Source(directory, lane), target, scratch=os.fspath(self._own_scratch()))
                self._rsync.copy(argv, [name], target, self._own_scratch())
            self._times.copied(label, (began, clock.monotonic()))

        self._workers.work_off([task])

    def finish(self) -> None:
        """Take away what was needed for copying only."""
        remove_tree(self._scratch)

    def tick(self) -> None:
        """Let the bar tell how far it is, also when nothing moves. To be called about once a second."""
        self._advance(0)

    @property
    def _links(self) -> bool:
        return self._previous is not None and self._previous.links

    def _prepare(self, trees: Sequence[Tree]) -> None:
        for part in (*(tree.part for tree in trees), _SCRATCH):
            directory = self._directory / part
            remove_tree(directory)
            make_directories(directory)
            directory.chmod(_PRIVATE)

    def _plan(self, trees: Sequence[Tree]) -> list[TreePlan]:
        plans: dict[str, TreePlan] = {}

        def analyse(tree: Tree, lane: Lane) -> None:
            began = clock.monotonic()
            listing = self._list(tree, lane)
            horizon = None if self._previous is None else self._previous.horizon
            plans[tree.part] = plan_tree(
                tree, listing, known=partial(self._known, tree), horizon=horizon, updates=self._can_update(tree, lane)
            )
            self._times.analysed(tree.label, (began, clock.monotonic()))

        self._workers.work_off([partial(analyse, tree) for tree in trees])
        return [plans[tree.part] for tree in trees]

    def _list(self, tree: Tree, lane: Lane) -> Listing:
        found, dangling = self._rsync.list_files(rsync.list_argv(rsync.Source(tree.directory, lane), tree.filters))
        for path in dangling:
            self._reporter.warning(f"{path} on {self._host} is a link that leads nowhere; it is not in the backup")
        return found

    def _can_update(self, tree: Tree, lane: Lane) -> bool:
        """Whether changed files are to begin as clones; from a directory beside they are cloned as they are."""
        if self._previous is None or not self._previous.clones:
            return False
        return lane is not None or os.stat(tree.directory).st_dev != os.stat(self._directory).st_dev

    def _update_there(self, portion: Portion, lane: Lane, limit: int | None) -> None:
        """Have rsync write what has changed in files of another host into clones of the previous backup's."""
        tree, target = portion.tree, os.fspath(self._directory / portion.tree.part)
        names, scratch = Names(portion.entries), self._own_scratch()
        clones = set()
        for name in names:
            clone = None
            if self._previous is not None:
                clone = local_copy.clone_of(self._previous.directory / tree.part / name, scratch)
            if clone is not None:
                with naming(clone):
                    os.rename(clone, os.path.join(target, name))
                clones.add(name)

        def updated(name: str) -> None:
            clones.discard(name)
            self._verify(tree, lane, name)

        argv = rsync.update_argv(
            rsync.Source(tree.directory, lane),
            target,
            bandwidth_kib_s=limit,
            compress=self._settings.network_compression,
        )
        self._rsync.copy(argv, names, target, self._own_scratch(), updated, compared_bytes=portion.bytes)
        for name in clones:
            # Gone meanwhile: what is there is the earlier backup's.
            os.unlink(os.path.join(target, name))

    def _known(self, tree: Tree, name: str) -> Known | None:
        """Return the file as the previous backup has it, if it has it."""
        if self._previous is None:
            return None
        try:
            status = os.lstat(self._previous.directory / tree.part / name)
        except OSError:
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        return Known(status.st_size, status.st_mtime_ns // 1_000_000_000, stat.S_IMODE(status.st_mode))

    def _lay_out(self, plan: TreePlan, _lane: Lane) -> None:
        """Make the directories, and the links to files of the previous backup."""
        root = os.fspath(self._directory / plan.tree.part)
        for entry in sorted(plan.directories):
            path = os.path.join(root, entry.name)
            with naming(path):
                os.makedirs(path, exist_ok=True)
                os.chmod(path, entry.mode | stat.S_IRWXU)
        if self._previous is None or not self._links:
            return
        began = clock.monotonic()
        previous = os.fspath(self._previous.directory / plan.tree.part)
        scratch = self._own_scratch()
        for entry in plan.reused:
            self._workers.check()
            local_copy.link(os.path.join(previous, entry.name), os.path.join(root, entry.name), scratch, self._flow)
            self._advance(entry.size)
        if plan.reused:
            self._times.copied(plan.tree.label, (began, clock.monotonic()))

    def _verify(self, tree: Tree, lane: Lane, name: str) -> None:
        """Have the pages of a copied file looked at."""
        if self._pages is not None:
            target = os.fspath(self._directory / tree.part / name)
            self._pages.submit(tree.label, name, target, partial(self._bring_again, tree, lane, name))

    def _verify_again(self, trees: Sequence[Tree], lane: Lane) -> None:
        """Look at the files that had damaged pages in the previous backup, which may be here as they are there."""
        if self._pages is None:
            return
        damaged = () if self._previous is None else self._previous.damaged
        by_label = {tree.label: tree for tree in trees}
        for label, name in damaged:
            if label in by_label:
                self._verify(by_label[label], lane, name)
        self._pages.finish()

    def _bring_again(self, tree: Tree, lane: Lane, name: str) -> bool:
        """Copy a file once more; whether there is anything new."""
        target = os.fspath(self._directory / tree.part / name)
        if lane is None:
            return local_copy.bring(os.path.join(tree.directory, name), target, self._own_scratch(), self._flow)
        scratch = self._own_scratch()
        fresh = scratch / "again"
        fresh.mkdir(exist_ok=True)
        basis = os.fspath(self._directory / tree.part)
        argv = rsync.copy_argv(
            rsync.Source(tree.directory, lane),
            os.fspath(fresh),
            scratch=os.fspath(scratch),
            basis=basis,
            compare=True,
            link=True,
        )
        self._rsync.copy(argv, [name], os.fspath(fresh), scratch)
        try:
            if os.path.samefile(fresh / name, target):
                os.unlink(fresh / name)
                return False
            os.rename(fresh / name, target)
        except FileNotFoundError:
            return False
        return True

    def _copy_portion(self, portions: int, lanes: int, portion: Portion, lane: Lane) -> None:
        began = clock.monotonic()
        if lane is None or portion.way is Way.REUSE:
            self._copy_here(portion)
        else:
            self._copy_there(portion, lane, sharers=min(lanes, portions))
        self._times.copied(portion.tree.label, (began, clock.monotonic()))

    def _copy_there(self, portion: Portion, lane: Lane, *, sharers: int) -> None:
        """Have rsync copy a portion from another host."""
        tree = portion.tree
        limit = _share(self._limit(tree), sharers)
        if portion.way is Way.UPDATE:
            self._update_there(portion, lane, limit)
            return
        target = os.fspath(self._directory / tree.part)
        is_doubtful = portion.way is Way.COMPARE
        argv = rsync.copy_argv(
            rsync.Source(tree.directory, lane),
            target,
            scratch=os.fspath(self._own_scratch()),
            basis=None if self._previous is None else os.fspath(self._previous.directory / tree.part),
            compare=is_doubtful,
            link=is_doubtful and self._links,
            bandwidth_kib_s=limit,
            compress=self._settings.network_compression,
        )
        names, verify = Names(portion.entries), partial(self._verify, tree, lane)
        compared = portion.bytes if is_doubtful else 0
        self._rsync.copy(argv, names, target, self._own_scratch(), verify, compared_bytes=compared)

    def _copy_here(self, portion: Portion) -> None:
        """Copy a portion from this host, from the source or the previous backup, faster than rsync does."""
        tree, scratch = portion.tree, self._own_scratch()
        flow = self._flows.get(tree.label, self._flow)
        for entry in portion.entries:
            self._workers.check()
            source = os.path.join(tree.directory, entry.name)
            target = os.fspath(self._directory / tree.part / entry.name)
            previous = None if self._previous is None else os.fspath(self._previous.directory / tree.part / entry.name)
            if previous is not None and portion.way is Way.UPDATE:
                local_copy.update(source, Path(previous), target, scratch, flow)
                self._verify(tree, None, entry.name)
            elif previous is None or portion.way is Way.FETCH:
                local_copy.bring(source, target, scratch, flow)
                self._verify(tree, None, entry.name)
            elif portion.way is Way.REUSE or local_copy.is_same(source, previous, entry.mode):
                if self._links:
                    local_copy.link(previous, target, scratch, flow)
                    self._advance(entry.size)
                else:
                    local_copy.duplicate(previous, target, scratch, flow)
            else:
                local_copy.bring(source, target, scratch, flow)
                self._verify(tree, None, entry.name)

    def _own_scratch(self) -> Path:
        """Return a directory of this thread's own, where files are written until they are whole."""
        directory = self._scratch / str(threading.get_ident())
        directory.mkdir(exist_ok=True)
        return directory

    def _flow_into(self, passed: Callable[[int], None], limit: int | None) -> Flow:
        """Return what paces workers that copy from this host, and stops them; passed: told what has been copied."""
        return transfer.Flow(
            _Told(passed),
            bandwidth_kib_s=limit,
            retry_times=self._settings.basebackup_retry_times,
            retry_sleep_s=self._settings.basebackup_retry_sleep,
        )

    def _moved(self, size: int) -> None:
        self._workers.check()
        self._advance(size)

    def _limit(self, tree: Tree) -> int | None:
        """Return the KiB/s a directory may be copied with, by all workers together."""
        limits = (self._settings.bandwidth_limit, self._settings.tablespace_bandwidth_limit.get(tree.label))
        return min((limit for limit in limits if limit), default=None)

    def _advance(self, size: int) -> None:
        if self._bar is not None:
            self._bar.advance(size)


def _share(limit: int | None, sharers: int) -> int | None:
    return None if limit is None else max(1, limit // sharers)


class _Told:
    """A bar that passes on what it is told."""

    def __init__(self, passed: Callable[[int], None]) -> None:
        self._passed = passed

    def advance(self, amount: int) -> None:
        """So many bytes more."""
        self._passed(amount)

    def set_total(self, total: int | None) -> None:
        """Nothing: the total is known before."""
