from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from barman.catalog.record import BackupId, BackupRecord, Status
from barman.errors import Refused, UnknownBackup
from barman.postgres.facts import Tablespace
from barman.postgres.timelines import Branch, TimelineHistory
from barman.postgres.wal_names import segment_name
from barman.postgres.wal_runs import collect_runs
from barman.restore.access import Origin
from barman.restore.configure import DirectoryFiles
from barman.restore.placements import Placement
from barman.restore.plan import (
    ArchiveView,
    BackupFiles,
    Configuration,
    Method,
    Seen,
    Tarball,
    describe_target,
    plan_restore,
    usable_partials,
)
from barman.restore.reach import plan_reach
from barman.restore.request import RestoreRequest, Staging
from barman.restore.room import Room
from barman.restore.select import require_restorable, select_backup
from barman.restore.sighting import Place, Reach, Sighting
from barman.restore.targets import TargetAction, TargetOptions, parse_target
from barman.restore.tarred_settings import TarredFiles
from barman.wal.needs import MISSING_WAL

SIZE = 16 << 20
ORIGIN = Origin("main", ("barman", "-c", "/etc/barman.conf"), user="backup", host="vault")
RECORD = BackupRecord(
    BackupId("20261121T120000"),
    begin_wal=segment_name(1, 2, SIZE),
    begin_xlog="0/2000028",
    end_wal=segment_name(1, 2, SIZE),
    end_xlog="0/2000100",
    end_time=datetime(2026, 11, 21, 12, 0, 5, tzinfo=timezone.utc),
    mode="postgres",
    status=Status.DONE,
    tablespaces=(Tablespace("cold", 16386, "/srv/cold"), Tablespace("inside", 16390, "pg_tblspc/16390")),
    timeline=1,
    version=150018,
)
FORKED = {2: TimelineHistory(2, (Branch(1, 4 * SIZE + 8, ""),))}


def _view(*numbers, histories=None, partials=(), encrypted=None, timeline=1):
    names = [segment_name(timeline, number, SIZE) for number in numbers or (2, 3, 4, 5)]
    return ArchiveView(histories or {}, collect_runs(names, SIZE), frozenset(partials), encrypted)


STAGING = Staging(Path("/staging"))


def _plan(
    request=None,
    *,
    chain=(RECORD,),
    files=None,
    view=None,
    get_wal=False,
    sighting=None,
    seen=(),
    staging=STAGING,
    **changes,
):
    request = request or RestoreRequest("latest", Path("/new"), **changes)
    archive = view or _view()
    reach = plan_reach(
        chain[-1],
        request.target.timeline,
        histories=archive.histories,
        runs=archive.runs,
        partials=usable_partials(request, archive, get_wal=get_wal),
    )
    files = files or {record.backup_id: BackupFiles() for record in chain}
    return plan_restore(
        request,
        chain=chain,
        reason="the newest",
        target=parse_target(request.target),
        seen=Seen(files, archive, reach, sighting, **dict(seen)),
        get_wal=get_wal,
        origin=ORIGIN,
        staging=staging,
    )


def test_without_a_target_wal_goes_to_its_place_and_the_cluster_recovers_all_the_same():
    plan = _plan()
    assert plan.wal_directory == Path("/new/pg_wal")
    assert plan.marks_archived
    assert plan.recovery.signal == "recovery.signal"
    assert "restore_command = 'false'" in plan.recovery.lines
    assert not any("timeline" in line for line in plan.recovery.lines)
    assert plan.method is Method.COPY
    assert plan.warnings == ()


@pytest.mark.parametrize(
    "target", [TargetOptions(xid="7"), TargetOptions(timeline="latest"), TargetOptions(timeline="current")]
)
def test_recovery_to_a_target_has_its_own_wal_directory(target):
    plan = _plan(target=target)
    assert plan.wal_directory == Path("/new/barman_wal")
    assert not plan.marks_archived
    assert "restore_command = 'cp /new/barman_wal/%f %p'" in plan.recovery.lines


def test_the_wal_directory_may_be_elsewhere():
    assert _plan(staging_wal_directory=Path("/wal")).wal_directory == Path("/wal")


