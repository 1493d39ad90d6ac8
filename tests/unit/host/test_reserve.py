"""Replacing a small file when there is no more room."""

from __future__ import annotations

import pytest

from barman.host.files import remove_stale_temporaries
from barman.host.reserve import Reserve


def test_the_content_is_replaced_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "record"
    path.write_bytes(b"before")
    with Reserve(path) as reserve:
        reserve.replace(b"after")
    assert path.read_bytes() == b"after"
    assert list(tmp_path.iterdir()) == [path]


def test_room_that_is_not_used_is_given_back_and_the_file_stays(tmp_path):
    path = tmp_path / "record"
    path.write_bytes(b"before")
    with Reserve(path, 100):
        assert sorted(entry.stat().st_size for entry in tmp_path.iterdir()) == [6, 100]
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_an_exception_gives_the_room_back_too(tmp_path):
    with pytest.raises(KeyError), Reserve(tmp_path / "record"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_room_in_use_is_not_taken_for_stale(tmp_path):
    with Reserve(tmp_path / "record") as reserve:
        remove_stale_temporaries(tmp_path)
        reserve.replace(b"content")
    assert (tmp_path / "record").read_bytes() == b"content"


def test_a_directory_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), Reserve(tmp_path / "missing" / "record"):
        pass
