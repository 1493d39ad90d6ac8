"""The archive: files and ledger together."""

from __future__ import annotations

import contextlib
import gzip
import io

import pytest

from barman.catalog.wal_archive import ArchivedWal, WalArchive, archive_key, scan_archive
from barman.catalog.xlogdb import WalEntry, XlogDb
from barman.errors import CatalogError, NotFound
from barman.storage.local import LocalStorage
from barman.storage.memory import MemoryStorage
from barman.storage.storage import Write

FIRST, SECOND = "000000010000000000000001", "000000010000000000000002"
HISTORY = "00000002.history"


def identify(start):
    return "gzip" if start[:3] == b"\x1f\x8b\x08" else None


def open_decoded(file):
    with file:
        content = file.read()
    return io.BytesIO(gzip.decompress(content) if identify(content) else content)


@pytest.fixture(params=["local", "memory"])
def archive(request, tmp_path):
    directory = tmp_path / "wals"
    storage = LocalStorage(directory) if request.param == "local" else MemoryStorage()
    xlogdb = XlogDb(tmp_path / "x-xlog.db", contextlib.nullcontext, lambda: scan_archive(storage, identify))
    return WalArchive(
        storage,
        xlogdb,
        open_decoded=open_decoded,
        identify=identify,
        directory=directory if request.param == "local" else None,
    )


def wal(name, content=b"wal", compression=None):
    return ArchivedWal(Write(archive_key(name), content, mtime_ns=1795239296_824272900), compression)


def test_what_is_added_is_there_and_listed(archive):
    entries = archive.add([wal(FIRST), wal(HISTORY, gzip.compress(b"1\t0/5\n"), "gzip")])

    assert entries[0] == WalEntry(FIRST, 3, 1795239296.8242729)
    assert archive.entry(FIRST) == entries[0]
    assert archive.entry(SECOND) is None
    assert archive.exists(FIRST)
    assert not archive.exists(SECOND)
    with archive.open(FIRST) as file:
        assert file.read() == b"wal"
    with archive.open_decoded(HISTORY) as file:
        assert file.read() == b"1\t0/5\n"
    with pytest.raises(NotFound):
        archive.open(SECOND)


def test_timelines_and_their_histories_are_known(archive):
    assert archive.newest_segment() is None
    archive.add([wal(FIRST), wal(SECOND), wal(HISTORY, b"1\t0/5\n")])

    assert archive.timelines() == [1, 2]
    assert archive.history(2) == "1\t0/5\n"
    assert archive.history(1) is None
    assert archive.newest_segment() == SECOND
    assert archive.newest_segment(1) == SECOND
    assert archive.newest_segment(2) is None


def test_a_file_without_a_line_is_missing_until_it_is_healed(archive):
    archive.add([wal(FIRST)])
    archive.storage.write_batch([wal(SECOND, gzip.compress(b"x")).write])
    third = "000000010000000000000003"
    assert archive.missing([FIRST, SECOND, third]) == [SECOND, third]

    healed = archive.heal([FIRST, SECOND, third])

    assert [(entry.name, entry.compression) for entry in healed] == [(SECOND, "gzip")]
    assert archive.missing([FIRST, SECOND, third]) == [third]
    assert archive.heal([FIRST, SECOND]) == []


def test_healing_makes_durable_what_a_killed_process_left(archive, monkeypatch):
    archive.add([wal(FIRST)])
    archive.storage.write_batch([wal(SECOND).write])
    synced, flushed = [], []
    monkeypatch.setattr(type(archive.storage), "sync", lambda _, keys: synced.extend(keys))
    monkeypatch.setattr("barman.catalog.xlogdb.os.fsync", flushed.append)

    archive.heal([FIRST])
    assert (synced, len(flushed)) == ([], 1), "its line may not be durable"
    archive.heal([FIRST, SECOND])
    assert (synced, len(flushed)) == ([archive_key(SECOND)], 2)
    archive.heal([])
    assert len(flushed) == 2


def test_a_line_without_a_file_is_missing(archive):
    archive.add([wal(FIRST), wal(SECOND)])
    archive.storage.delete_batch([archive_key(FIRST)])

    assert archive.missing([FIRST, SECOND]) == [FIRST]


def test_exactly_the_names_given_are_removed(archive):
    label = f"{FIRST}.00000028.backup"
    archive.add([wal(FIRST), wal(label), wal(SECOND)])

    archive.remove([FIRST, label])
    archive.remove([FIRST, label])

    assert not archive.exists(FIRST)
    assert archive.exists(SECOND)
    assert [entry.name for entry in archive.xlogdb.entries()] == [SECOND]


def test_a_hash_directory_goes_with_its_last_file(tmp_path):
    storage = LocalStorage(tmp_path)
    xlogdb = XlogDb(tmp_path / "x-xlog.db", contextlib.nullcontext, lambda: ())
    archive = WalArchive(storage, xlogdb, open_decoded=open_decoded, identify=identify, directory=tmp_path)
    archive.add([wal(FIRST), wal(SECOND), wal(HISTORY)])

    archive.remove([FIRST])
    assert (tmp_path / FIRST[:16]).is_dir()
    archive.remove([SECOND, HISTORY])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x-xlog.db"]


def test_a_rebuild_reads_the_files_and_knows_encrypted_ones(archive):
    archive.storage.write_batch(
        [
            wal(SECOND, b"\x85\x01\x0c\x03" + b"k" * 8).write,
            wal(FIRST, gzip.compress(b"x")).write,
            wal(f"{FIRST}.partial", b"").write,
            wal(HISTORY, b"\x84\x5e\x03kkkkkkkk").write,
            Write("0000000100000000/notes.txt", b""),
            Write(f"0000000200000000/{FIRST}", b"in the wrong directory"),
        ]
    )

    archive.rebuild()

    assert [(entry.name, entry.compression, entry.encryption) for entry in archive.xlogdb.entries()] == [
        (FIRST, "gzip", None),
        (f"{FIRST}.partial", None, None),
        (SECOND, None, "gpg"),
        (HISTORY, None, "gpg"),
    ]


def test_a_file_that_vanishes_during_a_rebuild_is_left_out(archive):
    class Vanishing(MemoryStorage):
        def open(self, key):
            raise NotFound(key)

    storage = Vanishing()
    storage.write_batch([wal(FIRST).write])

    assert list(scan_archive(storage, identify)) == []


def test_a_failed_batch_leaves_the_ledger_as_it_was(archive):
    archive.add([wal(FIRST)])

    def fail(file):
        raise CatalogError("no")

    with pytest.raises(CatalogError):
        archive.add([wal(SECOND, fail)])
    assert [entry.name for entry in archive.xlogdb.entries()] == [FIRST]