def test_get_wal_copies_none():
    plan = _plan(get_wal=True)
    assert plan.wal_directory is None
    assert "restore_command = 'barman -c /etc/barman.conf get-wal -P main %f > %p'" in plan.recovery.lines
    assert "restore_command = 'mine %f'" in _plan(get_wal=True, restore_command="mine %f").recovery.lines


def test_a_standby_replays_what_it_is_given_and_waits_for_more():
    plan = _plan(standby_mode=True)
    assert plan.recovery.signal == "standby.signal"
    assert plan.recovery.lines == ()
    staged = _plan(standby_mode=True, target=TargetOptions(xid="7"))
    assert "restore_command = 'cp /new/barman_wal/%f %p'" in staged.recovery.lines
    fetching = _plan(standby_mode=True, get_wal=True)
    assert any("get-wal main" in line for line in fetching.recovery.lines)


def test_before_postgresql_12_and_10_files_have_other_names():
    plan = _plan(chain=(replace(RECORD, version=90624),))
    assert plan.wal_directory == Path("/new/pg_xlog")
    assert plan.recovery.file == "recovery.conf"


def test_settings_of_the_backup_are_judged_before_it_is_restored(tmp_path):
    (tmp_path / "postgresql.conf").write_text(
        "archive_command = 'x'\nmax_wal_senders = 5\nmax_connections = many\nshared_preload_libraries = 'timescaledb'\n"
    )
    limits = {"max_connections": 500, "max_wal_senders": 10, "max_worker_processes": 9, "max_locks_per_transaction": 64}
    plan = _plan(seen={"config": Configuration(DirectoryFiles(tmp_path), limits)})
    assert [change.option for change in plan.settings.changes] == ["archive_command"]
    assert [warning.partition(":")[0] for warning in plan.warnings] == [
        "max_wal_senders of the restored cluster is 5 in its configuration, and was 10",
        "max_worker_processes of the restored cluster is 8 by default, and was 9",
    ]
    assert "timescaledb" in plan.advice[0]
    assert len(_plan().advice) == 1


def test_what_of_the_settings_could_not_be_read_is_said():
    files = TarredFiles("base.tar.gz", 1, {}, {}, is_complete=False)
    plan = _plan(seen={"config": Configuration(files, unread=("global/pg_control was not read",))})
    assert plan.settings is None
    assert re.match("postgresql.conf was not read", plan.unread[0])
    assert plan.unread[1:] == ("global/pg_control was not read",)


@pytest.mark.parametrize(
    ("timeline", "histories", "line"),
    [
        (None, {}, None),
        (None, FORKED, "recovery_target_timeline = 2"),
        ("latest", FORKED, "recovery_target_timeline = latest"),
        ("current", FORKED, "recovery_target_timeline = current"),
        (1, FORKED, "recovery_target_timeline = 1"),
        (2, FORKED, "recovery_target_timeline = 2"),
    ],
)
def test_postgresql_is_told_the_planned_timeline_where_it_would_choose_another(timeline, histories, line):
    names = [segment_name(1, n, SIZE) for n in (2, 3)] + [segment_name(2, 4, SIZE)]
    view = ArchiveView(histories, collect_runs(names, SIZE))
    lines = [x for x in _plan(view=view, target=TargetOptions(timeline=timeline)).recovery.lines if "timeline" in x]
    assert lines == ([] if line is None else [line])


def test_a_newest_timeline_that_postgresql_would_not_find_is_named():
    skipping = {3: TimelineHistory(3, (Branch(1, 4 * SIZE + 8, ""),))}
    names = [segment_name(1, n, SIZE) for n in (2, 3)] + [segment_name(3, 4, SIZE)]
    view = ArchiveView(skipping, collect_runs(names, SIZE))
    for choice in (None, "latest"):
        assert "recovery_target_timeline = 3" in _plan(view=view, target=TargetOptions(timeline=choice)).recovery.lines


