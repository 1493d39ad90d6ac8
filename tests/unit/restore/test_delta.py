from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest

from barman.errors import Refused
from barman.restore.delta import (
    Existing,
    Item,
    Kind,
    find_differences,
    horizon_of,
    render_mark,
    require_updatable,
    trusted_before,
)
from barman.restore.destination import Seen, Wanted

ID = "7400000000000000001"
BEGIN = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
NOON = int(BEGIN.timestamp())
NOTHING = Existing(has_pid_file=False, system_identifier=None, mark=None, begin_time=None)


def _file(size=1, mtime=NOON - 100, mode=0o600):
    return Item(Kind.FILE, size, mtime, mode)


def test_only_what_differs_is_written_and_only_what_is_unwanted_removed():
    directory = Item(Kind.DIRECTORY)
    wanted = {
        "base": directory,
        "base/1": directory,
        "base/1/same": _file(),
        "base/1/longer": _file(size=2),
        "base/1/newer": _file(mtime=NOON - 1),
        "base/1/late": _file(mtime=NOON),
        "base/1/closed": _file(),
        "base/1/new": _file(),
        "was_file": directory,
        "was_link": directory,
        "link": Item(Kind.LINK),
    }
    there = {
        "base": directory,
        "base/1": directory,
        "base/1/same": _file(),
        "base/1/longer": _file(),
        "base/1/newer": _file(),
        "base/1/late": _file(mtime=NOON),
        "base/1/closed": _file(mode=0o400),
        "base/2": directory,
        "base/2-x": directory,
        "base/2/deep": directory,
        "base/2/deep/file": _file(),
        "was_file": _file(),
        "was_link": Item(Kind.LINK),
        "link": Item(Kind.LINK),
    }

    found = find_differences(wanted, there, horizon=NOON)

    assert found.removed == ("base/2", "base/2-x", "link", "was_file", "was_link")
    assert found.changed == ("base/1/longer", "base/1/new")
    assert found.doubtful == ("base/1/newer", "base/1/late", "base/1/closed")
    assert found.kept == ("base/1/same",)


def test_without_a_horizon_everything_that_looks_equal_is_compared():
    files = {"a": _file(mtime=0)}

    assert find_differences(files, files, horizon=None).doubtful == ("a",)


@pytest.mark.parametrize(
    ("existing", "horizon"),
    [
        (None, NOON - 2),
        (NOTHING, None),
        (NOTHING._replace(begin_time=datetime(2026, 11, 21, 11, tzinfo=timezone.utc)), NOON - 3602),
        (NOTHING._replace(begin_time=datetime(2026, 11, 21, 13, tzinfo=timezone.utc)), NOON - 2),
        (NOTHING._replace(mark=render_mark(ID, NOON - 7)), NOON - 7),
        (NOTHING._replace(mark=render_mark(ID, None)), None),
        (NOTHING._replace(mark="torn"), None),
    ],
    ids=["empty", "unknown", "earlier backup", "later backup", "interrupted", "interrupted, unknown", "torn"],
)
def test_the_horizon_is_that_of_the_earliest_backup_files_may_be_of(existing, horizon):
    assert horizon_of(BEGIN, existing) == horizon


def test_a_complete_restore_of_the_same_backup_is_trusted_an_interrupted_one_is_not():
    same = NOTHING._replace(begin_time=BEGIN)
    files = {"a": _file(mtime=NOON + 5)}

    def doubtful(existing):
        return find_differences(files, files, horizon=trusted_before(BEGIN, existing)).doubtful

    assert doubtful(same) == ()
    assert doubtful(same._replace(mark=render_mark(ID, NOON - 2))) == ("a",)
    assert doubtful(NOTHING) == ("a",)
    assert trusted_before(BEGIN, None) == NOON - 2


def _check(existing, *, names=("base",), more=()):
    places = [Wanted("the destination", Path("/d"))]
    places += [Wanted(what, Path(f"/{number}")) for number, (what, _) in enumerate(more)]
    seen = [Seen("/d", "/d", is_directory=True, names=names)]
    seen += [Seen(f"/{number}", "/", is_directory=True, names=held) for number, (_, held) in enumerate(more)]
    require_updatable(places, seen, existing, system_identifier=ID, host=" on h")


def test_a_cluster_of_the_backup_and_what_a_restore_left_may_be_overwritten():
    _check(NOTHING._replace(system_identifier=ID))
    _check(NOTHING._replace(mark=render_mark(ID, None)))
    _check(NOTHING, names=())
    _check(NOTHING, names=(".barman-incomplete",))
    held = [("the location of tablespace 'a'", ("PG_15_202209061",)), ("the WAL staging directory", ("0" * 24,))]
    _check(NOTHING._replace(system_identifier=ID), more=held)


@pytest.mark.parametrize(
    ("existing", "more", "reason"),
    [
        (NOTHING, (), "holds no cluster"),
        (NOTHING._replace(system_identifier="7"), (), r"another cluster \(system identifiers 7 and 74"),
        (NOTHING._replace(mark=render_mark("7", None)), (), "another cluster"),
        (NOTHING._replace(system_identifier=ID, has_pid_file=True), (), "postmaster.pid"),
        (
            NOTHING._replace(system_identifier=ID),
            [("the location of tablespace 'a'", ("PG_15_202209061", "photos"))],
            "'photos'",
        ),
        (NOTHING._replace(system_identifier=ID), [("the WAL staging directory", ("photos",))], "'photos'"),
    ],
    ids=["no cluster", "another", "left of another", "running", "tablespace", "WAL"],
)
def test_nothing_else_is(existing, more, reason):
    with pytest.raises(Refused, match=rf"on h.*{reason}|{reason}"):
        _check(existing, more=more)
