"""What happens to a waiting file that changes while it is archived."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from barman.errors import Transient
from barman.host import files
from barman.progress import LogReporter
from barman.server import open_server
from barman.wal import batch as module
from barman.wal import encoding
from barman.wal.archive import archive_wal
from barman.wal.batch import BatchResult, Intake
from tests.support.settings import load_text
from tests.support.wal import name_of, segment

NAME = name_of(1)


@pytest.fixture
def server(tmp_path):
    def open_main(**options):
        lines = [f"{key} = {value}" for key, value in {"conninfo": "dbname=x", "archiver": "on", **options}.items()]
        server = open_server(load_text(tmp_path, "[main]\n" + "\n".join(lines)), "main")
        server.paths.incoming.mkdir(parents=True)
        return server

    return open_main


def archive(server, **options):
    with ThreadPoolExecutor(1) as pool:
        intake = Intake(server, pool)
        return intake.finish(intake.begin(server.paths.incoming, [NAME]), **options)


def test_a_file_whose_writer_ended_while_it_was_looked_at_is_left_for_later(server, monkeypatch):
    main = server()
    path = main.paths.incoming / NAME
    path.write_bytes(segment(NAME)[:4096])
    inspect = module.inspect_wal

    def inspect_and_complete(*words, **options):
        seen = inspect(*words, **options)
        path.write_bytes(segment(NAME))
        return seen

    monkeypatch.setattr(module, "inspect_wal", inspect_and_complete)
    assert archive(main) == BatchResult(unfinished=(NAME,))
    monkeypatch.undo()
    assert archive(main).archived == (NAME,)


def test_a_file_that_changes_while_it_is_compressed_is_not_archived(server, monkeypatch):
    main = server(compression="gzip")
    path = main.paths.incoming / NAME
    path.write_bytes(segment(NAME))
    compress = encoding.compress_stream

    def compress_and_cut(*words, **options):
        compress(*words, **options)
        path.write_bytes(b"")

    monkeypatch.setattr(encoding, "compress_stream", compress_and_cut)
    with pytest.raises(Transient, match="was changed while it was being archived"):
        archive(main)
    assert not main.wal_archive.exists(NAME)
    assert path.exists()


def test_a_file_that_is_replaced_after_it_was_looked_at_is_not_archived(server):
    main = server()
    path = main.paths.incoming / NAME
    path.write_bytes(segment(NAME))
    with ThreadPoolExecutor(1) as pool:
        intake = Intake(main, pool)
        begun = intake.begin(main.paths.incoming, [NAME])
        path.write_bytes(segment(NAME)[:4096])
        with pytest.raises(Transient, match="was changed while it was being archived"):
            intake.finish(begun)
    assert not main.wal_archive.exists(NAME)
    assert path.exists()


def test_a_second_name_of_the_archived_file_is_made_durable_before_it_goes(server, monkeypatch):
    main = server()
    path = main.paths.incoming / NAME
    path.write_bytes(segment(NAME))
    archive(main, staying=NAME)
    assert path.stat().st_nlink == 2
    synced = []
    monkeypatch.setattr(files, "fsync_file", synced.append)

    assert archive(main) == BatchResult(rows=(NAME,))
    assert synced == [path]
    assert not path.exists()


def test_archived_files_that_are_damaged_do_not_keep_back_what_is_new(server):
    main = server()
    names = [name_of(number) for number in range(1, 7)]
    for name in names[:5]:
        stored = main.paths.wals / name[:16] / name
        stored.parent.mkdir(parents=True, exist_ok=True)
        stored.write_bytes(b"\x1f\x8b\x08 no gzip after all")
    for name in names:
        (main.paths.incoming / name).write_bytes(segment(name))
    main.locks.directory.mkdir(parents=True, exist_ok=True)

    (report,) = archive_wal(main, LogReporter(), verbose=False).sources

    assert report.archived == (names[5],)
    assert [name for name, _ in report.errors] == names[:5]
    assert sorted(path.name for path in main.paths.incoming.iterdir()) == names[:5]