def test_a_standby_follows_the_newest_timeline_unless_its_backup_does_not_lead_there():
    view = ArchiveView(FORKED, collect_runs([segment_name(1, n, SIZE) for n in (2, 3, 4)], SIZE))
    left = {2: TimelineHistory(2, (Branch(1, 2 * SIZE, ""),))}

    def told(view):
        return [line for line in _plan(view=view, standby_mode=True).recovery.lines if "timeline" in line]

    assert told(view) == []
    assert told(replace(view, histories=left)) == ["recovery_target_timeline = current"]


def test_a_branch_that_left_before_the_backup_ended_is_not_followed():
    histories = {2: TimelineHistory(2, (Branch(1, 2 * SIZE, ""),))}
    plan = _plan(view=_view(histories=histories))
    assert plan.wal.path.timeline == 1
    assert "recovery_target_timeline = current" in plan.recovery.lines


@pytest.mark.parametrize("choice", [None, 2, "current", "latest"])
def test_a_backup_of_a_standby_that_followed_a_promotion_is_restored_along_both_timelines(choice):
    record = replace(RECORD, end_wal=segment_name(2, 5, SIZE), end_xlog="0/5000100")
    runs = collect_runs([segment_name(*place, SIZE) for place in ((1, 2), (1, 3), (2, 4), (2, 5), (2, 6))], SIZE)
    view = ArchiveView(FORKED, runs)
    plan = _plan(chain=(record,), view=view, target=TargetOptions(timeline=choice))
    names = [copy.name for copy in plan.wal.copies()]
    assert names == [segment_name(*place, SIZE) for place in ((1, 2), (1, 3), (2, 4), (2, 5), (2, 6))]
    [line] = [line for line in plan.recovery.lines if "timeline" in line]
    assert line == f"recovery_target_timeline = {'latest' if choice == 'latest' else 2}"


@pytest.mark.parametrize("name", ["/etc/recovery.conf", "../postgresql.auto.conf", "a/../../x", "conf.d/"])
def test_recovery_settings_are_never_written_outside_the_destination(name):
    with pytest.raises(Refused, match="must name a file in the destination"):
        _plan(recovery_conf_filename=name)


def test_a_first_timeline_without_history_file_is_not_asked_for_by_number():
    record = replace(RECORD, timeline=2, begin_wal=segment_name(2, 2, SIZE), end_wal=segment_name(2, 2, SIZE))
    plan = _plan(chain=(record,), view=_view(timeline=2), target=TargetOptions(timeline=2))
    assert "recovery_target_timeline = current" in plan.recovery.lines


@pytest.mark.parametrize(
    ("view", "changes", "reason"),
    [
        (_view(3, 4), {}, "000000010000000000000002 is not in the archive"),
        (_view(encrypted="000000010000000000000003"), {}, "is encrypted"),
        (_view(), {"target": TargetOptions(timeline=3)}, "timeline 3 is not in"),
        (_view(), {"target": TargetOptions(lsn="0/2000000")}, "before backup 20261121T120000 ended"),
        (_view(), {"tablespaces": {"hot": Path("/x")}}, "has no tablespace 'hot'"),
        (_view(), {"tablespaces": {"cold": Path("/new")}}, "would share a directory"),
        (_view(), {"tablespaces": {"cold": Path("/new/in")}}, "would share a directory"),
        (_view(), {"tablespaces": {"cold": Path("/t"), "inside": Path("/t/u")}}, "would share a directory"),
        (_view(), {"tablespaces": {"cold": Path("relative")}}, "not absolute"),
    ],
)
def test_what_cannot_work_is_refused(view, changes, reason):
    with pytest.raises(Refused, match=reason):
        _plan(view=view, **changes)


# The end of the backup is there on timeline 2 only, which begins behind it in the same segment.
FAILED_OVER = ArchiveView(
    {2: TimelineHistory(2, (Branch(1, 2 * SIZE + 0x100, ""),))}, collect_runs([segment_name(2, 2, SIZE)], SIZE)
)


@pytest.mark.parametrize("timeline", [None, "latest", 2])
def test_a_backup_whose_last_segment_is_there_on_a_newer_timeline_is_restored_along_that(timeline):
    plan = _plan(view=FAILED_OVER, target=TargetOptions(timeline=timeline))
    assert [copy.name for copy in plan.wal.copies()] == [segment_name(2, 2, SIZE)]
    assert plan.wal.path.timeline == 2
    assert plan.warnings == ()


