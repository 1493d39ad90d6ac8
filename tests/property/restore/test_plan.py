"""A restore is planned exactly if recovery would reach the target, by a simple model of PostgreSQL's recovery."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import assume, event, given
from hypothesis import strategies as st

from barman.catalog.record import BackupId, BackupRecord, Status
from barman.errors import NotFound, Refused, UserError
from barman.postgres.lsn import format_lsn, parse_lsn
from barman.postgres.timelines import TimelineHistory
from barman.postgres.wal_names import segment_name, segment_number, timeline_of
from barman.postgres.wal_records import RestorePoint, TransactionEnd
from barman.postgres.wal_runs import collect_runs
from barman.restore.access import Origin
from barman.restore.plan import ArchiveView, BackupFiles, Seen, plan_restore
from barman.restore.reach import begin_lsn, plan_reach
from barman.restore.request import RestoreRequest, Staging
from barman.restore.select import select_backup
from barman.restore.sighting import look_for
from barman.restore.targets import TargetAction, TargetKind, TargetOptions, parse_target
from tests.property.restore.families import LAST, SIZE, families

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from barman.restore.plan import RestorePlan
    from barman.restore.targets import Target

NOON = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
PER_SEGMENT = 4
STEP = SIZE // PER_SEGMENT


@dataclass(frozen=True)
class Event:
    """A record: a transaction's end (xid), a restore point (name), or something else."""

    lsn: int
    time: datetime
    xid: int | None = None
    name: str | None = None


@dataclass
class FakeRecords:
    """What SegmentRecords says, of events."""

    events: list[Event]

    @property
    def last_start(self) -> int | None:
        return self.events[-1].lsn if self.events else None

    def transaction_ends(self) -> Iterator[TransactionEnd]:
        return (TransactionEnd(e.lsn, e.xid, e.time, is_commit=True) for e in self.events if e.xid is not None)

    def restore_points(self) -> Iterator[RestorePoint]:
        return (RestorePoint(e.lsn, e.time, e.name) for e in self.events if e.name is not None)

    def mentions(self, xid: int) -> bool:
        return any(e.xid == xid for e in self.events)


