"""What list-backups, show-backup and list-files find out."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from barman.catalog.record import KeepTarget, Status
from barman.catalog.wal_archive import archive_key
from barman.cli.render.backup_details import details_to_json, incomplete_to_json, render_details, render_incomplete
from barman.cli.render.backup_list import line_to_json, render_line
from barman.monitor.listing import Target, list_backups, list_files, retention_words, show_backup
from barman.retention.policy import Word
from barman.server import open_server
from tests.support.catalogs import BEGINNING, HISTORY, HandMade, backup_id, label, segment
from tests.support.settings import load_text

NOW = BEGINNING + timedelta(days=30)
FIRST, SECOND, THIRD, FOURTH = (backup_id(number) for number in (1, 2, 3, 4))
SIZE = len(segment(1))
END = "0/A000100"


@pytest.fixture
def catalog(tmp_path):
    made = HandMade(tmp_path / "home" / "main")
    made.make_directories()
    made.add_backup(1, 2, 3, backup_name="weekly")
    made.add_backup(2, 5, 5, parent_backup_id=FIRST, size=400, deduplicated_size=400)
    made.add_backup(3, 7, 7, status=Status.FAILED, error="failure copying files (no space)")
    made.add_backup(4, 8, 8, status=Status.WAITING_FOR_WALS)
    made.add_wal([*(segment(number) for number in range(1, 11)), label(2), HISTORY, segment(10, 2)])
    (made.paths.wals / archive_key(HISTORY)).write_text("1\t0/7000000\tno recovery target specified\n")
    return made


@pytest.fixture
def open_main(tmp_path, catalog):
    def open_main(**options):
        lines = [f"{name} = {value}" for name, value in {"conninfo": "dbname=x", "archiver": "on", **options}.items()]
        return open_server(load_text(tmp_path, "[main]\n" + "\n".join(lines)), "main")

    return open_main


@pytest.fixture
def server(open_main):
    return open_main()


def details(server, one):
    records = server.backups.load()
    return show_backup(server, records, records[one], NOW)


def test_sizes_count_each_segment_of_the_timeline_for_one_backup(server):
    lines = {line.record.backup_id: (line.size_bytes, line.wal_size_bytes) for line in list_backups(server, NOW)}

    assert lines == {
        FOURTH: (1000 + SIZE, 2 * SIZE),
        THIRD: (None, None),
        SECOND: (400 + SIZE, 3 * SIZE),
        FIRST: (1000 + 2 * SIZE, 2 * SIZE),
    }
    assert [line.record.backup_id for line in list_backups(server, NOW)] == [FOURTH, THIRD, SECOND, FIRST]


def test_lines_tell_what_the_reference_tells(open_main):
    server = open_main(retention_policy="REDUNDANCY 0")

    assert [render_line("main", line) for line in list_backups(server, NOW)] == [
        f"main {FOURTH} - F - Thu Nov  5 00:00:10 2026 - Size: 1.0 KiB - WAL Size: 48 B - WAITING_FOR_WALS",
        f"main {THIRD} - F - FAILED",
        f"main {SECOND} - I - Tue Nov  3 00:00:10 2026 - Size: 424 B - WAL Size: 72 B - OBSOLETE",
        f"main {FIRST} 'weekly' - F - Mon Nov  2 00:00:10 2026 - Size: 1.0 KiB - WAL Size: 48 B - OBSOLETE",
    ]


def test_lines_as_data(open_main):
    server = open_main(retention_policy="REDUNDANCY 2")
    server.backups.set_keep(FIRST, KeepTarget.FULL)
    lines = {line.record.backup_id: line_to_json(line) for line in list_backups(server, NOW)}

    assert lines[THIRD] == {"backup_id": THIRD, "backup_type": "full", "status": "FAILED"}
    assert lines[FIRST] == {
        "backup_id": FIRST,
        "backup_name": "weekly",
        "backup_type": "full",
        "end_time": "Mon Nov  2 00:00:10 2026",
        "end_time_timestamp": "1793577610",
        "retention_status": "KEEP:FULL",
        "size": "1.0 KiB",
        "size_bytes": 1048,
        "status": "DONE",
        "wal_size": "48 B",
        "wal_size_bytes": 48,
    }
    assert lines[SECOND]["retention_status"] == "-"


def test_a_backup_being_deleted_is_none(catalog, server):
    server.backups.mark_deletion(FIRST)
    line = list_backups(server, NOW)[-1]

    assert render_line("main", line).endswith("- F - DELETING")
    assert line_to_json(line)["status"] == "DELETING"
    assert "Status                 : DELETING" in render_incomplete(line.record)
    assert incomplete_to_json(line.record)["status"] == "DELETING"


def test_a_damaged_record_is_listed(catalog, server):
    catalog.paths.record_file(THIRD).write_text("")

    assert render_line("main", list_backups(server, NOW)[1]) == f"main {THIRD} - F - EMPTY"


@pytest.mark.parametrize("policy", [None, "KEEP EVERYTHING"])
def test_without_a_policy_that_can_be_understood_none_is_enforced(open_main, policy):
    server = open_main(**({"retention_policy": policy} if policy else {}))

    assert retention_words(server, server.backups.load(), NOW) is None
    assert {line.retention for line in list_backups(server, NOW)} == {Word.NONE}
    assert details_to_json(details(server, FIRST))["catalog_information"]["retention_policy"] == "not enforced"


def test_neighbours_chain_and_timelines_are_found(server):
    found = details(server, SECOND)

    assert (found.previous, found.following, found.root, found.chain_size) == (FIRST, FOURTH, FIRST, 2)
    assert found.timelines == (2,)
    assert details(server, FIRST).root is None
    assert details(server, FOURTH).timelines == ()
    assert details(server, FOURTH).following is None


def test_the_rate_is_that_of_all_segments_since_the_begin(server):
    wal = details(server, FIRST).wal

    assert (wal.own.files, wal.later_files, wal.whole.last.name) == (2, 2, segment(5))
    assert wal.files_per_second == pytest.approx(4 / 30)


def test_details_are_printed_in_the_groups_of_the_reference(open_main):
    text = render_details(details(open_main(retention_policy="REDUNDANCY 1"), SECOND))

    for row in (
        f"Backup {SECOND}:",
        "  Server Name            : main",
        "  PostgreSQL Version     : 150018",
        "  Estimated Cluster Size : 2.9 KiB",
        "  Tablespaces:",
        "    one                  : /srv/one (oid: 16386)",
        "    Backup Type          : incremental",
        "    Backup Size          : 400 B (424 B with WALs)",
        "    Resources saved      : 2.5 KiB (86.67%)",
        "    Number of WALs       : 1",
        "    Copy time            : 2 seconds",
        "    Estimated throughput : 160 B/s",
        "    Number of files      : 3",
        "    Reachable timelines  : 2",
        "    Retention Policy     : VALID",
        f"    Previous Backup      : {FIRST}",
        f"    Root Backup          : {FIRST}",
        "    Backup chain size    : 2",
    ):
        assert row in text.splitlines()
    assert text.endswith(
        "WARNING: WAL information is inaccurate due to multiple timelines interacting with this backup"
    )


def test_what_is_unknown_is_left_out(catalog, server):
    catalog.write_record(
        replace(
            catalog.backups.get(FIRST),
            size=None, deduplicated_size=None, cluster_size=None, copy_stats=None, end_wal=None, end_xlog=None,
            begin_time=None, end_time=None, systemid=None, tablespaces=None,
        )
    )  # fmt: skip
    found = details(server, FIRST)
    text, data = render_details(found), details_to_json(found)

    assert "Backup Size" not in text
    assert "Copy time" not in text
    assert data["base_backup_information"]["begin_time_timestamp"] is None
    assert data["base_backup_information"]["wal_num"] == 0
    assert data["wal_information"]["wal_rate"] == 0
    assert data["wal_information"]["last_available"] is None
    assert "cluster_size" not in data


def test_rsync_backups_tell_what_they_shared_and_how_they_were_copied(catalog, server):
    stats = {"copy_time": 2.0, "analysis_time": 1.5, "number_of_workers": 3}
    changes = {"mode": "rsync-concurrent", "deduplicated_size": 100, "copy_stats": stats}
    catalog.write_record(replace(catalog.backups.get(FIRST), **changes))
    found = details(server, FIRST)

    assert "    Resources saved      : 900 B (90.00%)" in render_details(found)
    assert "    Copy time            : 2 seconds + 1 second startup" in render_details(found)
    assert "    Estimated throughput : 50 B/s (3 jobs)" in render_details(found)
    data = details_to_json(found)["base_backup_information"]
    assert (data["resources_saved_bytes"], data["analysis_time_seconds"], data["throughput_bytes"]) == (900, 1.5, 50)
    assert "children_backup_ids" not in details_to_json(found)["catalog_information"]


def test_snapshots_are_shown(catalog, server):
    snapshot = {"provider": {"snapshot_name": "nm"}, "mount": {"mount_point": "/opt", "mount_options": "rw"}}
    info = {"provider": "gcp", "provider_info": {"project": "p"}, "snapshots": [snapshot]}
    catalog.write_record(replace(catalog.backups.get(FIRST), mode="snapshot-concurrent", snapshots_info=info))
    text = render_details(details(server, FIRST))

    assert "  Snapshot information:\n    provider             : gcp\n    project              : p\n" in text
    assert "    snapshot_name        : nm\n    Mount point          : /opt\n    Mount options        : rw" in text
    assert details_to_json(details(server, FIRST))["snapshots_info"] == info


def test_an_incomplete_backup_tells_its_error(server):
    record = server.backups.get(THIRD)

    assert render_incomplete(record).splitlines()[-1] == "  Error                  : failure copying files (no space)"
    assert incomplete_to_json(record)["error"] == "failure copying files (no space)"


def files(server, target, **options):
    records = server.backups.load()
    return [path.name for path in list_files(server, records, records[FIRST], target, **options)]


def test_each_target_has_its_files(catalog, server):
    data = ["16387", "PG_VERSION", "1259", "pg_control"]

    assert files(server, Target.DATA) == data
    assert files(server, Target.STANDALONE) == [*data, segment(2), segment(3)]
    wal = [HISTORY, *(segment(number) for number in range(2, 6))]
    assert files(server, Target.WAL) == wal
    assert files(server, Target.FULL) == data + wal
    (catalog.paths.data_dir(FIRST) / "pg_wal").mkdir()
    assert files(server, Target.DATA) == data
    assert files(server, Target.DATA, empty_directories=True) == [*data, "pg_wal"]


def test_the_wal_of_a_backup_whose_end_is_archived_on_a_newer_timeline_is_listed(catalog, server):
    catalog.write_record(replace(catalog.backups.get(FIRST), begin_wal=segment(9), end_wal=segment(10), end_xlog=END))
    (catalog.paths.wals / archive_key(HISTORY)).write_text(f"1\t{END}\tno recovery target specified\n")
    server.wal_archive.remove([segment(10)])
    standalone = files(server, Target.STANDALONE)
    assert standalone[-3:] == [HISTORY, segment(9), segment(10, 2)]
    assert files(server, Target.FULL) == standalone
    found = details(server, FIRST)
    assert (found.timelines, found.hole) == ((2,), None)
    assert (found.wal.own.files, found.wal.own.size_bytes, found.wal.later_files) == (2, 2 * SIZE, 0)
    (line,) = [line for line in list_backups(server, NOW) if line.record.backup_id == FIRST]
    assert line.size_bytes == found.record.size + 2 * SIZE


def test_a_history_file_that_cannot_be_read_is_passed_over(catalog, server):
    (catalog.paths.wals / archive_key(HISTORY)).write_text("junk\n")

    assert details(server, FIRST).timelines == ()