@pytest.mark.parametrize("timeline", ["current", 1])
def test_where_the_end_is_on_another_timeline_only_that_one_is_named(timeline):
    with pytest.raises(Refused, match="000000010000000000000002 is not in the archive") as caught:
        _plan(view=FAILED_OVER, target=TargetOptions(timeline=timeline))
    assert caught.value.hint == "On the way to timeline 2 nothing is missing: add --target-tli 2."


def test_a_hole_is_a_warning_when_nothing_is_known_to_be_behind_it():
    plan = _plan(view=_view(2, 4))
    assert "000000010000000000000003 is missing" in plan.warnings[0]
    assert "0/3000000" in plan.warnings[0]


LSN = TargetOptions(lsn="0/4000000")
TIME = TargetOptions(time=datetime(2026, 11, 21, 13, tzinfo=timezone.utc))
NAME = TargetOptions(name="before")
FORKED_VIEW = ArchiveView(FORKED, collect_runs([segment_name(*at, SIZE) for at in ((1, 2), (1, 3), (2, 4))], SIZE))
REACH = Reach(0x3000050, datetime(2026, 11, 21, 12, 30, tzinfo=timezone.utc))


@pytest.mark.parametrize(
    ("view", "target", "sighting", "reason", "hint"),
    [
        (
            _view(2, 4),
            LSN,
            Sighting(reach=REACH),
            "LSN 0/4000000 .* 000000010000000000000003 is missing",
            "nearest point .* 0/3000050, its last transaction ended at 2026-11-21 12:30:00",
        ),
        (
            _view(2, 3),
            LSN,
            Sighting(reach=REACH),
            "ends before it, with WAL file 000000010000000000000003",
            "0/3000050",
        ),
        (_view(2, 3), TIME, Sighting(reach=REACH), "time 2026-11-21 13:00:00.* no transaction", "12:30:00"),
        (_view(2, 3), TIME, Sighting(reach=Reach(None, None)), "the archive ends before it", "Without a target"),
        (_view(2, 3), TIME, Sighting(reach=Reach(5, None)), "the archive ends before it", "0/5; without"),
        (
            _view(2, 3),
            TargetOptions(xid="9"),
            Sighting(reach=REACH),
            "transaction 9 .* not in the WAL from 000000010000000000000002 to",
            "0/3000050",
        ),
        (
            _view(2, 4),
            NAME,
            Sighting(reach=REACH),
            "restore point before .* 000000010000000000000003 is missing",
            "0/3",
        ),
        (
            _view(2, 4),
            NAME,
            Sighting(elsewhere=Place(1, 0x4000000), reach=REACH),
            "restore point before .* 000000010000000000000003 is missing",
            "0/3000050",
        ),
        (_view(2, 3), NAME, Sighting(elsewhere=Place(7, 0x3000000)), "on timeline 7, at 0/3000000", "--target-tli 7,"),
        (FORKED_VIEW, NAME, Sighting(elsewhere=Place(1, 0x5000000)), "on timeline 1, at", "--target-tli 1."),
        (_view(2, 3), NAME, Sighting(2, 0x20000FF), "is at 0/20000FF, before backup", "--target-immediate"),
    ],
)
def test_a_target_that_cannot_be_reached_is_refused_and_the_nearest_point_named(view, target, sighting, reason, hint):
    with pytest.raises(Refused, match=reason) as caught:
        _plan(view=view, target=target, sighting=sighting)
    assert re.search(hint, caught.value.hint)


def test_a_name_that_is_nowhere_is_a_warning():
    plan = _plan(view=_view(2, 3), target=NAME, sighting=Sighting(reach=REACH))
    assert "restore point before cannot be reached" in plan.warnings[0]
    assert "going to fail" in plan.warnings[0]


