"""What every storage driver promises."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from barman.errors import NotFound, StorageError
from barman.storage.local import LocalStorage
from barman.storage.memory import MemoryStorage
from barman.storage.storage import Entry, Write


@pytest.fixture(params=["local", "memory"])
def storage(request, tmp_path):
    return LocalStorage(tmp_path / "root") if request.param == "local" else MemoryStorage()


def read(storage, key):
    with storage.open(key) as file:
        return file.read()


def test_what_was_written_can_be_read(storage):
    storage.write_batch([Write("a/b", b"content")])
    assert read(storage, "a/b") == b"content"


def test_content_may_be_bytes_a_path_or_a_function(storage, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"from a path")
    storage.write_batch(
        [Write("bytes", b"as bytes"), Write("path", source), Write("function", lambda file: file.write(b"written"))],
        workers=2,
    )
    assert [read(storage, key) for key in ("bytes", "path", "function")] == [b"as bytes", b"from a path", b"written"]


def test_a_path_is_left_in_place(storage, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"content")
    storage.write_batch([Write("key", source)])
    assert source.read_bytes() == b"content"


def test_an_object_keeps_the_time_of_its_path(storage, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"content")
    os.utime(source, ns=(1, 1_577_836_800_123_456_789))
    assert storage.write_batch([Write("key", source)])[0].mtime_ns == 1_577_836_800_123_456_789


def test_a_given_time_wins(storage, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"content")
    entries = storage.write_batch([Write("path", source, mtime_ns=5_000_000_000), Write("bytes", b"", mtime_ns=7_000)])
    assert [entry.mtime_ns for entry in entries] == [5_000_000_000, 7_000]


def test_entries_come_in_the_order_of_the_writes(storage):
    keys = ["z", "a", "m/n"]
    entries = storage.write_batch([Write(key, key.encode()) for key in keys], workers=3)
    assert [(entry.key, entry.size) for entry in entries] == [("z", 1), ("a", 1), ("m/n", 3)]


def test_contents_are_produced_side_by_side(tmp_path):
    storage = LocalStorage(tmp_path)
    together = threading.Barrier(2, timeout=30)

    def meet(file):
        together.wait()
        file.write(b"met")

    storage.write_batch([Write("a", meet), Write("b", meet)], workers=2)
    assert read(storage, "a") == read(storage, "b") == b"met"


def test_an_object_is_replaced(storage, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"second")
    storage.write_batch([Write("a", b"first"), Write("b", b"first")])
    storage.write_batch([Write("a", b"second"), Write("b", source)])
    assert [read(storage, key) for key in "ab"] == [b"second", b"second"]


def test_the_same_writes_again_are_harmless(storage, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"content")
    writes = [Write("a", source), Write("b", b"content")]
    first = storage.write_batch(writes)
    again = storage.write_batch(writes)
    assert [entry.key for entry in again] == [entry.key for entry in first]
    assert [entry.key for entry in storage.list()] == ["a", "b"]


def test_a_failure_leaves_what_precedes_it_and_nothing_else(storage):
    def fail(file):
        file.write(b"half")
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        storage.write_batch([Write("1", b"whole"), Write("2", fail), Write("3", b"whole")], workers=2)
    kept = [entry.key for entry in storage.list()]
    assert kept == ["1"][: len(kept)]


def test_what_a_check_refuses_does_not_get_its_key(storage, tmp_path):
    (tmp_path / "file").write_bytes(b"changed")
    checked = []

    def refuse():
        checked.append([entry.key for entry in storage.list()])
        raise RuntimeError("not this one")

    writes = [Write("1", b"whole"), Write("2", tmp_path / "file", check=refuse), Write("3", b"whole")]
    with pytest.raises(RuntimeError, match="not this one"):
        storage.write_batch(writes)
    assert checked == [["1"]]
    assert [entry.key for entry in storage.list()] == ["1"]


def test_a_failed_write_keeps_the_object_that_was_there(storage):
    storage.write_batch([Write("key", b"old")])

    def fail(file):
        file.write(b"new")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        storage.write_batch([Write("key", fail)])
    assert read(storage, "key") == b"old"


def test_a_batch_under_way_has_no_object_before_it_is_finished(storage):
    with ThreadPoolExecutor(2) as pool:
        first = storage.begin_batch([Write("a", b"old"), Write("b", b"first")], pool=pool)
        second = storage.begin_batch([Write("a", b"new")], pool=pool)
        assert list(storage.list()) == []
        assert [entry.key for entry in first.finish()] == ["a", "b"]
        assert read(storage, "a") == b"old"
        second.finish()
        first.discard()
    assert [read(storage, key) for key in "ab"] == [b"new", b"first"]


def test_a_discarded_batch_leaves_nothing_and_nobody_works_on_it(storage):
    begun = threading.Event()
    more = threading.Event()

    def slow(file):
        begun.set()
        more.wait(30)
        file.write(b"more")

    with ThreadPoolExecutor(1) as pool:
        batch = storage.begin_batch([Write("a", slow), Write("b", slow)], pool=pool)
        begun.wait(30)
        threading.Timer(0.05, more.set).start()
        batch.discard()
        assert more.is_set()
        assert list(storage.list()) == []


def test_an_unreadable_path_is_a_storage_error_that_names_the_key(storage, tmp_path):
    with pytest.raises(StorageError, match="some/key"):
        storage.write_batch([Write("some/key", tmp_path / "missing")])


def test_an_empty_batch_does_nothing(storage):
    assert list(storage.write_batch([])) == []
    assert list(storage.list()) == []


def test_listing_is_in_key_order_and_by_prefix(storage):
    keys = ["b", "a/2", "a/1", "a.x", "ab", "a/1x/deep"]
    storage.write_batch([Write(key, b"") for key in keys])
    assert [entry.key for entry in storage.list()] == sorted(keys)
    assert [entry.key for entry in storage.list("a/")] == ["a/1", "a/1x/deep", "a/2"]
    assert [entry.key for entry in storage.list("a/1")] == ["a/1", "a/1x/deep"]
    assert [entry.key for entry in storage.list("ab")] == ["ab"]
    assert list(storage.list("nothing")) == []


def test_what_is_not_there_is_not_found(storage):
    assert not storage.exists("a")
    with pytest.raises(NotFound, match="a"):
        storage.open("a")
    with pytest.raises(NotFound, match="a"):
        storage.stat("a")


def test_stat_tells_what_the_write_told(storage):
    (entry,) = storage.write_batch([Write("a/b", b"four", mtime_ns=3_000)])
    assert storage.stat("a/b") == entry == Entry("a/b", 4, 3_000)
    assert storage.exists("a/b")


def test_deleting_is_exact_and_passes_over_what_is_missing(storage):
    storage.write_batch([Write(key, b"") for key in ("a", "aa", "d/a")])
    storage.delete_batch(["missing", "a", "d/a", "also/missing"])
    assert [entry.key for entry in storage.list()] == ["aa"]


def test_syncing_changes_nothing_and_passes_over_what_is_missing(storage):
    storage.write_batch([Write("d/key", b"content")])
    storage.sync(["d/key", "gone/key"])
    assert [entry.key for entry in storage.list()] == ["d/key"]


def test_an_opened_object_is_seekable(storage):
    storage.write_batch([Write("a", b"0123456789")])
    with storage.open("a") as file:
        assert file.read(3) == b"012"
        file.seek(8)
        assert file.read() == b"89"
