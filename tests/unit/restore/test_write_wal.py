from __future__ import annotations

import gzip
import io
import os
from typing import TYPE_CHECKING

import pytest

from barman.errors import NotFound, WalError
from barman.host.transfer import Flow
from barman.postgres.timelines import TimelineHistory
from barman.postgres.wal_names import segment_name
from barman.progress import LogReporter, NoBar
from barman.restore.wal_plan import WalPlan
from barman.restore.write_wal import WalWriter, reusable_wal
from barman.storage.compress.codecs import identify, open_reader
from tests.support.plans import SEGMENT_SIZE, make_plan

if TYPE_CHECKING:
    from pathlib import Path


class _Archive:
    """What a restore asks of the archive, over files in memory."""

    def __init__(self, **files: bytes) -> None:
        self.files = files

    def open(self, name: str) -> io.BytesIO:
        if name not in self.files:
            raise NotFound(f"{name} is not there")
        return io.BytesIO(self.files[name])

    def decode(self, file: io.BufferedIOBase) -> io.BufferedIOBase:
        algorithm = identify(file.read(10))
        file.seek(0)
        if algorithm is None:
            return file
        with file:
            return open_reader(io.BytesIO(file.read()), algorithm)

    def open_decoded(self, name: str) -> io.BufferedIOBase:
        return self.decode(self.open(name))


class _Directory(_Archive):
    """The same over files of a directory."""

    def __init__(self, root: Path, **files: bytes) -> None:
        super().__init__(**files)
        root.mkdir()
        for name, content in files.items():
            (root / name).write_bytes(content)
            os.utime(root / name, (1_700_000_000, 1_700_000_000))
        self.root = root

    def open(self, name: str) -> io.BufferedIOBase:
        return (self.root / name).open("rb")


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

    def run(archive, wal=None, histories=None, *, links=False):
        reporter = _Noting()
        plan = make_plan(tmp_path, wal=wal, wal_directory=tmp_path / "pg_wal")
        writer = WalWriter(
            plan, tmp_path / "pg_wal", archive, tmp_path / "streaming", reporter, Flow(NoBar()), links=links
        )
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


def test_segments_of_an_earlier_restore_stay_and_all_others_are_written_anew_beside_their_other_names(write, tmp_path):
    archive = _Directory(
        tmp_path / "archive",
        **{_name(1): _segment(1), _name(2): gzip.compress(_segment(2)), _name(3): _segment(3)},
    )
    directory, _ = write(archive)
    before = {n: (directory / _name(n)).stat() for n in (1, 2, 3)}
    os.link(directory / _name(3), tmp_path / "other")
    (directory / _name(3)).write_bytes(b"x" * SEGMENT_SIZE)

    write(archive)

    after = {n: (directory / _name(n)).stat() for n in (1, 2, 3)}
    assert [(after[n].st_ino, after[n].st_ctime_ns) for n in (1, 2)] == [
        (before[n].st_ino, before[n].st_ctime_ns) for n in (1, 2)
    ]
    assert {(directory / _name(n)).read_bytes() == _segment(n) for n in (1, 2, 3)} == {True}
    assert (tmp_path / "other").read_bytes() == b"x" * SEGMENT_SIZE


def test_on_its_way_elsewhere_what_needs_no_decoding_is_linked_to_not_copied(write, tmp_path):
    archive = _Directory(
        tmp_path / "archive", **{_name(1): _segment(1), _name(2): gzip.compress(_segment(2)), _name(3): _segment(3)}
    )
    directory, _ = write(archive, links=True)
    assert os.readlink(directory / _name(1)) == str(archive.root / _name(1))
    assert not (directory / _name(2)).is_symlink()
    assert {(directory / _name(n)).read_bytes() == _segment(n) for n in (1, 2, 3)} == {True}
    (archive.root / _name(3)).write_bytes(b"short")
    with pytest.raises(WalError, match=_name(3)):
        write(archive, links=True)
    assert not (directory / _name(3)).is_symlink()


def test_a_segment_the_archive_has_got_anew_is_written_again(write, tmp_path):
    archive = _Directory(tmp_path / "archive", **{_name(n): _segment(n) for n in (1, 2, 3)})
    write(archive)
    (archive.root / _name(2)).write_bytes(_segment(7))
    directory, _ = write(archive)
    assert (directory / _name(2)).read_bytes() == _segment(7)


def test_only_files_named_like_segments_of_the_plan_may_stay(tmp_path):
    plan = make_plan(tmp_path, wal_directory=tmp_path / "pg_wal")
    assert reusable_wal(plan) == set()
    directory = tmp_path / "pg_wal"
    (directory / "archive_status").mkdir(parents=True)
    (directory / _name(2)).mkdir()
    (directory / _name(3)).symlink_to("/nowhere")
    for name in (_name(1), _name(200), "00000002.history"):
        (directory / name).touch()
    assert reusable_wal(plan) == {str(directory), str(directory / _name(1))}
    directory.rename(tmp_path / "elsewhere")
    directory.symlink_to(tmp_path / "elsewhere")
    assert reusable_wal(plan) == set()