@pytest.mark.parametrize("action", [None, TargetAction.PAUSE, TargetAction.PROMOTE, TargetAction.SHUTDOWN])
def test_wal_after_the_target_is_given_to_a_cluster_that_pauses_there(action):
    view = _view(*range(2, 9))
    plan = _plan(view=view, target=TargetOptions(name="before", action=action), sighting=Sighting(3, 0x3000000))
    assert plan.reach.count == 7
    assert plan.wal.count == (3 if action in (TargetAction.PROMOTE, TargetAction.SHUTDOWN) else 7)
    assert [copy.is_needed for copy in plan.wal.copies()][:3] == [True, True, False]
    by_lsn = _plan(view=view, target=TargetOptions(lsn="0/3000000", action=action), sighting=Sighting(3))
    assert by_lsn.wal.count == 3


def test_what_cannot_be_read_is_not_refused():
    plan = _plan(target=NAME, sighting=Sighting(unread="no key"))
    assert "not known: no key" in plan.warnings[0]
    assert plan.wal is plan.reach


def test_wal_that_may_still_come_is_waited_for_by_get_wal_and_by_a_standby():
    waiting = replace(RECORD, status=Status.WAITING_FOR_WALS, end_wal=segment_name(1, 3, SIZE), end_xlog="0/3000100")
    assert _plan(chain=(waiting,), view=_view(2), get_wal=True).warnings
    with pytest.raises(Refused):
        _plan(chain=(waiting,), view=_view(2))
    missing = {"view": _view(2, 3), "target": LSN, "sighting": Sighting(reach=REACH)}
    assert _plan(get_wal=True, **missing).wal_directory is None
    assert "recovery waits for it" in _plan(standby_mode=True, **missing).warnings[0]


def test_room_is_asked_for_where_things_go():
    child = replace(RECORD, backup_id=BackupId("20261121T130000"), parent_backup_id=RECORD.backup_id)
    files = {
        RECORD.backup_id: BackupFiles((Tarball("base.tar", None),), {None: 100, 16386: 20}),
        child.backup_id: BackupFiles(),
    }
    plan = _plan(chain=(RECORD, child), files=files, seen={"sizes": {None: 500, 16386: 60}})
    assert plan.room == (
        Room("data directory", Path("/new"), 500),
        Room("tablespace cold", Path("/srv/cold"), 60),
        Room("WAL", Path("/new/pg_wal"), 4 * SIZE, is_wal=True),
        Room("staging", Path("/staging"), 120, is_staging=True, is_here=True),
    )
    assert plan.staging_there is None
    is_empty = _plan(seen={"sizes": {None: 500}})
    assert [room.size_bytes for room in is_empty.room] == [500, 0, 4 * SIZE]
    unknown = _plan(chain=(RECORD, child), files={**files, RECORD.backup_id: BackupFiles((Tarball("base.tar", None),))})
    assert [room.size_bytes for room in unknown.room] == [None, None, 4 * SIZE, None]


@pytest.mark.parametrize(
    ("command", "is_chain", "where"),
    [("ssh there", True, Path("/there")), (None, True, None), ("ssh there", False, None)],
    ids=["chain", "chain to this host", "one backup"],
)
def test_a_chain_is_laid_out_and_combined_on_the_other_host_if_the_staging_is_there(command, is_chain, where):
    child = replace(RECORD, backup_id=BackupId("20261121T130000"), parent_backup_id=RECORD.backup_id)
    chain = (RECORD, child) if is_chain else (RECORD,)
    files = {record.backup_id: BackupFiles(sizes={None: 100}) for record in chain}

    staging = Staging(Path("/staging"), Path("/there"))
    plan = _plan(chain=chain, files=files, staging=staging, remote_ssh_command=command)

    assert plan.staging_there == where
    assert plan.staged == (tuple(record.backup_id for record in chain) if where else ())
    staged = [room for room in plan.room if room.is_staging]
    assert staged == ([Room("staging", Path("/there"), 200, is_staging=True)] if where else [])


