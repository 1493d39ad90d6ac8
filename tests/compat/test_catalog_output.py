"""The same catalogue, listed by both implementations: the same text, the same JSON."""

from __future__ import annotations

import json

import pytest

from barman.catalog.record import Status
from barman.catalog.wal_archive import archive_key
from tests.support.catalogs import HISTORY, HandMade, backup_id, segment
from tests.support.homes import BarmanHome, our_programs

ANALYSED = {"copy_time": 1.75, "analysis_time": 1.5, "total_time": 2.9, "number_of_workers": 3}


@pytest.fixture
def both(scratch, reference):
    """One installation twice, with every kind of backup in it."""
    theirs = BarmanHome(scratch / "barman", programs=reference)
    options = {"conninfo": "host=/nonexistent", "streaming_conninfo": "host=/nonexistent", "backup_method": "postgres"}
    server = theirs.server(archiver="on", retention_policy="REDUNDANCY 3", **options)
    catalog = HandMade(server.directory)
    catalog.make_directories()
    chain = {"summarize_wal": "on", "version": 180004}
    # What was copied from all of the cluster: on which part the two have other opinions.
    catalog.add_backup(1, 3, 5, mode="rsync-concurrent", size=3000, deduplicated_size=200, copy_stats=ANALYSED)
    catalog.add_backup(2, 8, 8, backup_name="weekly", children_backup_ids=(backup_id(3),), **chain)
    catalog.add_backup(3, 10, 10, parent_backup_id=backup_id(2), size=500, deduplicated_size=500, **chain)
    catalog.add_backup(4, 13, 13, status=Status.FAILED, error="failure copying files (no space)")
    catalog.add_backup(5, 14, 14, copy_stats=None, compression="gzip", encryption="gpg")
    catalog.add_backup(6, 16, 17, status=Status.WAITING_FOR_WALS, data_checksums="on")
    catalog.add_backup(7, 35, 36, timeline=2, begin_wal=segment(35, 2), end_wal=segment(36, 2))
    catalog.add_backup(8, 70, 70, status=Status.STARTED, end_time=None)
    catalog.add_backup(9, 80, 80, timeline=2, begin_wal=segment(80, 2), end_wal=segment(80, 2))
    catalog.add_wal([*(segment(number) for number in range(1, 31)), HISTORY, *(segment(n, 2) for n in range(30, 40))])
    history = catalog.paths.wals / archive_key(HISTORY)
    history.write_text("1\t0/1E000000\tno recovery target specified\n")
    return theirs, BarmanHome(scratch / "barman", programs=our_programs())


def rows(text):
    """The lines of a report, without the place the notice about timelines has in it."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return sorted(line for line in lines if not line.startswith("WARNING"))


COMMANDS = [
    ("list-backups", "main"),
    ("list-backups", "--minimal", "main"),
    ("keep", "--status", "main", backup_id(2)),
    ("check-wal-archive", "--timeline", "3", "main"),
    *(("show-backup", "main", backup_id(number)) for number in range(1, 10)),
    *(("list-files", "--target", target, "main", backup_id(7)) for target in ("data", "standalone", "wal", "full")),
]


def test_both_say_the_same(both):
    theirs, ours = both
    for words in COMMANDS:
        assert rows(ours.run(*words).stdout) == rows(theirs.run(*words).stdout), words


def test_both_say_the_same_to_programs(both):
    theirs, ours = both
    for words in COMMANDS:
        expected, found = theirs.json(*words), ours.json(*words)
        for document in (expected, found):
            if isinstance(document.get("main"), dict):
                document["main"].get("wal_information", {}).pop("_WARNING", None)
            # They walk through the directories in the order of the file system.
            document.get("_INFO", []).sort()
        assert found == expected, (words, json.dumps(found, indent=1))
