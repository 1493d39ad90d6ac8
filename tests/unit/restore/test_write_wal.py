from __future__ import annotations

import gzip
import io

import pytest

from barman.errors import NotFound, WalError
from barman.host.transfer import Flow
from barman.postgres.timelines import TimelineHistory
from barman.postgres.wal_names import segment_name
from barman.progress import LogReporter, NoBar
from barman.restore.wal_plan import WalPlan
from barman.restore.write_wal import WalWriter
from barman.storage.compress.codecs import identify, open_reader
from tests.support.plans import SEGMENT_SIZE, make_plan


class _Archive:
    """What a restore asks of the archive, over files in memory."""

    def __init__(self, **files: bytes) -> None:
        self.files = files

    def open_decoded(self, name: str) -> io.BufferedIOBase:
        if name not in self.files:
            raise NotFound(f"{name} is not there")
        content = self.files[name]
        algorithm = identify(content[:10])
        return io.BytesIO(content) if algorithm is None else open_reader(io.BytesIO(content), algorithm)


class _Noting(LogReporter):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, message: str) -> None:
        self.warnings.append(message)


def _name(number):
    return segment_name(1, number, SEGMENT_SIZE)


def _segment(number):
    return bytes([number]) * SEGMENT_SIZE


@pytest.fixture
def write(tmp_path):
    """Writes the WAL of a plan and returns its directory and what was warned of."""

    def run(archive, wal=None, histories=None):
        reporter = _Noting()
        plan = make_plan(tmp_path, wal=wal, wal_directory=tmp_path / "pg_wal")
        writer = WalWriter(plan, tmp_path / "pg_wal", archive, tmp_path / "streaming", reporter, Flow(NoBar()))
        writer.write(histories or {}, plan.wal.copies(), workers=2, bar=NoBar())
        return tmp_path / "pg_wal", reporter.warnings

    return run


def test_segments_and_histories_are_there_decoded_and_marked(write):
    archive = _Archive(**{_name(n): _segment(n) for n in (1, 2)})
    archive.files[_name(3)] = gzip.compress(_segment(3))
    archive.files["00000002.history"] = b"1\t0/1\tx\n"
    directory, warnings = write(archive, histories={2: TimelineHistory(2)})
    assert {(directory / _name(n)).read_bytes() == _segment(n) for n in (1, 2, 3)} == {True}
    assert (directory / "00000002.history").read_bytes() == b"1\t0/1\tx\n"
    marks = {path.name for path in (directory / "archive_status").iterdir()}
    assert marks == {f"{name}.done" for name in archive.files}
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / _name(1)).stat().st_mode & 0o777 == 0o600
    assert warnings == []


@pytest.mark.parametrize(
    "damaged",
    [b"", b"short", gzip.compress(_segment(3))[:-20], gzip.compress(b"short"), _segment(3) + b"x", None],
    ids=["empty", "short", "compressed and cut", "compressed and short", "long", "missing"],
)
def test_a_damaged_or_missing_segment_ends_the_restore_and_is_named(damaged, write):
    archive = _Archive(**{_name(n): _segment(n) for n in (1, 2)})
    if damaged is not None:
        archive.files[_name(3)] = damaged
    with pytest.raises(WalError, match=_name(3)) as caught:
        write(archive)
    assert "0/300000 (--target-lsn)" in str(caught.value.hint)


def test_a_damaged_segment_that_is_not_needed_is_left_out_with_a_warning(write):
    archive = _Archive(**{_name(n): _segment(n) for n in (1, 2)}, **{_name(3): b"short"})
    directory, warnings = write(archive, WalPlan(TimelineHistory(1), SEGMENT_SIZE, 1, 3, 1, needed_until=2))
    assert not (directory / _name(3)).exists()
    assert not (directory / "archive_status" / f"{_name(3)}.done").exists()
    assert len(warnings) == 1
    assert _name(3) in warnings[0]


def test_an_unfinished_segment_is_taken_from_where_it_is_by_then_and_filled_up(write, tmp_path):
    partial = _name(2) + ".partial"
    plan = WalPlan(TimelineHistory(1), SEGMENT_SIZE, 1, 1, 1, None, partial=partial)
    (tmp_path / "streaming").mkdir()
    (tmp_path / "streaming" / partial).write_bytes(b"begun")
    archive = _Archive(**{_name(1): _segment(1)})

    directory, _ = write(archive, plan)
    assert (directory / _name(2)).read_bytes() == b"begun".ljust(SEGMENT_SIZE, b"\0")
    archive.files[partial] = gzip.compress(b"archived")
    write(archive, plan)
    assert (directory / _name(2)).read_bytes().startswith(b"archived\0")
    archive.files[_name(2)] = _segment(2)
    write(archive, plan)
    assert (directory / _name(2)).read_bytes() == _segment(2)
