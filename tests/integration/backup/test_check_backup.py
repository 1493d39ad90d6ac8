"""Whether a backup has all its WAL, asked again and again."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.pg(each=False)


@pytest.fixture
def site(stream, clusters, installation, record):
    """A DONE backup over several small segments, and what follows it."""
    cluster = clusters.make(installation, segment_size=1 << 20)
    server = stream(cluster)
    with cluster.loading(500):
        backup_id = server.backup("--wait", "--wait-timeout", "60", "--bwlimit", "20000")
    server.close_and_archive(cluster)
    taken = record(server, backup_id)
    assert taken.status.value == "DONE"
    assert taken.begin_wal < taken.end_wal
    return server, cluster, taken


def _archived(server, name):
    return server.wals / name[:16] / name


def test_a_complete_backup_stays_done_and_nothing_is_said(site):
    server, _, taken = site
    result = server.run("check-backup", taken.backup_id)
    assert (result.stdout, result.stderr) == ("", "")


def test_a_hole_fails_it_and_the_late_segment_brings_it_back(site, record):
    server, _, taken = site
    lost = _archived(server, taken.begin_wal)
    late = server.directory / "late"
    late.write_bytes(lost.read_bytes())
    lost.unlink()
    result = server.run("check-backup", taken.backup_id, check=False)
    failed = record(server, taken.backup_id)
    assert result.status == 1
    assert result.stderr.count("ERROR: ") == 1
    assert taken.begin_wal in result.stderr
    assert failed.status.value == "FAILED"
    assert failed.error == f"At least one WAL file is missing. The first missing WAL file is {taken.begin_wal}"

    server.set(archiver="on")
    (server.incoming / taken.begin_wal).write_bytes(late.read_bytes())
    server.run("archive-wal")
    server.run("check-backup", taken.backup_id)
    assert record(server, taken.backup_id).status.value == "DONE"
    assert record(server, taken.backup_id).error is None


def test_a_missing_end_is_waited_for(site, record):
    server, _, taken = site
    for name in server.archived_wals():
        if len(name) == 24 and name >= taken.end_wal:
            _archived(server, name).unlink()
    ledger = server.wals / "main-xlog.db"
    lines = ledger.read_text().splitlines(keepends=True)
    ledger.write_text("".join(line for line in lines if line[:24] < taken.end_wal))
    server.run("check-backup", taken.backup_id)
    assert record(server, taken.backup_id).status.value == "WAITING_FOR_WALS"


def test_a_file_without_its_line_gets_one(site, record):
    server, _, taken = site
    ledger = server.wals / "main-xlog.db"
    lines = ledger.read_text().splitlines(keepends=True)
    ledger.write_text("".join(line for line in lines if not line.startswith(taken.begin_wal)))
    server.run("check-backup", taken.backup_id)
    assert record(server, taken.backup_id).status.value == "DONE"
    assert taken.begin_wal in ledger.read_text()


def test_what_the_reference_left_when_killed_while_waiting_is_completed(site, record):
    server, _, taken = site
    info = server.directory / "meta" / f"{taken.backup_id}-backup.info"
    info.write_text(info.read_text().replace("status=DONE", "status=STARTED"))
    server.run("check-backup", taken.backup_id)
    assert record(server, taken.backup_id).status.value == "DONE"


def test_a_backup_that_failed_otherwise_is_an_error(site, record):
    server, _, taken = site
    info = server.directory / "meta" / f"{taken.backup_id}-backup.info"
    text = info.read_text().replace("status=DONE", "status=FAILED")
    info.write_text(text.replace("error=None", "error=failure copying files (x)"))
    result = server.run("check-backup", taken.backup_id, check=False)
    assert result.status == 1
    assert "failure copying files (x)" in result.stderr
    assert record(server, taken.backup_id).status.value == "FAILED"
