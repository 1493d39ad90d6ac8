from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from barman.catalog.record import BackupId, BackupRecord
from barman.errors import Refused
from barman.restore.targets import (
    TargetAction,
    TargetKind,
    TargetOptions,
    parse_target,
    parse_timeline,
    require_reachable,
)
from barman.restore.times import parse_target_time

NOON = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
RECORD = BackupRecord(BackupId("20261121T120000"), end_time=NOON, end_xlog="0/5000100", version=150018)


@pytest.mark.parametrize(
    ("options", "kind", "text", "inclusive"),
    [
        (TargetOptions(time=NOON), TargetKind.TIME, "2026-11-21 12:00:00+00:00", True),
        (TargetOptions(time=NOON, exclusive=True), TargetKind.TIME, "2026-11-21 12:00:00+00:00", False),
        (TargetOptions(xid=" 733 ", exclusive=True), TargetKind.XID, "733", False),
        (TargetOptions(lsn="0/00abcdef"), TargetKind.LSN, "0/ABCDEF", True),
        (TargetOptions(name="before it's gone"), TargetKind.NAME, "before it's gone", True),
        (TargetOptions(immediate=True, action=TargetAction.PROMOTE), TargetKind.IMMEDIATE, "immediate", True),
    ],
)
def test_a_target_is_what_was_asked(options, kind, text, inclusive):
    target = parse_target(options)
    assert target is not None
    assert (target.kind, target.text, target.inclusive) == (kind, text, inclusive)


def test_no_target_is_none_and_a_timeline_alone_may_have_an_action():
    assert parse_target(TargetOptions()) is None
    assert parse_target(TargetOptions(timeline=2, action=TargetAction.PAUSE)) is None


@pytest.mark.parametrize(
    "options",
    [
        TargetOptions(xid="1", name="x"),
        TargetOptions(time=NOON, immediate=True),
        TargetOptions(exclusive=True),
        TargetOptions(exclusive=True, name="x"),
        TargetOptions(exclusive=True, immediate=True),
        TargetOptions(action=TargetAction.PROMOTE),
        TargetOptions(xid="-1"),
        TargetOptions(xid="abc"),
        TargetOptions(xid=str(1 << 64)),
        TargetOptions(lsn="16"),
        TargetOptions(name=""),
        TargetOptions(name="x" * 64),
        TargetOptions(name="ä" * 32),
        TargetOptions(name="two\nlines"),
    ],
)
def test_nonsense_and_contradictions_are_refused(options):
    with pytest.raises(Refused):
        parse_target(options)


@pytest.mark.parametrize(("text", "choice"), [("1", 1), (" Current", "current"), ("LATEST", "latest"), ("12", 12)])
def test_timelines_are_numbers_or_words(text, choice):
    assert parse_timeline(text) == choice


@pytest.mark.parametrize("text", ["0", "-1", "", "newest", "1.5", "4294967296", "²"])
def test_other_timelines_are_refused(text):
    with pytest.raises(Refused):
        parse_timeline(text)


@pytest.mark.parametrize(
    "options",
    [
        TargetOptions(time=NOON),
        TargetOptions(time=NOON + timedelta(microseconds=1)),
        TargetOptions(lsn="0/5000100"),
        TargetOptions(xid="3"),
        TargetOptions(name="x"),
        TargetOptions(immediate=True),
    ],
)
def test_targets_from_the_end_of_the_backup_on_can_be_reached(options):
    require_reachable(parse_target(options), RECORD)


@pytest.mark.parametrize(
    ("options", "record"),
    [
        (TargetOptions(time=NOON - timedelta(microseconds=1)), RECORD),
        (TargetOptions(lsn="0/50000FF"), RECORD),
        (TargetOptions(lsn="0/6000000"), replace(RECORD, version=90624)),
    ],
)
def test_targets_that_the_backup_cannot_reach_are_refused(options, record):
    with pytest.raises(Refused):
        require_reachable(parse_target(options), record)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-21 05:41:46.532951+00:00", datetime(2026, 11, 21, 5, 41, 46, 532951, timezone.utc)),
        ("2026-11-21T05:41:46Z", datetime(2026, 11, 21, 5, 41, 46, tzinfo=timezone.utc)),
        ("Sat Nov 21 05:41:46 2026 UTC", datetime(2026, 11, 21, 5, 41, 46, tzinfo=timezone.utc)),
        ("2026-11-21 05:41:46-05", datetime(2026, 11, 21, 10, 41, 46, tzinfo=timezone.utc)),
        ("2026-07-21 05:41:46 CET", datetime(2026, 7, 21, 3, 41, 46, tzinfo=timezone.utc)),
    ],
)
def test_times_with_a_zone_are_that_moment(text, moment):
    parsed, has_zone = parse_target_time(text)
    assert has_zone
    assert parsed == moment
    assert parsed.isoformat()[-6] in "+-"


@pytest.mark.parametrize(
    ("zone", "text", "offset"),
    [
        ("Europe/Rome", "2026-07-21 12:00:00", "+02:00"),
        ("Europe/Rome", "2026-01-21 12:00:00", "+01:00"),
        ("America/New_York", "2026-01-21 12:00:00", "-05:00"),
    ],
)
def test_times_without_a_zone_are_local(zone, text, offset, local_zone):
    local_zone(zone)
    parsed, has_zone = parse_target_time(text)
    assert not has_zone
    assert parsed.isoformat(sep=" ") == text + offset


@pytest.mark.parametrize("text", ["", "yesterdayish", "2026-13-01", "2026-11-21 05:41:46 NOWHERE", "99999-01-01"])
def test_other_times_are_refused(text):
    with pytest.raises(Refused):
        parse_target_time(text)
