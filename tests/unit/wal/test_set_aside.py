"""The errors directory."""

from __future__ import annotations

import errno
import os
import re

import pytest

from barman.errors import StorageError
from barman.wal.error_names import free_error_path
from barman.wal.set_aside import set_aside


def test_a_file_keeps_its_name_and_gets_time_and_reason(tmp_path):
    (tmp_path / "junk").write_bytes(b"content")
    place = set_aside(tmp_path / "junk", tmp_path / "errors", "unknown")
    assert re.fullmatch(r"junk\.\d{8}T\d{6}Z\.unknown", place.name)
    assert place.read_bytes() == b"content"
    assert not (tmp_path / "junk").exists()


def test_nothing_is_replaced(tmp_path):
    places = set()
    for number in range(3):
        (tmp_path / "junk").write_text(str(number))
        places.add(set_aside(tmp_path / "junk", tmp_path / "errors", "duplicate"))
    assert {place.read_text() for place in places} == {"0", "1", "2"}


def test_directories_are_moved_too(tmp_path):
    (tmp_path / "d" / "sub").mkdir(parents=True)
    assert (set_aside(tmp_path / "d", tmp_path / "errors", "unknown") / "sub").is_dir()


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_it_works_across_file_systems(tmp_path, monkeypatch, kind):
    path = tmp_path / "junk"
    if kind == "directory":
        path.mkdir()
        (path / "file").write_bytes(b"content")
    elif kind == "link":
        path.symlink_to("nowhere")
    else:
        path.write_bytes(b"content")
        path.chmod(0o640)
        os.utime(path, ns=(1_000, 2_000))
    rename = os.rename

    def refuse(source, target):
        if os.fspath(source) == str(path):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse)
    place = set_aside(path, tmp_path / "errors", "unknown")
    assert not os.path.lexists(path)
    if kind == "directory":
        assert (place / "file").read_bytes() == b"content"
    elif kind == "link":
        assert os.readlink(place) == "nowhere"
    else:
        status = place.stat()
        assert (place.read_bytes(), status.st_mode & 0o777, status.st_mtime_ns) == (b"content", 0o640, 2_000)


def test_what_cannot_be_moved_is_told(tmp_path):
    with pytest.raises(StorageError, match=r"cannot move .*missing"):
        set_aside(tmp_path / "missing", tmp_path / "errors", "unknown")


def test_a_free_path_is_in_the_directory(tmp_path):
    assert os.path.dirname(free_error_path(str(tmp_path), "junk", "unknown")) == str(tmp_path)