@dataclass
class World:
    """Clusters of one family, what they wrote, what of it is archived, and the backups of them.

    known: the history files there are; the archive of a server may lack some.
    """

    histories: dict[int, TimelineHistory]
    known: dict[int, TimelineHistory]
    events: dict[int, list[Event]]
    archived: set[str]
    backups: dict[BackupId, BackupRecord] = field(default_factory=dict)

    def begin_of(self, timeline: int) -> int:
        branches = self.histories[timeline].branches
        return branches[-1].switch_lsn if branches else 0

    def file(self, name: str) -> list[Event]:
        """The records that begin in a segment: those of its timeline, and before its begin those of its ancestors."""
        history, number = self.histories[timeline_of(name)], segment_number(name, SIZE)
        found: list[Event] = []
        for member in history.path:
            end = history.end_of(member)
            found += [e for e in self.events[member] if e.lsn // SIZE == number and (end is None or e.lsn < end)]
        return sorted(found, key=lambda e: e.lsn)

    def read(self, names: Iterable[str]) -> Iterator[FakeRecords]:
        for name in names:
            if name not in self.archived:
                raise NotFound(name)
            yield FakeRecords(self.file(name))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    histories = draw(families(most=4))
    lost = draw(st.one_of(st.none(), st.sampled_from(sorted(histories))))
    known = {timeline: history for timeline, history in histories.items() if timeline not in (1, lost)}
    world = World(histories, known, {}, set())
    # What is written is not worth shrinking.
    chance = random.Random(draw(st.integers(0, 1 << 32)))
    xids = itertools.count(100)
    for timeline in histories:
        begin = world.begin_of(timeline)
        end = draw(st.integers(max(begin, LAST * SIZE // 2), LAST * SIZE))
        world.events[timeline] = [
            _write(chance, place, xids) for place in range(begin // STEP + 1, (end + SIZE) // STEP + 1)
        ]
        names = {segment_name(timeline, number, SIZE) for number in range(begin // SIZE, end // SIZE + 1)}
        lost = draw(st.one_of(st.just(set()), st.sets(st.sampled_from(sorted(names)), max_size=2)))
        world.archived |= names - lost
    for number in range(draw(st.integers(1, 4))):
        timeline = draw(st.sampled_from(sorted(histories)))
        first = world.begin_of(timeline) // STEP + 1 + draw(st.integers(0, LAST * PER_SEGMENT // 2))
        last = first + draw(st.integers(0, PER_SEGMENT))
        backup_id = BackupId(f"20261121T1200{number:02}")
        begin, end = first * STEP + 40, last * STEP + 44
        world.backups[backup_id] = BackupRecord(
            backup_id,
            begin_wal=segment_name(timeline, begin // SIZE, SIZE),
            begin_xlog=format_lsn(begin),
            end_wal=segment_name(timeline, end // SIZE, SIZE),
            end_xlog=format_lsn(end),
            end_time=NOON + timedelta(minutes=10 * last + 8),
            mode="postgres",
            status=Status.DONE,
            timeline=timeline,
            version=150018,
            xlog_segment_size=SIZE,
        )
    return world


def _write(chance: random.Random, place: int, xids: Iterator[int]) -> Event:
    """Return a record; each segment begins with one that is neither a transaction's end nor a restore point."""
    kind = chance.choice(["commit", "commit", "name", "other"]) if place % PER_SEGMENT else "other"
    time = NOON + timedelta(minutes=10 * place + (chance.choice([-6, 0, 6]) if kind == "commit" else 0))
    xid = next(xids) if kind == "commit" else None
    return Event(place * STEP + 40, time, xid, f"p{chance.randrange(50)}" if kind == "name" else None)


@st.composite
def requests(draw: st.DrawFn, world: World, record: BackupRecord | None = None) -> TargetOptions:
    """A target at something that was written on some timeline, or near it, or nowhere; mostly after the backup."""
    written = [e for events in world.events.values() for e in events]
    if record is not None and draw(st.integers(0, 3)):
        end = parse_lsn(record.end_xlog)
        written = [e for e in written if end <= e.lsn < end + 8 * SIZE] or written
    near = draw(st.sampled_from(written))
    options = draw(
        st.sampled_from(
            [
                TargetOptions(lsn=format_lsn(near.lsn + draw(st.sampled_from([-STEP, -1, 0, 1, STEP])))),
                TargetOptions(time=near.time + timedelta(minutes=draw(st.sampled_from([-20, -1, 0, 1])))),
                TargetOptions(xid=str(near.xid or 5)),
                TargetOptions(name=near.name or "nowhere"),
                TargetOptions(immediate=True),
                TargetOptions(),
            ]
        )
    )
    if options.lsn or options.xid or options.time:
        options = replace(options, exclusive=draw(st.booleans()))
    timeline = draw(st.one_of(st.none(), st.just("latest"), st.just("current"), st.integers(1, 5)))
    action = draw(st.sampled_from([None, TargetAction.PROMOTE])) if options != TargetOptions() else None
    return replace(options, timeline=timeline, action=action)


def _model_path(world: World, record: BackupRecord, choice: object) -> TimelineHistory | None:
    """Return the timeline PostgreSQL would follow, with its ancestors; None if it would refuse."""
    own, end = record.timeline, parse_lsn(record.end_xlog)

    def reachable(history: TimelineHistory) -> bool:
        if history.timeline == own:
            return True
        return any(branch.timeline == own and end <= branch.switch_lsn for branch in history.branches)

    candidates = {own: TimelineHistory(own), **world.known}
    found = [history for history in candidates.values() if reachable(history)]
    if choice is None:
        return max(found, key=lambda history: history.timeline)
    wanted = {"current": own, "latest": max(candidates)}.get(choice, choice)
    return next((history for history in found if history.timeline == wanted), None)


def _told(plan: RestorePlan, world: World) -> int:
    """Return the timeline PostgreSQL aims at by the settings it is given."""
    lines = (line.removeprefix("recovery_target_timeline = ") for line in plan.recovery.lines if "_timeline" in line)
    setting, own = next(lines, "latest"), plan.record.timeline
    if setting == "current":
        return own
    if setting == "latest":
        return next(timeline for timeline in itertools.count(own) if timeline + 1 not in world.known)
    assert int(setting) in {1, *world.known}
    return int(setting)


def _replay(world: World, path: TimelineHistory, first: int, begin: int, files: set[str]) -> Iterator[Event]:
    """Yield the records of recovery along path, from begin on, until a file is missing."""
    number = first
    while True:
        begun = [path.path[0]]
        begun += [
            child
            for branch, child in zip(path.branches, path.path[1:], strict=True)
            if branch.switch_lsn // SIZE <= number
        ]
        name = segment_name(begun[-1], number, SIZE)
        if name not in files:
            return
        yield from (e for e in world.file(name) if e.lsn >= begin)
        number += 1


def _stops(e: Event, target: Target) -> bool:
    """Whether recovery stops at a record, before or after it."""
    if target.kind is TargetKind.LSN:
        return e.lsn >= target.lsn
    if target.kind is TargetKind.TIME:
        return e.xid is not None and (e.time > target.time or (e.time == target.time and not target.inclusive))
    return target.text in (str(e.xid), e.name)


def _stop(replayed: Iterable[Event], options: TargetOptions, end: int) -> tuple[int, ...] | None:
    """Return the transactions recovery has applied when it stops; None if it fails."""
    target = parse_target(options)
    applied: list[int] = []
    for e in replayed:
        if target is not None and _stops(e, target):
            is_last_one_in = target.kind in (TargetKind.LSN, TargetKind.XID) and target.inclusive and e.xid
            return (*applied, *([e.xid] if is_last_one_in else [])) if e.lsn >= end else None
        applied += [e.xid] if e.xid else []
    return tuple(applied) if target is None else None


def _plan(world: World, record: BackupRecord, options: TargetOptions) -> RestorePlan:
    request = RestoreRequest(record.backup_id, Path("/new"), options)
    target = parse_target(options)
    archived = world.known
    first = segment_number(record.begin_wal, SIZE)
    names = [n for n in world.archived if segment_number(n, SIZE) >= first and timeline_of(n) >= record.timeline]
    view = ArchiveView(archived, collect_runs(names, SIZE))
    reach = plan_reach(record, options.timeline, histories=archived, runs=view.runs)
    sighting = None
    if target is not None and reach.is_consistent:
        sighting = look_for(target, reach, world.read, begin=begin_lsn(record), runs=view.runs)
    return plan_restore(
        request,
        chain=[record],
        reason="",
        target=target,
        seen=Seen({record.backup_id: BackupFiles()}, view, reach, sighting),
        get_wal=False,
        origin=Origin("main", ("barman",)),
        staging=Staging(Path("/staging")),
    )


@given(world=worlds(), data=st.data())
def test_a_plan_is_made_exactly_for_what_recovery_reaches_and_its_wal_is_enough(world, data):
    record = world.backups[data.draw(st.sampled_from(sorted(world.backups)))]
    options = data.draw(requests(world, record))
    begin, end = parse_lsn(record.begin_xlog), parse_lsn(record.end_xlog)
    first = begin // SIZE
    path = _model_path(world, record, options.timeline)
    expected = None
    if path is not None:
        replayed = list(_replay(world, path, first, begin, world.archived))
        has_all = {segment_name(path.timeline_of_segment(n, SIZE), n, SIZE) for n in range(first, end // SIZE + 1)}
        is_early = options.time is not None and options.time < record.end_time
        is_early = is_early or (options.lsn is not None and parse_lsn(options.lsn) < end)
        if has_all <= world.archived and not is_early:
            expected = () if options.immediate else _stop(replayed, options, end)

    try:
        plan = _plan(world, record, options)
    except Refused:
        event("refused")
        assert expected is None
        return

    if expected is None and plan.target is not None and plan.target.kind is TargetKind.NAME:
        event("warned")
        assert plan.warnings
        return
    assert expected is not None
    event(f"planned: {'no target' if plan.target is None else plan.target.kind.value}")
    assert plan.wal.path.timeline == path.timeline == _told(plan, world)
    planned = {copy.name for copy in plan.wal.copies()}
    assert planned <= world.archived
    if not options.immediate:
        assert _stop(_replay(world, path, first, begin, planned), options, end) == expected
    needed = {copy.name for copy in plan.wal.copies() if copy.is_needed}
    assert has_all <= needed


@given(world=worlds(), data=st.data())
def test_auto_is_the_newest_backup_before_the_target_on_the_way_to_the_newest_timeline(world, data):
    options = data.draw(requests(world))
    assume(not (options.xid or options.name or options.immediate or options.timeline == "current"))
    target = parse_target(options)
    archived = world.known
    newest = max({*archived, *(record.timeline for record in world.backups.values())})
    wanted = options.timeline if isinstance(options.timeline, int) else newest
    fitting = [
        backup_id
        for backup_id, record in world.backups.items()
        if (target is None or target.time is None or record.end_time <= target.time)
        and (target is None or target.lsn is None or parse_lsn(record.end_xlog) <= target.lsn)
        and (path := _model_path(world, record, wanted)) is not None
        and path.timeline == wanted
    ]

    try:
        chosen = select_backup(
            world.backups, "auto", server="main", target=target, timeline=options.timeline, histories=archived
        )
    except UserError:
        assert not fitting
        return
    assert chosen.record.backup_id == max(fitting)