def test_the_time_is_what_the_backup_took_and_unknown_where_nothing_was_measured():
    measured = replace(RECORD, size=640 << 20, copy_stats={"copy_time": 10.0})
    plan = _plan(chain=(measured,), seen={"sizes": {None: 320 << 20, 16386: 320 << 20}})
    assert plan.expected == timedelta(seconds=10)
    assert _plan(chain=(measured,)).expected is None
    assert _plan(chain=(replace(measured, size=1 << 20),), seen={"sizes": {None: 1, 16386: 1}}).expected is None
    assert _plan(chain=(replace(measured, deduplicated_size=5),), seen={"sizes": {None: 1, 16386: 1}}).expected is None
    assert _plan(seen={"sizes": {None: 1, 16386: 1}}).expected is None


def test_another_host_fetches_its_wal_by_name_and_user():
    plan = _plan(
        get_wal=True, remote_ssh_command="ssh db2", recovery_option_port=2222, request=None, standby_mode=False
    )
    assert "restore_command = 'barman-wal-restore -P -U backup --port 2222 vault main %f %p'" in plan.recovery.lines
    assert (
        "--recovery-option-port has no effect" in _plan(remote_ssh_command="ssh x", recovery_option_port=1).warnings[0]
    )


def test_options_without_effect_are_told():
    plan = _plan(get_wal=True, partial_wal=True, staging_wal_directory=Path("/w"))
    assert len(plan.warnings) == 2
    assert len(_plan(restore_command="x").warnings) == 1
    old = _plan(chain=(replace(RECORD, version=110000),), recovery_conf_filename="x.conf")
    assert len(old.warnings) == 1


def test_tablespaces_go_to_their_old_places_or_new_ones_and_stay_in_place_unless_moved():
    assert _plan().placements == (Placement("cold", 16386, Path("/srv/cold"), was_in_place=False),)
    moved = _plan(tablespaces={"inside": Path("/a"), "cold": Path("/b")}).placements
    assert moved == (
        Placement("cold", 16386, Path("/b"), was_in_place=False),
        Placement("inside", 16390, Path("/a"), was_in_place=True),
    )


def test_the_method_follows_from_the_files():
    tar = BackupFiles((Tarball("base.tar.gz", None),))
    child = replace(RECORD, backup_id=BackupId("20261121T130000"), parent_backup_id=RECORD.backup_id)
    assert _plan(files={RECORD.backup_id: tar}).method is Method.EXTRACT
    chain = _plan(chain=(RECORD, child), files={RECORD.backup_id: tar, child.backup_id: BackupFiles()})
    assert chain.method is Method.COMBINE
    assert chain.staged == (RECORD.backup_id,)
    assert chain.record is child
    stray = {RECORD.backup_id: BackupFiles(), child.backup_id: BackupFiles(has_stray_links=True)}
    assert _plan(chain=(RECORD, child), files=stray).staged == (child.backup_id,)


def test_targets_in_words():
    assert describe_target(None, None) is None
    target = parse_target(TargetOptions(name="foo", action=TargetAction.PROMOTE))
    assert describe_target(target, 2) == "Doing PITR. Recovery target name: 'foo', Recovery target timeline: '2'"


# Choosing the backup


def _record(day, **changes):
    end = datetime(2026, 11, day, 12, tzinfo=timezone.utc)
    return replace(
        RECORD, backup_id=BackupId(f"202611{day:02}T110000"), end_time=end, end_xlog=f"0/{day:X}000000", **changes
    )


CATALOGUE = {record.backup_id: record for record in (_record(1), _record(2), _record(3, status=Status.FAILED))}


def _select(text, options=TargetOptions(), histories=None, records=None):  # noqa: B008
    return select_backup(
        records or CATALOGUE,
        text,
        server="main",
        target=parse_target(options),
        timeline=options.timeline,
        histories=histories or {},
    ).record.backup_id


def test_auto_takes_the_newest_backup_before_the_target():
    assert _select("auto") == "20261102T110000"
    assert _select("auto", TargetOptions(time=datetime(2026, 11, 2, tzinfo=timezone.utc))) == "20261101T110000"
    assert _select("auto", TargetOptions(lsn="0/2000000")) == "20261102T110000"
    assert _select("auto", TargetOptions(lsn="0/1FFFFFF")) == "20261101T110000"


