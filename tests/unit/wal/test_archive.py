"""How archive-wal goes from batch to batch."""

from __future__ import annotations

import pytest

from barman.errors import Transient
from barman.progress import LogReporter
from barman.server import open_server
from barman.wal import archive as module
from barman.wal import encoding
from barman.wal.archive import archive_wal
from barman.wal.batch import Intake
from tests.support.settings import load_text
from tests.support.wal import name_of, segment

NAMES = [name_of(number) for number in range(1, 8)]


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server with seven segments that wait, archived two at a time."""
    monkeypatch.setattr(module, "_FILES_PER_WORKER", 2)
    monkeypatch.setattr(module, "_cores", lambda: 1)
    monkeypatch.setattr(module, "_LARGEST_BATCH", 2)
    options = "conninfo = dbname=x\narchiver = on\ncompression = gzip\ncompression_level = low\n"
    server = open_server(load_text(tmp_path, f"[main]\n{options}"), "main")
    server.paths.incoming.mkdir(parents=True)
    for name in NAMES:
        (server.paths.incoming / name).write_bytes(segment(name))
    return server


@pytest.fixture
def steps(monkeypatch):
    """What is begun, finished and discarded, in order, as tuples of a word and the number of the first segment."""
    found = []

    def note(word, action, number_of):
        def noting(self, *words, **options):
            found.append((word, number_of(*words)))
            return action(self, *words, **options)

        monkeypatch.setattr(Intake, word, noting)

    note("begin", Intake.begin, lambda _directory, names: int(names[0][-2:], 16))
    note("finish", Intake.finish, lambda begun: int(begun.candidates[0].name[-2:], 16))
    return found


def fail_to_compress(monkeypatch, name, *, times):
    """Let a file fail that often."""
    failures = iter(range(times))
    compress = encoding.compress_stream

    def compress_or_fail(source, *words, **options):
        if source.name.endswith(name) and next(failures, None) is not None:
            raise Transient(f"{name}: try again")
        compress(source, *words, **options)

    monkeypatch.setattr(encoding, "compress_stream", compress_or_fail)


def test_a_batch_is_begun_before_the_one_before_it_is_finished(server, steps):
    report = archive_wal(server, LogReporter())
    assert list(report.archived) == NAMES
    begun = [("begin", 1), ("begin", 3), ("finish", 1), ("begin", 5), ("finish", 3), ("begin", 7)]
    assert steps == [*begun, ("finish", 5), ("finish", 7)]
    assert [entry.name for entry in server.xlogdb.entries()] == NAMES


@pytest.mark.parametrize(("limit", "third"), [(68, (3, 5)), (64, (3, 4)), (20_000, (3, 7)), (-1, (3, 7))])
def test_two_batches_do_not_use_up_the_descriptors_of_a_process(limit, third, server, steps, monkeypatch):
    monkeypatch.setattr(module, "_FILES_PER_WORKER", 1)
    monkeypatch.setattr(module, "_LARGEST_BATCH", 512)
    monkeypatch.setattr(module, "_BATCH_S", 1000)
    monkeypatch.setattr(module.resource, "getrlimit", lambda _which: (limit, limit))
    report = archive_wal(server, LogReporter())
    assert list(report.archived) == NAMES
    assert tuple(first for word, first in steps if word == "begin")[2:4] == third


def test_nothing_overtakes_a_batch_that_fails(server, steps, monkeypatch):
    fail_to_compress(monkeypatch, NAMES[3], times=1)
    archive_wal(server, LogReporter())
    assert steps[4:10] == [("finish", 3), ("begin", 3), ("finish", 3), ("begin", 4), ("finish", 4), ("begin", 5)]
    assert [entry.name for entry in server.xlogdb.entries()] == NAMES
    assert not list(server.paths.incoming.iterdir())
    assert not list(server.paths.wals.rglob(".*"))


def test_two_spellings_of_one_name_never_meet_in_neighbouring_batches(server):
    lower = server.paths.incoming / name_of(10).lower()
    upper = server.paths.incoming / name_of(10)
    for name in NAMES:
        (server.paths.incoming / name).unlink()
    lower.write_bytes(segment(name_of(10)))
    upper.write_bytes(segment(name_of(10), filling=1))
    report = archive_wal(server, LogReporter())
    (source,) = report.sources
    assert len(report.archived) == 1
    assert [name for result in source.results for name in result.conflicts] == [name_of(10)]
    assert len(list(server.paths.errors.iterdir())) == 1


def test_a_failure_of_one_does_not_hide_that_another_is_damaged(server, monkeypatch):
    (server.paths.incoming / NAMES[0]).write_bytes(b"damaged")
    fail_to_compress(monkeypatch, NAMES[1], times=2)
    (source,) = archive_wal(server, LogReporter()).sources
    assert [name for name, _reason in source.errors] == NAMES[:2]
    assert list(source.archived) == NAMES[2:]
