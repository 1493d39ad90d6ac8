"""What a tick starts for a server, by table."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from barman.catalog.record import BackupId, BackupRecord, Status
from barman.cron.children import find_backup_to_check, needs_archiving
from barman.postgres.timelines import Branch, TimelineHistory
from barman.wal.needs import MISSING_WAL
from barman.wal.queue import Waiting

ONE, TWO, THREE = (f"00000001000000000000000{number}" for number in (1, 2, 3))


def _files(*names):
    return [Waiting(name, is_file=True) for name in names]


@pytest.mark.parametrize(
    ("incoming", "streaming", "archived", "needed"),
    [
        pytest.param([], [], (), False, id="nothing"),
        pytest.param([ONE], [], (), True, id="a file came in"),
        pytest.param([".tmp-x", f"{ONE}.tmp"], [], (), False, id="a file is coming in"),
        pytest.param(["junk"], [], (), True, id="junk is to be set aside"),
        pytest.param([], [f"{ONE}.partial"], (), False, id="the segment being received"),
        pytest.param([], [ONE, f"{TWO}.partial"], (), True, id="a segment was received"),
        pytest.param([], [ONE], (), True, id="the last one is complete"),
        pytest.param([], [ONE], (ONE,), False, id="the last one stays, archived"),
        pytest.param([], [ONE, TWO], (ONE, TWO), True, id="one too many stays"),
        pytest.param([], [f"{ONE}.partial", f"{TWO}.partial"], (), True, id="a partial was left behind"),
    ],
)
def test_archiving_starts_when_there_is_something_to_archive(incoming, streaming, archived, needed):
    settings = SimpleNamespace(archiver=True, streaming_archiver=True)
    assert needs_archiving(settings, _files(*incoming), _files(*streaming), archived.__contains__) is needed


def test_a_source_that_is_switched_off_is_not_looked_at():
    settings = SimpleNamespace(archiver=False, streaming_archiver=False)
    assert not needs_archiving(settings, _files(ONE), _files(ONE, TWO), lambda _: False)


def _record(number, status, **fields):
    return BackupRecord(BackupId(f"20261121T00000{number}"), status=status, **{"end_wal": ONE, **fields})


WAITING = _record(1, Status.WAITING_FOR_WALS)
ALSO_WAITING = _record(2, Status.WAITING_FOR_WALS, end_wal=TWO)
LEFT = _record(3, Status.STARTED, size=5)
HOLED = _record(4, Status.FAILED, error=f"{MISSING_WAL}{THREE}")


@pytest.mark.parametrize(
    ("records", "archived", "running", "chosen"),
    [
        pytest.param([], (), False, None, id="none"),
        pytest.param([_record(1, Status.DONE)], (ONE,), False, None, id="done"),
        pytest.param([ALSO_WAITING, WAITING], (), False, WAITING, id="oldest first"),
        pytest.param([WAITING, ALSO_WAITING], (TWO,), False, ALSO_WAITING, id="whose WAL has come"),
        pytest.param([LEFT], (), False, LEFT, id="killed while it waited"),
        pytest.param([LEFT], (ONE,), True, None, id="still waiting itself"),
        pytest.param([_record(3, Status.STARTED, end_wal=None)], (), False, None, id="killed while it copied"),
        pytest.param([HOLED], (), False, None, id="a hole that is still one"),
        pytest.param([HOLED], (THREE,), False, HOLED, id="a hole that was filled"),
        pytest.param([_record(5, Status.FAILED, error="disk full")], (ONE,), False, None, id="failed"),
        pytest.param([_record(6, Status.WAITING_FOR_WALS, doomed=True)], (ONE,), False, None, id="being deleted"),
    ],
)
def test_the_backup_worth_checking_is_found(records, archived, running, chosen):
    found = find_backup_to_check(records, archived.__contains__, is_backup_running=running, read_histories=dict)
    assert found == chosen


@pytest.mark.parametrize("status", [Status.WAITING_FOR_WALS, Status.FAILED])
def test_a_backup_whose_end_has_come_on_a_newer_timeline_goes_first(status):
    error = f"{MISSING_WAL}{TWO}" if status is Status.FAILED else None
    forked = _record(2, status, end_wal=TWO, end_xlog="0/2000100", error=error)
    archived = {f"00000002{TWO[8:]}"}
    histories = {2: TimelineHistory(2, (Branch(1, 0x2000200, ""),))}
    found = find_backup_to_check(
        [WAITING, forked], archived.__contains__, is_backup_running=False, read_histories=lambda: histories
    )
    assert found == forked


def test_histories_are_read_only_for_a_backup_that_waits():
    def read_histories():
        raise AssertionError

    done = _record(1, Status.DONE)
    assert find_backup_to_check([done], (), is_backup_running=False, read_histories=read_histories) is None