def test_auto_passes_over_a_backup_whose_ancestors_are_gone():
    orphan = _record(5, parent_backup_id=BackupId("20261104T110000"))
    assert _select("auto", records={**CATALOGUE, orphan.backup_id: orphan}) == "20261102T110000"


def test_auto_takes_a_backup_that_leads_to_the_timeline():
    histories = {2: TimelineHistory(2, (Branch(1, 0x1800000, ""),))}
    assert _select("auto", TargetOptions(timeline=2), histories) == "20261101T110000"
    assert _select("auto", TargetOptions(timeline="latest"), histories) == "20261101T110000"
    assert _select("auto", TargetOptions(timeline=1), histories) == "20261102T110000"
    with pytest.raises(UnknownBackup):
        _select("auto", TargetOptions(timeline=5), histories)


@pytest.mark.parametrize(
    "options",
    [TargetOptions(xid="7"), TargetOptions(name="x"), TargetOptions(immediate=True), TargetOptions(timeline="current")],
)
def test_auto_refuses_what_tells_nothing_about_backups(options):
    with pytest.raises(Refused):
        _select("auto", options)


def test_auto_says_what_the_earliest_point_is_when_nothing_fits():
    with pytest.raises(UnknownBackup, match="ended before the target time 2026-10-01") as caught:
        _select("auto", TargetOptions(time=datetime(2026, 10, 1, tzinfo=timezone.utc)))
    assert "20261101T110000, 2026-11-01 12:00:00+00:00 (0/1000000)" in caught.value.hint


@pytest.mark.parametrize("options", [TargetOptions(), TargetOptions(lsn="0/9000000")])
def test_auto_does_not_choose_what_was_left_behind_at_a_promotion_unless_asked(options):
    histories = {2: TimelineHistory(2, (Branch(1, 0x1800000, ""),))}
    assert _select("auto", options, histories) == "20261101T110000"
    assert _select("auto", replace(options, timeline=1), histories) == "20261102T110000"
    left_behind = {key: record for key, record in CATALOGUE.items() if key > "20261102"}
    with pytest.raises(UnknownBackup, match="leads to timeline 2") as caught:
        _select("auto", options, histories, left_behind)
    assert "20261102T110000 is on timeline 1: name it, or add --target-tli 1" in caught.value.hint


def test_auto_without_any_backup_speaks_of_no_target():
    failed = {key: record for key, record in CATALOGUE.items() if key > "20261103"}
    with pytest.raises(UnknownBackup, match="server main has no complete backup"):
        _select("auto", records=failed)


def test_other_words_are_those_of_the_catalogue():
    assert _select("latest") == "20261102T110000"
    assert _select("20261103T110000") == "20261103T110000"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": Status.FAILED}, "status FAILED"),
        ({"status": Status.SYNCING}, "status SYNCING"),
        ({"doomed": True}, "being deleted"),
        ({"damage": "unreadable"}, "damaged"),
        ({"mode": "snapshot-concurrent"}, "snapshots"),
        ({"encryption": "gpg"}, "encrypted"),
        ({"version": None}, "lacks version"),
        ({"end_wal": None}, "lacks end_wal"),
    ],
)
def test_backups_that_cannot_be_restored_are_refused(changes, reason):
    with pytest.raises(Refused, match=reason):
        require_restorable([replace(RECORD, **changes)], server="main")


def test_a_chain_is_as_good_as_its_ancestors():
    child = replace(RECORD, backup_id=BackupId("20261121T130000"), parent_backup_id=RECORD.backup_id)
    require_restorable([RECORD, child], server="main")
    with pytest.raises(Refused, match="which backup 20261121T130000 is based on"):
        require_restorable([replace(RECORD, status=Status.FAILED), child], server="main")


def test_an_ancestor_gives_its_files_though_its_wal_is_lost():
    lost = replace(RECORD, status=Status.FAILED, error=f"{MISSING_WAL}000000010000000000000002")
    child = replace(RECORD, backup_id=BackupId("20261121T130000"), parent_backup_id=RECORD.backup_id)
    require_restorable([lost, child], server="main")
    with pytest.raises(Refused, match="in status FAILED"):
        require_restorable([lost], server="main")
