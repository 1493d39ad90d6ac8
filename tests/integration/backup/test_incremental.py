"""Block-level incremental backups."""

from __future__ import annotations

import pytest

CAN = pytest.mark.pg(">= 17")


@CAN
def test_a_chain_is_small_and_linked_at_both_ends(stream, cluster, record):
    cluster.load(20000)
    server = stream(cluster)
    full = server.backup("--wait", "--wait-timeout", "60")
    cluster.load(10)
    first = server.backup("--incremental", full, "--wait", "--wait-timeout", "60")
    cluster.load(10)
    second = server.backup("--incremental", "latest", "--wait", "--wait-timeout", "60")
    records = [record(server, backup_id) for backup_id in (full, first, second)]
    assert [one.parent_backup_id for one in records] == [None, full, first]
    assert [one.children_backup_ids for one in records] == [(first,), (second,), ()]
    assert [one.status.value for one in records] == ["DONE"] * 3
    assert records[1].size < records[0].size / 2
    assert "INCREMENTAL FROM LSN: " + records[0].begin_xlog in records[1].backup_label
    assert list((server.base / first / "data").rglob("INCREMENTAL.*"))


@CAN
def test_the_link_to_a_failed_child_stays_until_it_is_deleted(stream, cluster, record):
    server = stream(cluster, pre_backup_retry_script="exit 63")
    server.set(pre_backup_retry_script=None)
    full = server.backup()
    server.set(pre_backup_retry_script="exit 63")
    result = server.run("backup", "--incremental", full, check=False)
    assert result.status == 1
    child = server.backup_ids()[-1]
    assert record(server, child).status.value == "FAILED"
    assert record(server, full).children_backup_ids == (child,)


@CAN
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        pytest.param("summaries", "summarize_wal = on", id="summaries are off"),
        pytest.param("manifest", "backup_manifest is missing", id="manifest gone"),
        pytest.param("status", "its status is FAILED", id="parent failed"),
        pytest.param("parent", "Unknown backup", id="no such parent"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(spoil, reason, stream, cluster, record):
    server = stream(cluster)
    full = server.backup()
    parent = full
    if spoil == "summaries":
        cluster.sql("alter system set summarize_wal = off")
        cluster.reload()
        cluster.sql("select pg_sleep(0.5)")
    elif spoil == "manifest":
        (server.base / full / "data" / "backup_manifest").unlink()
    elif spoil == "status":
        info = server.directory / "meta" / f"{full}-backup.info"
        info.write_text(
            info.read_text().replace("status=WAITING_FOR_WALS", "status=FAILED").replace("status=DONE", "status=FAILED")
        )
    else:
        parent = "20200101T000000"
    result = server.run("backup", "--incremental", parent, check=False)
    assert result.status == 1
    assert result.stderr.count("ERROR: ") == 1
    assert reason in result.stderr
    assert server.backup_ids() == [full]


@pytest.mark.pg("< 17")
def test_an_older_server_cannot(stream, cluster):
    server = stream(cluster)
    full = server.backup()
    result = server.run("backup", "--incremental", full, check=False)
    assert result.status == 1
    assert result.stderr.count("ERROR: ") == 1
    assert server.backup_ids() == [full]
