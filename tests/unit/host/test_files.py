"""Durable files."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from barman.host import files


def test_a_replaced_file_is_old_or_new_never_between(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with files.replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


def test_an_exception_keeps_the_old_file_and_no_temporary_one(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail():
        with files.replacing(path) as file:
            file.write(b"new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_replaced_file_keeps_its_mode(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o640)
    files.write_durably(path, b"new")
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_mode_can_be_given(tmp_path):
    files.write_durably(tmp_path / "file", b"", mode=0o604)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o604


def test_errors_name_the_file(tmp_path):
    with pytest.raises(OSError, match="missing") as caught:
        files.write_durably(tmp_path / "missing" / "file", b"")
    assert caught.value.filename is not None


def test_naming_fills_in_only_what_is_missing():
    with pytest.raises(OSError, match="this one"), files.naming("this one"):
        raise OSError(errno.EIO, "Input/output error")
    with pytest.raises(OSError, match="that one"), files.naming("this one"):
        raise FileNotFoundError(2, "No such file", "that one")


def test_parents_are_made(tmp_path):
    files.make_directories(tmp_path / "a" / "b" / "c")
    files.make_directories(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()


def test_a_temporary_file_is_removed_once_its_writer_is_gone(tmp_path):
    program = "import sys, os; from barman.host.files import open_temporary; open_temporary(sys.argv[1]); os._exit(1)"
    subprocess.run([sys.executable, "-c", program, tmp_path / "file"], check=False)
    mine, file = files.open_temporary(tmp_path / "file")
    (tmp_path / ".other.tmp").write_bytes(b"not ours")
    with file:
        files.remove_stale_temporaries(tmp_path)
        assert sorted(os.listdir(tmp_path)) == sorted([".other.tmp", os.path.basename(mine)])


def test_removing_stale_files_needs_no_directory(tmp_path):
    files.remove_stale_temporaries(tmp_path / "missing")


def test_a_tree_is_summed(tmp_path):
    (tmp_path / "t" / "sub").mkdir(parents=True)
    (tmp_path / "t" / "one").write_bytes(b"1" * 10)
    (tmp_path / "t" / "sub" / "two").write_bytes(b"2" * 5)
    os.link(tmp_path / "t" / "sub" / "two", tmp_path / "elsewhere")
    (tmp_path / "t" / "link").symlink_to("one")
    (tmp_path / "t" / "dangling").symlink_to("nowhere")
    seen = []
    totals = files.fsync_tree(tmp_path / "t", workers=2, on_file=seen.append)
    assert totals == files.TreeTotals(files=2, bytes=15, linked_bytes=5)
    assert sorted(seen) == [5, 10]


def test_links_to_what_is_durable_are_not_synced_again(tmp_path, monkeypatch):
    (tmp_path / "t").mkdir()
    for name in ("new", "linked"):
        (tmp_path / "t" / name).write_bytes(b"x")
    os.link(tmp_path / "t" / "linked", tmp_path / "elsewhere")
    synced = []
    monkeypatch.setattr(files, "fsync_file", synced.append)
    totals = files.fsync_tree(tmp_path / "t", workers=1, links_are_durable=True)
    assert totals == files.TreeTotals(files=2, bytes=2, linked_bytes=1)
    assert synced == [str(tmp_path / "t" / "new")]
    files.fsync_tree(tmp_path / "t", workers=1)
    assert sorted(synced[1:]) == [str(tmp_path / "t" / "linked"), str(tmp_path / "t" / "new")]


def test_a_large_tree_is_summed(tmp_path):
    for number in range(330):
        (tmp_path / str(number)).write_bytes(b"x")
    assert files.fsync_tree(tmp_path, workers=1).files == 330


def test_a_tree_is_removed_without_following_links(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_bytes(b"")
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "link").symlink_to(tmp_path / "kept")
    files.remove_tree(tmp_path / "t")
    files.remove_tree(tmp_path / "t")
    assert (tmp_path / "kept" / "file").exists()
    assert not (tmp_path / "t").exists()


def test_a_tree_behind_a_link_is_not_removed(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "t").symlink_to(tmp_path / "kept")
    with pytest.raises(OSError, match="it is a symbolic link") as caught:
        files.remove_tree(tmp_path / "t")
    assert caught.value.filename == str(tmp_path / "t")
    assert (tmp_path / "kept").exists()


def test_a_tree_another_process_removes_too_is_gone_at_the_end(tmp_path, monkeypatch):
    for name in "abc":
        (tmp_path / "t" / name).mkdir(parents=True)
    rmdir = os.rmdir

    def rmdir_twice(*words, **options):
        monkeypatch.setattr(os, "rmdir", rmdir)
        rmdir(*words, **options)
        rmdir(*words, **options)

    monkeypatch.setattr(os, "rmdir", rmdir_twice)
    files.remove_tree(tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_what_was_removed_before_is_made_durable(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(files, "fsync_directory", synced.append)
    files.remove_tree(tmp_path / "t")
    files.unlink_durably(tmp_path / "file")
    assert synced == [str(tmp_path)] * 2


def test_unlinking_passes_over_what_is_missing(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    files.unlink_durably(tmp_path / "file")
    files.unlink_durably(tmp_path / "file")
    files.unlink_durably(tmp_path / "missing" / "file")
    assert os.listdir(tmp_path) == []


def test_a_writer_is_noticed(tmp_path):
    path = tmp_path / "file"
    with path.open("wb"), path.open("rb") as file:
        assert files.is_being_written(file) in {True, None}
    with path.open("rb") as file, path.open("rb"):
        assert files.is_being_written(file) in {False, None}
