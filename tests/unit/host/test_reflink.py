"""Files that share their blocks."""

from __future__ import annotations

import os

import pytest

from barman.host import reflink, transfer
from barman.progress import NoBar
from tests.support import file_systems

MIB = 1 << 20


@pytest.fixture(params=["xfs", "btrfs"])
def place(request, tmp_path):
    """A directory where files can share blocks."""
    if not file_systems.is_possible(request.param):
        pytest.skip(f"{request.param} cannot be mounted here")
    directory = tmp_path / "mounted"
    directory.mkdir()
    with file_systems.mounted(request.param, directory, tmp_path / "image", 512):
        yield directory


def test_what_is_written_to_a_clone_takes_no_more_room_than_it_has(place):
    (place / "one").write_bytes(os.urandom(64 * MIB))
    assert reflink.clone(place / "one", place / "two")
    before = file_systems.used_bytes(place)
    with (place / "two").open("r+b") as file:
        for number in range(100):
            file.seek(number * 80 * 8192)
            file.write(b"x" * 8192)
    assert file_systems.used_bytes(place) - before < 100 * 8192 + 2 * MIB


def test_a_clone_takes_no_room_and_is_another_file(place):
    assert reflink.is_possible(place)
    assert list(place.glob(".*tmp")) == []
    (place / "one").write_bytes(os.urandom(64 * MIB))
    before = file_systems.used_bytes(place)
    assert reflink.clone(place / "one", place / "two")
    assert file_systems.used_bytes(place) - before < MIB
    assert reflink.shared_bytes(place / "two") == 64 * MIB
    with (place / "two").open("r+b") as file:
        file.write(b"x" * MIB)
    os.sync()
    assert (place / "one").read_bytes()[MIB:] == (place / "two").read_bytes()[MIB:]
    assert (place / "one").read_bytes()[:MIB] != (place / "two").read_bytes()[:MIB]
    assert reflink.shared_bytes(place / "two") == 63 * MIB


def test_a_clone_never_replaces_a_file(place):
    for name in ("one", "two"):
        (place / name).write_text(name)
    with pytest.raises(FileExistsError):
        reflink.clone(place / "one", place / "two")
    assert (place / "two").read_text() == "two"


def test_where_blocks_cannot_be_shared_nothing_is_left(tmp_path):
    if reflink.is_possible(tmp_path):
        pytest.skip("they can be shared here")
    (tmp_path / "one").write_text("content")
    assert not reflink.clone(tmp_path / "one", tmp_path / "two")
    assert sorted(os.listdir(tmp_path)) == ["one"]
    assert reflink.shared_bytes(tmp_path / "one") == reflink.shared_bytes(tmp_path / "none") == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data,
        lambda data: data[: 3 * 8192] + bytes(8192) + data[4 * 8192 :],
        lambda data: bytes(10) + data[10:-1] + b"x",
        lambda data: data + os.urandom(2 * MIB + 5),
        lambda data: data[: MIB - 7],
        lambda _: b"",
    ],
    ids=["equal", "one block", "both ends", "longer", "shorter", "empty"],
)
def test_an_update_makes_a_file_equal_with_mode_and_times(change, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    target.write_bytes(os.urandom(2 * MIB + 1000))
    source.write_bytes(change(target.read_bytes()))
    source.chmod(0o640)
    os.utime(source, ns=(1_700_000_000_000_000_001, 1_600_000_000_000_000_002))
    inode = target.stat().st_ino
    transfer.update_file(str(source), str(target), transfer.Flow(NoBar()))
    assert source.read_bytes() == target.read_bytes()
    status = target.stat()
    assert (status.st_mode & 0o777, status.st_mtime_ns) == (0o640, 1_600_000_000_000_000_002)
    assert status.st_ino == inode


def test_an_update_writes_only_what_differs(tmp_path, monkeypatch):
    source, target = tmp_path / "source", tmp_path / "target"
    data = os.urandom(4 * MIB)
    target.write_bytes(data)
    source.write_bytes(data[:MIB] + os.urandom(100) + data[MIB + 100 :])
    written = []
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda *words: written.append(words[2]) or pwrite(*words))
    transfer.update_file(str(source), str(target), transfer.Flow(NoBar()))
    assert written == [MIB]
    assert source.read_bytes() == target.read_bytes()
