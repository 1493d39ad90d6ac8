"""The end of a copy of files: what the server says is written down, and where the backup begins and ends follows."""

from __future__ import annotations

from datetime import datetime, timezone
from types import SimpleNamespace

import pytest

from barman.backup.executor import Job
from barman.backup.executors.rsync import RsyncExecutor
from barman.catalog.record import BackupRecord, Status
from barman.errors import BarmanError, ConnectionFailed
from barman.postgres.backup_session import BackupEnd, BackupStart
from barman.progress import LogReporter
from tests.support.facts import facts_of_a_primary
from tests.support.settings import server_settings

SEGMENT = 16 << 20
BEGAN = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
ENDED = datetime(2026, 11, 21, 12, 30, tzinfo=timezone.utc)
LABEL = """START WAL LOCATION: 0/5000028 (file {timeline:08X}0000000000000005)
CHECKPOINT LOCATION: 0/5000060
BACKUP METHOD: streamed
BACKUP FROM: primary
START TIME: 2026-11-21 12:00:00 UTC
LABEL: Barman backup main
START TIMELINE: {timeline}
"""


class Session:
    """A session of a server that says this when the backup is ended, or raises it."""

    def __init__(self, outcome):
        self.outcome = outcome
        self.asked = []

    def connect(self):
        pass

    def facts(self):
        return facts_of_a_primary()

    def start(self, _label, **_how):
        return BackupStart("0/5000028", 1, BEGAN)

    def stop(self, *, exclusive):
        self.asked.append(("stop", exclusive))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def close(self):
        self.asked.append("close")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


@pytest.fixture
def begun(server):
    """An executor whose backup has begun on the server, and its record: begun(outcome of the stop, **settings)."""

    def make(outcome, **options):
        settings = server_settings(backup_method="local-rsync", **options)
        session = Session(outcome)
        stub = SimpleNamespace(name="main", paths=server.paths, backup_session=lambda: session)
        executor = RsyncExecutor(Job(stub, settings, facts_of_a_primary(), LogReporter()))
        record = BackupRecord("20261121T120000", status=Status.STARTED, xlog_segment_size=SEGMENT, server_name="main")
        server.paths.data_dir(record.backup_id).mkdir(parents=True)
        return executor, executor.start(record), session

    return make


def _end(*, lsn="0/7000100", timeline=None, label=None, tablespace_map=None):
    return BackupEnd(lsn, timeline, ENDED, label, tablespace_map)


def _data(server, record):
    return server.paths.data_dir(record.backup_id)


def test_label_and_tablespace_map_are_written_as_the_server_gave_them(begun, server):
    executor, record, session = begun(_end(label=LABEL.format(timeline=1), tablespace_map="16400 /srv/t\\e\n"))
    stopped = executor.stop(record)
    assert (_data(server, record) / "backup_label").read_text() == LABEL.format(timeline=1)
    assert (_data(server, record) / "tablespace_map").read_bytes() == b"16400 /srv/t\\e\n"
    assert stopped.backup_label == LABEL.format(timeline=1)
    assert session.asked == [("stop", False), "close"]


def test_begin_comes_from_the_label_and_end_from_the_server(begun):
    executor, record, _ = begun(_end(label=LABEL.format(timeline=3)))
    stopped = executor.stop(record)
    assert (stopped.begin_xlog, stopped.begin_wal) == ("0/5000028", "000000030000000000000005")
    assert (stopped.end_xlog, stopped.end_wal) == ("0/7000100", "000000030000000000000007")
    assert (stopped.timeline, stopped.end_time) == (3, ENDED)


def test_a_standby_that_followed_its_primary_ends_on_the_new_timeline(begun):
    executor, record, _ = begun(_end(label=LABEL.format(timeline=3), timeline=4))
    stopped = executor.stop(record)
    assert stopped.begin_wal == "000000030000000000000005"
    assert stopped.end_wal == "000000040000000000000007"


def test_the_label_of_an_exclusive_backup_is_the_one_that_was_copied(begun, server):
    executor, record, session = begun(_end(), backup_options="exclusive_backup")
    (_data(server, record) / "backup_label").write_text(LABEL.format(timeline=1))
    assert executor.stop(record).backup_label == LABEL.format(timeline=1)
    assert not (_data(server, record) / "tablespace_map").exists()
    assert session.asked == [("stop", True), "close"]


def test_an_exclusive_backup_without_its_label_is_none(begun):
    executor, record, _ = begun(_end(), backup_options="exclusive_backup")
    with pytest.raises((BarmanError, OSError), match="backup_label"):
        executor.stop(record)


def test_what_has_ended_is_not_ended_again(begun):
    executor, record, session = begun(_end(), backup_options="exclusive_backup")
    with pytest.raises((BarmanError, OSError)):
        executor.stop(record)
    executor.abort()
    assert session.asked.count(("stop", True)) == 1


def test_an_exclusive_backup_whose_end_was_not_heard_is_ended_by_abort(begun):
    executor, record, session = begun(ConnectionFailed("gone"), backup_options="exclusive_backup")
    with pytest.raises(ConnectionFailed):
        executor.stop(record)
    executor.abort()
    assert session.asked.count(("stop", True)) == 2


def test_a_concurrent_one_ends_with_its_session(begun):
    executor, record, session = begun(ConnectionFailed("gone"))
    with pytest.raises(ConnectionFailed):
        executor.stop(record)
    executor.abort()
    assert session.asked == [("stop", False), "close"]


def test_the_server_is_let_go_before_anything_is_written_that_may_fail(begun, server):
    executor, record, session = begun(_end(label=LABEL.format(timeline=1)))
    data = _data(server, record)
    data.rmdir()
    with pytest.raises(OSError, match="backup_label") as failed:
        executor.stop(record)
    assert failed.value.filename.startswith(str(data))
    assert session.asked == [("stop", False), "close"]
