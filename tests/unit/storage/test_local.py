"""What only the driver for directories does."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from barman.errors import Permanent
from barman.host import files
from barman.storage.local import LocalStorage
from barman.storage.storage import Write


def test_an_object_from_a_path_is_a_hard_link(tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"content")
    storage = LocalStorage(tmp_path / "root")
    storage.write_batch([Write("d/key", source)])
    assert os.path.samefile(source, storage.path("d/key"))


def test_replacing_an_object_by_a_link_keeps_no_temporary_name(tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"content")
    storage = LocalStorage(tmp_path / "root")
    storage.write_batch([Write("key", b"old")])
    for _ in range(2):
        storage.write_batch([Write("key", source)])
    assert os.listdir(tmp_path / "root") == ["key"]
    assert source.stat().st_nlink == 2


def test_a_symbolic_link_is_copied_not_linked(tmp_path):
    (tmp_path / "real").write_bytes(b"content")
    (tmp_path / "source").symlink_to("real")
    storage = LocalStorage(tmp_path / "root")
    storage.write_batch([Write("key", tmp_path / "source")])
    assert storage.path("key").read_bytes() == b"content"
    assert not storage.path("key").is_symlink()


def test_where_links_are_impossible_the_file_is_copied_with_mode_and_time(tmp_path, monkeypatch):
    source = tmp_path / "source"
    source.write_bytes(b"content")
    source.chmod(0o640)
    os.utime(source, ns=(1, 2_000))

    def refuse(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    storage = LocalStorage(tmp_path / "root")
    (entry,) = storage.write_batch([Write("key", source)])
    status = storage.path("key").stat()
    assert (entry.mtime_ns, status.st_mode & 0o777, status.st_nlink) == (2_000, 0o640, 1)
    assert os.listdir(tmp_path / "root") == ["key"]


def test_a_given_mode_is_set(tmp_path):
    storage = LocalStorage(tmp_path)
    storage.write_batch([Write("key", b"", mode=0o600)])
    assert storage.path("key").stat().st_mode & 0o777 == 0o600


def test_half_written_files_are_no_objects(tmp_path):
    storage = LocalStorage(tmp_path)
    storage.write_batch([Write("d/key", b"")])
    (tmp_path / "d" / ".key.1.1.tmp").write_bytes(b"half")
    assert [entry.key for entry in storage.list()] == ["d/key"]


def test_the_top_of_a_file_system_has_a_directory_of_its_own(tmp_path):
    storage = LocalStorage(tmp_path)
    storage.write_batch([Write("key", b""), Write("d/lost+found/key", b"")])
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "lost+found" / "#1234").write_bytes(b"an inode without a name")
    assert [entry.key for entry in storage.list()] == ["d/lost+found/key", "key"]


def test_a_batch_removes_what_a_killed_writer_left(tmp_path):
    temporary, file = files.open_temporary(tmp_path / "key")
    storage = LocalStorage(tmp_path)
    storage.write_batch([Write("other", b"")])
    assert os.path.exists(temporary), "its writer lives"
    file.close()
    storage.write_batch([Write("other", b"")])
    assert os.listdir(tmp_path) == ["other"]


def test_a_failed_batch_leaves_no_temporary_file(tmp_path):
    def fail(file):
        file.write(b"half")
        raise RuntimeError

    storage = LocalStorage(tmp_path)
    with pytest.raises(RuntimeError):
        storage.write_batch([Write("a", fail), *(Write(str(n), b"x") for n in range(20))], workers=4)
    assert os.listdir(tmp_path) == []


def test_a_medium_that_refuses_is_a_permanent_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Permanent, match="file/key"):
        LocalStorage(tmp_path).write_batch([Write("file/key", b"")])


def test_a_file_that_could_not_be_flushed_is_not_linked_but_written_anew(tmp_path, monkeypatch):
    source = tmp_path / "source"
    source.write_bytes(b"content")
    sync = files.fsync_file

    def fail_once(path):
        monkeypatch.setattr(files, "fsync_file", sync)
        raise OSError(errno.EIO, "Input/output error", os.fspath(path))

    monkeypatch.setattr(files, "fsync_file", fail_once)
    storage = LocalStorage(tmp_path / "root")
    storage.write_batch([Write("key", source)])
    assert storage.path("key").read_bytes() == b"content"
    assert not os.path.samefile(source, storage.path("key"))


def test_another_batch_leaves_alone_what_waits_for_its_name(tmp_path, monkeypatch):
    rename = os.rename

    def rename_late(old, new):
        files.remove_stale_temporaries(tmp_path)
        rename(old, new)

    monkeypatch.setattr(os, "rename", rename_late)
    storage = LocalStorage(tmp_path)
    storage.write_batch([Write("key", b"content")])
    assert storage.path("key").read_bytes() == b"content"


@pytest.mark.parametrize("act", ["write", "sync"])
def test_every_directory_that_names_an_object_is_made_durable(tmp_path, monkeypatch, act):
    storage = LocalStorage(tmp_path)
    storage.write_batch([Write("a/b/key", b"")])
    synced = []
    monkeypatch.setattr(files, "fsync_directory", synced.append)
    if act == "write":
        storage.write_batch([Write("a/b/key", b"")])
    else:
        storage.sync(["a/b/key"])
    assert synced == [tmp_path / "a" / "b", tmp_path / "a", tmp_path]


def test_a_directory_that_is_removed_while_a_batch_is_under_way_is_made_again(tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"content")
    storage = LocalStorage(tmp_path / "root")
    with ThreadPoolExecutor(1) as pool:
        batch = storage.begin_batch([Write("d/key", source)], pool=pool)
        pool.submit(os.rmdir, storage.path("d")).result()
        batch.finish()
    assert storage.path("d/key").read_bytes() == b"content"


def test_a_discarded_batch_leaves_no_temporary_file(tmp_path):
    storage = LocalStorage(tmp_path / "root")
    with ThreadPoolExecutor(1) as pool:
        storage.begin_batch([Write("key", b"content")], pool=pool).discard()
    assert os.listdir(tmp_path / "root") == []
